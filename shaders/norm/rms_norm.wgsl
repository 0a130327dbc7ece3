// rms_norm: out[t] = in[t] / sqrt(mean(in[t]^2) + eps) * weight.
// in      x (T, x_stride) f32 at x_offset; weight (C) f32
// out     y (T, C) f32, or f16 with Y_F16; QUANTIZE: rounded to int8 too (lib/quantize)
// params  Params 32 B
// grid    x: T; one workgroup a row
// needs   C and the offsets multiples of 4; QUANTIZE: subgroups of at least 8, C a multiple of 256
// cost    8 C bytes a row
// source  SPEC 2 (N)
struct Params {
    columns: u32,
    x_stride: u32, // floats
    x_offset: u32, // floats
    eps: f32,
}

@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;       // (T, x_stride/4)
@group(0) @binding(auto) var<storage, read> weight: array<vec4<f32>>;  // (C/4)
#ifdef Y_F16
@group(0) @binding(auto) var<storage, read_write> y: array<vec4<f16>>; // (T, C/4)
#else
@group(0) @binding(auto) var<storage, read_write> y: array<vec4<f32>>; // (T, C/4)
#endif
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // (T, 9 C / 32)
#import lib/quantize
#endif
#import lib/reduce
#import lib/element

@compute @workgroup_size(WG)
fn rms_norm(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.x;
    let quads = params.columns >> 2u;
    let first = (t * params.x_stride + params.x_offset) >> 2u;
    var squares = 0.0;
    for (var q = lid; q < quads; q += WG) {
        let value = x[first + q];
        squares += dot(value, value);
    }
    let norm = inverseSqrt(workgroup_sum(squares, lid) / f32(params.columns) + params.eps);
    for (var q = lid; q < quads; q += WG) {
        let value = x[first + q] * norm * weight[q];
        y[t * quads + q] = element(value);
#ifdef QUANTIZE
        quantize_quad(value, t * quantized_words(params.columns), params.columns, q);
#endif
    }
}

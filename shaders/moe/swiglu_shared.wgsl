// swiglu_shared: act[t, f] = swiglu(gate, up) for the shared expert, whose gate and up lie side by side in one buffer.
// in      x (T, stride) f32: gate (F) at `gate`, up (F) at `up`
// out     act (T, F) f32; QUANTIZE: rounded to int8 too (lib/quantize)
// params  Params 32 B
// grid    x: ceil(F / 4 / WG), y: T
// needs   F, stride, gate and up multiples of 4; QUANTIZE: subgroups of at least 8, F a multiple of 256
// cost    12 F bytes a row
// source  SPEC 3.5
struct Params {
    width: u32,  // F
    stride: u32, // floats
    gate: u32,   // floats
    up: u32,     // floats
    limit: f32,
}

@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;         // (T, stride/4)
@group(0) @binding(auto) var<storage, read_write> act: array<vec4<f32>>; // (T, F/4)
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // (T, 35 F / 64)
#import lib/quantize
#endif
#import lib/math

@compute @workgroup_size(WG)
fn swiglu_shared(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let q = wid.x * WG + lid;
    let t = wid.y;
    let quads = params.width >> 2u;
    if (q < quads) {
        let gate = x[((t * params.stride + params.gate) >> 2u) + q];
        let up = x[((t * params.stride + params.up) >> 2u) + q];
        let value = vec4<f32>(
            swiglu(gate.x, up.x, params.limit),
            swiglu(gate.y, up.y, params.limit),
            swiglu(gate.z, up.z, params.limit),
            swiglu(gate.w, up.w, params.limit),
        );
        act[t * quads + q] = value;
#ifdef QUANTIZE
        quantize_quad(value, t * quantized_words(params.width), params.width, q);
#endif
    }
}

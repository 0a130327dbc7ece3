// rms_norm: out[t] = in[t] / sqrt(mean(in[t]^2) + eps) * weight.
// in      x (T, x_stride) f32 at x_offset; weight (C) f32
// out     y (T, C) f32, or f16 with Y_F16
// params  Params 16 B
// grid    x: T; one workgroup a row
// needs   C and the offsets multiples of 4
// cost    8 C bytes a row
// source  SPEC 2.1 (N)
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
#import lib/rows/norm_row

fn x_quad(i: u32) -> vec4<f32> {
    return x[i];
}

fn weight_quad(i: u32) -> vec4<f32> {
    return weight[i];
}

@compute @workgroup_size(WG)
fn rms_norm(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    norm_row(wid.x, (wid.x * params.x_stride + params.x_offset) >> 2u, 0u, params.columns, lid);
}

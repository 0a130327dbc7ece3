// kv_row: the key of the window, which is its value too: RoPE(N(kv; weight), position), in the cache's type.
// in      x (T, x_stride) f32, dim channels at x_offset; weight (dim) f32; angles (T, 2, R/2) (cos, sin)
// out     kv (T, dim) pairs of the cache's type
// params  Params 24 B
// grid    x: T; one workgroup a row
// needs   dim even; KV_F16 stores f16
// cost    6 or 8 bytes a channel: latency bound
// source  SPEC 3.1 (step 3)
struct Params {
    dim: u32,
    rope: u32,      // R
    x_stride: u32,  // floats
    x_offset: u32,  // floats
    angle_set: u32, // 0 plain, 1 compressed layers
    eps: f32,
}

@group(0) @binding(auto) var<storage, read> x: array<vec2<f32>>;      // (T, x_stride/2)
@group(0) @binding(auto) var<storage, read> weight: array<vec2<f32>>; // (dim/2)
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>; // (T, 2, R/2)
@group(0) @binding(auto) var<storage, read_write> kv: array<u32>;     // (T, dim/2) pairs
#import lib/attention/key_row

fn x_pair(i: u32) -> vec2<f32> {
    return x[i];
}

fn weight_pair(i: u32) -> vec2<f32> {
    return weight[i];
}

@compute @workgroup_size(WG)
fn kv_row(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    key_row(wid.x, (wid.x * params.x_stride + params.x_offset) >> 1u, 0u, params.dim, lid);
}

// mtp_join: the draft block's input X0[t, j] = embedding[t] + stream[t, j]: the same projected embedding for every stream.
// in      embedding (T, D) f32 = e_proj N(embed); streams (T, 4, D) f32 = h_proj N(X[t, j])
// out     x (T, 4, D) f32
// params  Params 4 B
// grid    x: ceil(D / 4 / WG), y: T * 4
// needs   D a multiple of 4
// cost    12 D bytes a stream
// source  SPEC 3.6
struct Params {
    dim: u32,
}

@group(0) @binding(auto) var<storage, read> embedding: array<vec4<f32>>; // (T, D/4)
@group(0) @binding(auto) var<storage, read> streams: array<vec4<f32>>;   // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read_write> x: array<vec4<f32>>;   // (T, 4, D/4)

@compute @workgroup_size(WG)
fn mtp_join(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let quads = params.dim >> 2u;
    let i = wid.x * WG + lid;
    if (i < quads) {
        x[wid.y * quads + i] = embedding[wid.y / 4u * quads + i] + streams[wid.y * quads + i];
    }
}

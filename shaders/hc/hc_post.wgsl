// hc_post: X'[t, k] = post[k] y[t] + sum_j C[j, k] X[t, j]: the residual of a sub-layer. The sum runs over C's first index.
// in      post (T, 32) f32 as hc_pre leaves it; y (T, D) f32; x (T, 4, D) f32
// out     next (T, 4, D) f32
// params  Params 16 B
// grid    x: ceil(D / 4 / WG), y: T; one invocation four channels of all streams
// needs   nothing
// cost    36 D bytes a row: bandwidth bound
// source  SPEC 2 (hyper-connections)
struct Params {
    dim: u32,
}

@group(0) @binding(auto) var<storage, read> post: array<f32>;            // (T, 32)
@group(0) @binding(auto) var<storage, read> y: array<vec4<f32>>;         // (T, D/4)
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;         // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read_write> next: array<vec4<f32>>; // (T, 4, D/4)

@compute @workgroup_size(WG)
fn hc_post(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let q = wid.x * WG + lid;
    let t = wid.y;
    let quads = params.dim >> 2u;
    if (q >= quads) {
        return;
    }
    let m = t * 32u;
    let out = y[t * quads + q];
    var streams: array<vec4<f32>, 4>;
    for (var j = 0u; j < 4u; j++) {
        streams[j] = x[(t * 4u + j) * quads + q];
    }
    for (var k = 0u; k < 4u; k++) {
        var sum = post[m + k] * out;
        for (var j = 0u; j < 4u; j++) {
            sum = fma(vec4<f32>(post[m + 4u + 4u * j + k]), streams[j], sum);
        }
        next[(t * 4u + k) * quads + q] = sum;
    }
}

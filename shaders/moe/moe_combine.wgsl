// moe_combine: y[t] += sum_k weight[t, k] out[t * used + k]: adds the results of the routed experts to the shared expert's.
// in      out (T * used, D) f32; weights (T * used) f32
// out     y (T, D) f32, updated in place
// params  Params 8 B
// grid    x: ceil(D / 4 / WG), y: T
// needs   D a multiple of 4
// cost    (used + 2) * 4 D bytes a row: bandwidth bound
// source  SPEC 3.5 (step 5)
struct Params {
    dim: u32,
    used: u32,
}

@group(0) @binding(auto) var<storage, read> out: array<vec4<f32>>;     // (T * used, D/4)
@group(0) @binding(auto) var<storage, read> weights: array<f32>;       // (T * used)
@group(0) @binding(auto) var<storage, read_write> y: array<vec4<f32>>; // (T, D/4)

@compute @workgroup_size(WG)
fn moe_combine(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let quads = params.dim >> 2u;
    let i = wid.x * WG + lid;
    let t = wid.y;
    if (i >= quads) {
        return;
    }
    var sum = y[t * quads + i];
    for (var k = 0u; k < params.used; k++) {
        let pair = t * params.used + k;
        sum = fma(vec4<f32>(weights[pair]), out[pair * quads + i], sum);
    }
    y[t * quads + i] = sum;
}

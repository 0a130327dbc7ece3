// hc_head: h = sum_j pre[j] X[j] with pre from the head's own four outputs, then N(h; weight): what the output head multiplies.
// in      mix (T, slices, 32) f32 as hc_mix leaves it: four outputs and |X|^2; hc (5) f32: base 4, scale 1; weight (D) f32; x (T, 4, D) f32; wanted (R) row numbers
// out     normed (R, D) f32; QUANTIZE: rounded to int8 too (lib/quantize)
// params  Params 16 B
// grid    x: R; one workgroup a wanted row
// needs   D <= 4 * KEPT * WG; QUANTIZE: subgroups of at least 8, D a multiple of 256
// cost    18 D bytes a row
// source  SPEC 2 (HC head), SPEC 3
struct Params {
    dim: u32,
    hc_eps: f32,
    norm_eps: f32,
}

@group(0) @binding(auto) var<storage, read> wanted: array<u32>;             // (R)
@group(0) @binding(auto) var<storage, read> mix: array<f32>;                // (T, slices, 32)
@group(0) @binding(auto) var<storage, read> hc: array<f32>;                 // base (4), scale (1)
@group(0) @binding(auto) var<storage, read> weight: array<vec4<f32>>;       // (D/4)
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;            // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read_write> normed: array<vec4<f32>>; // (R, D/4)
#import lib/hc_collapse
#import lib/hc_mixed

@compute @workgroup_size(WG)
fn hc_head(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wanted[wid.x];
    load_streams(t, lid);
    let base = hc[min(lid, 3u)];
    let scale = hc[4];
    gather_mix(t, lid);
    if (lid < 4u) {
        let rms = inverseSqrt(mixed[4] / f32(params.dim * 4u) + params.norm_eps);
        pre[lid] = stream_weight(mixed[lid] * rms * scale + base);
    }
    collapse(wid.x, lid);
}

// hc_head: h = sum_j pre[j] X[j] with pre from the head's own four outputs, then N(h; weight): what the output head multiplies.
// in      mix (T, 32) f32: four outputs and |X|^2; hc (5) f32: base 4, scale 1; weight (D) f32; x (T, 4, D) f32; wanted (R) row numbers
// out     normed (R, D) f32; QUANTIZE: rounded to int8 too (lib/quantize)
// params  Params 16 B
// grid    x: R; one workgroup a wanted row
// needs   D <= 32 * WG; QUANTIZE: subgroups of at least 8, D a multiple of 256
// cost    16 D bytes a row
// source  SPEC 2 (HC head), SPEC 3
struct Params {
    dim: u32,
    hc_eps: f32,
    norm_eps: f32,
}

@group(0) @binding(auto) var<storage, read> wanted: array<u32>;             // (R)
@group(0) @binding(auto) var<storage, read> mix: array<f32>;                // (T, 32)
@group(0) @binding(auto) var<storage, read> hc: array<f32>;                 // base (4), scale (1)
@group(0) @binding(auto) var<storage, read> weight: array<vec4<f32>>;       // (D/4)
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;            // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read_write> normed: array<vec4<f32>>; // (R, D/4)
#import lib/hc_collapse

@compute @workgroup_size(WG)
fn hc_head(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wanted[wid.x];
    let rms = inverseSqrt(mix[t * 32u + 4u] / f32(params.dim * 4u) + params.norm_eps);
    let m = t * 32u;
    let pre = vec4<f32>(
        stream_weight(mix[m] * rms * hc[4] + hc[0]),
        stream_weight(mix[m + 1u] * rms * hc[4] + hc[1]),
        stream_weight(mix[m + 2u] * rms * hc[4] + hc[2]),
        stream_weight(mix[m + 3u] * rms * hc[4] + hc[3]),
    );
    collapse(t, wid.x, pre, lid);
}

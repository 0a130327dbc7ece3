// hc_pre: the input of a sub-layer from the mix of a row: x = sum_j pre[j] X[j], then N(x; weight).
// in      mix (T, slices, 32) f32 as hc_mix leaves it; hc (27) f32: base 24, scale 3; x (T, 4, D) f32; weight (D) f32
// out     normed (T, D) f32, or f16 with Y_F16; QUANTIZE: rounded to int8 too; AHEAD: perhaps something in unread, which means nothing
// params  Params 48 B
// grid    T; AHEAD: one more, which reads a word of every PAGE of the weights that follow: their translations are on the way while the
//         device has nothing to do
// needs   D <= 4 * KEPT * WG; QUANTIZE: subgroups of at least 8, D a multiple of 256
// cost    18 D bytes read, 4 D written a row: latency bound for one row
// source  SPEC 2 (hyper-connections), SPEC 3
struct Params {
    dim: u32,
    tokens: u32, // T
    hc_eps: f32,
    norm_eps: f32,
    ahead: array<vec4<u32>, 2>, // (byte offset, bytes), two a vec4
}

@group(0) @binding(auto) var<storage, read> mix: array<f32>;             // (T, slices, 32)
@group(0) @binding(auto) var<storage, read> hc: array<f32>;              // base (24), scale (3)
@group(0) @binding(auto) var<storage, read> weight: array<vec4<f32>>;    // (D/4)
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;         // (T, 4, D/4)
#ifdef Y_F16
@group(0) @binding(auto) var<storage, read_write> normed: array<vec4<f16>>; // (T, D/4)
#else
@group(0) @binding(auto) var<storage, read_write> normed: array<vec4<f32>>; // (T, D/4)
#endif
#ifdef AHEAD
@group(0) @binding(auto) var<storage, read_write> unread: array<u32>;    // (1)
#for A AHEAD
@group(0) @binding(auto) var<storage, read> ahead$A: array<u32>;         // arena
#end
#endif
#import lib/hc_collapse
#import lib/hc_mixed

const PAGE: u32 = 1u << 21u;

@compute @workgroup_size(WG)
fn hc_pre(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.x;
#ifdef AHEAD
    if (t == params.tokens) {
        ask_ahead(lid);
        return;
    }
#endif
    load_streams(t, lid);
    let output = min(lid, 3u);
    let base = hc[output];
    let scale = hc[24];
    gather_mix(t, lid);
    if (lid < 4u) {
        let rms = inverseSqrt(mixed[24] / f32(params.dim * 4u) + params.norm_eps);
        pre[lid] = stream_weight(mixed[output] * (rms * scale) + base);
    }
    collapse(t, lid);
}

#ifdef AHEAD
fn ask_ahead(lid: u32) {
    var all = 0u;
#for A AHEAD
    let range$A = select(params.ahead[$Au >> 1u].xy, params.ahead[$Au >> 1u].zw, ($Au & 1u) == 1u);
    all ^= ahead$A[(range$A.x + min(lid * PAGE, range$A.y - 4u)) >> 2u];
#end
    // Without a use of the words nobody would read them.
    if (all == 0x5a5aa5a5u) {
        unread[0] = all;
    }
}
#endif

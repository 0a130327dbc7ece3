// hc_pre: the input of a sub-layer or of the output head, from the streams and the mix of a row: N(sum_j pre[j] X[j]; weight).
// in      mix (T, slices, 32) f32 as hc_mix writes it: OUTPUTS dot products, four of them for pre, and |X|^2; hc f32: base (OUTPUTS),
//         scale; x (T, 4, D) f32; weight (D) f32; WANTED: wanted (R), the rows of the step to compute
// out     normed (R, D) f32, or f16 with Y_F16; QUANTIZE: also rounded to int8; PREFETCH: prefetch_sink, a word that no kernel reads
// params  Params 32 B
// grid    R, which is T without WANTED; PREFETCH: one workgroup more, which prefetches the next weights while the device is idle
// needs   D = DIM, at most 4 KEPT WG; QUANTIZE: subgroups of at least 8, D a multiple of 256
// cost    18 D bytes read, 4 D written a row: latency bound for one row
// source  SPEC 2.3, SPEC 2.4, SPEC 3
struct Params {
    rows: u32, // R
    hc_eps: f32,
    norm_eps: f32,
    padding: u32,
    prefetch: vec4<u32>, // lib/rows/prefetch
}

#ifdef WANTED
@group(0) @binding(auto) var<storage, read> wanted: array<u32>;          // (R)
#endif
@group(0) @binding(auto) var<storage, read> mix: array<f32>;             // (T, slices, 32)
@group(0) @binding(auto) var<storage, read> hc: array<f32>;              // base (OUTPUTS), scale (3 or 1)
@group(0) @binding(auto) var<storage, read> weight: array<vec4<f32>>;    // (D/4)
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;         // (T, 4, D/4)
#ifdef Y_F16
@group(0) @binding(auto) var<storage, read_write> normed: array<vec4<f16>>; // (R, D/4)
#else
@group(0) @binding(auto) var<storage, read_write> normed: array<vec4<f32>>; // (R, D/4)
#endif
#ifdef PREFETCH
@group(0) @binding(auto) var<storage, read_write> prefetch_sink: array<u32>;    // (1)
#import lib/rows/prefetch
#endif
#import lib/numbers/element
#import lib/hc/mixed
#import lib/numbers/math
#import lib/reduce/workgroup
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // rows of `normed` rounded to int8
#import lib/numbers/quantize
#endif

// The invocation's channels: KEPT quads of each stream.
var<private> streams: array<array<vec4<f32>, 4>, KEPT>;
var<private> norm_weights: array<vec4<f32>, KEPT>;
// One invocation computes each value. If all computed them, every subgroup would issue those instructions.
var<workgroup> pre: array<f32, 4>;

fn load_norm_weights(lid: u32) {
#for I KEPT
    if ($Iu * WG + lid < DIM / 4u) {
        norm_weights[$I] = weight[$Iu * WG + lid];
    }
#end
}

@compute @workgroup_size(WG)
fn hc_pre(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
#ifdef PREFETCH
    if (wid.x == params.rows) {
        let words = prefetch_words(lid);
        if (is_used(words)) {
            prefetch_sink[0] = words;
        }
        return;
    }
#endif
#ifdef WANTED
    let t = wanted[wid.x];
#else
    let t = wid.x;
#endif
    // The loads of the streams are in flight while `pre` is computed.
#for I KEPT
    if ($Iu * WG + lid < DIM / 4u) {
#for J 4
        streams[$I][$J] = x[(t * 4u + $Ju) * (DIM / 4u) + $Iu * WG + lid];
#end
    }
#end
    if (KEPT == 1u) {
        load_norm_weights(lid);
    }
    let base = hc[min(lid, 3u)];
    let scale = hc[OUTPUTS];
    gather_mix(t, lid);
    if (lid < 4u) {
        let rms = inverseSqrt(mixed[OUTPUTS] / f32(DIM * 4u) + params.norm_eps);
        pre[lid] = sigmoid(mixed[lid] * (rms * scale) + base) + params.hc_eps;
    }
    if (KEPT > 1u) {
        load_norm_weights(lid); // not earlier, because of register pressure: the streams are in registers
    }
    workgroupBarrier();
    var squares = 0.0;
#for I KEPT
    var sum$I = pre[0] * streams[$I][0];
    sum$I = fma(vec4<f32>(pre[1]), streams[$I][1], sum$I);
    sum$I = fma(vec4<f32>(pre[2]), streams[$I][2], sum$I);
    sum$I = fma(vec4<f32>(pre[3]), streams[$I][3], sum$I);
    squares += dot(sum$I, sum$I);
#end
    let norm = inverseSqrt(workgroup_sum(squares, lid) / f32(DIM) + params.norm_eps);
#for I KEPT
    {
        let q = $Iu * WG + lid;
        if (q < DIM / 4u) {
            let value = sum$I * norm * norm_weights[$I];
            normed[wid.x * (DIM / 4u) + q] = element(value);
#ifdef QUANTIZE
            quantize_quad(value, wid.x * quantized_words(DIM), DIM, q);
#endif
        }
    }
#end
}

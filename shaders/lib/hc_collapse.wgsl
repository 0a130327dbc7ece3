// The four streams of a row summed with weights pre[j], then normalised: h = sum_j pre[j] X[t, j]; normed[to] = N(h; weight).
// One invocation makes each pre[j]: made by all of them, they would cost each warp their instructions.

#import lib/math
#import lib/reduce
#import lib/element
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // rows of `normed` rounded to int8
#import lib/quantize
#endif

// The invocation's share of the streams: KEPT vec4 of each.
var<private> streams: array<array<vec4<f32>, 4>, KEPT>;
var<private> norm_weights: array<vec4<f32>, KEPT>;
var<workgroup> pre: array<f32, 4>;

fn stream_weight(raw: f32) -> f32 {
    return sigmoid(raw) + params.hc_eps;
}

fn load_norm_weights(lid: u32) {
    let quads = params.dim >> 2u;
#for I KEPT
    if ($Iu * WG + lid < quads) {
        norm_weights[$I] = weight[$Iu * WG + lid];
    }
#end
}

// Asks for the streams of row `t`, which arrive while their weights are made.
fn load_streams(t: u32, lid: u32) {
    let quads = params.dim >> 2u;
#for I KEPT
    if ($Iu * WG + lid < quads) {
#for J 4
        streams[$I][$J] = x[(t * 4u + $Ju) * quads + $Iu * WG + lid];
#end
    }
#end
    if (KEPT == 1u) {
        load_norm_weights(lid);
    }
}

// Starts with the barrier behind `pre`.
fn collapse(to: u32, lid: u32) {
    let quads = params.dim >> 2u;
    if (KEPT > 1u) {
        load_norm_weights(lid); // not before: the streams take enough registers
    }
    workgroupBarrier();
    var squares = 0.0;
#for I KEPT
    var kept$I = pre[0] * streams[$I][0];
    kept$I = fma(vec4<f32>(pre[1]), streams[$I][1], kept$I);
    kept$I = fma(vec4<f32>(pre[2]), streams[$I][2], kept$I);
    kept$I = fma(vec4<f32>(pre[3]), streams[$I][3], kept$I);
    squares += dot(kept$I, kept$I);
#end
    let norm = inverseSqrt(workgroup_sum(squares, lid) / f32(params.dim) + params.norm_eps);
#for I KEPT
    {
        let q = $Iu * WG + lid;
        if (q < quads) {
            let value = kept$I * norm * norm_weights[$I];
            normed[to * quads + q] = element(value);
#ifdef QUANTIZE
            quantize_quad(value, to * quantized_words(params.dim), params.dim, q);
#endif
        }
    }
#end
}

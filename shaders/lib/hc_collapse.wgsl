// The four streams of a row summed with weights pre[j], then normalised: h = sum_j pre[j] X[t, j]; normed[to] = N(h; weight).

#import lib/math
#import lib/reduce
#import lib/element
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // rows of `normed` rounded to int8
#import lib/quantize
#endif

// The invocation's share of the streams: KEPT vec4 of each.
var<private> streams: array<array<vec4<f32>, 4>, KEPT>;

fn stream_weight(raw: f32) -> f32 {
    return sigmoid(raw) + params.hc_eps;
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
}

fn collapse(to: u32, pre: vec4<f32>, lid: u32) {
    let quads = params.dim >> 2u;
    var squares = 0.0;
#for I KEPT
    var kept$I = pre.x * streams[$I][0];
    kept$I = fma(vec4<f32>(pre.y), streams[$I][1], kept$I);
    kept$I = fma(vec4<f32>(pre.z), streams[$I][2], kept$I);
    kept$I = fma(vec4<f32>(pre.w), streams[$I][3], kept$I);
    squares += dot(kept$I, kept$I);
#end
    let norm = inverseSqrt(workgroup_sum(squares, lid) / f32(params.dim) + params.norm_eps);
#for I KEPT
    {
        let q = $Iu * WG + lid;
        if (q < quads) {
            let value = kept$I * norm * weight[q];
            normed[to * quads + q] = element(value);
#ifdef QUANTIZE
            quantize_quad(value, to * quantized_words(params.dim), params.dim, q);
#endif
        }
    }
#end
}

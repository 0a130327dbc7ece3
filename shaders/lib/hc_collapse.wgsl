// The four streams of a row summed with weights pre[j], then normalised: h = sum_j pre[j] X[t, j]; normed[to] = N(h; weight).

#import lib/math
#import lib/reduce
#import lib/element
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // rows of `normed` rounded to int8
#import lib/quantize
#endif

// How many vec4 of a row one invocation keeps: rows of up to 32 WG channels.
const KEPT: u32 = 8u;

fn stream_weight(raw: f32) -> f32 {
    return sigmoid(raw) + params.hc_eps;
}

fn collapse(t: u32, to: u32, pre: vec4<f32>, lid: u32) {
    let quads = params.dim >> 2u;
    var kept: array<vec4<f32>, KEPT>;
    var squares = 0.0;
    for (var i = 0u; i < KEPT; i++) {
        let q = i * WG + lid;
        if (q < quads) {
            var value = pre.x * x[t * 4u * quads + q];
            value = fma(vec4<f32>(pre.y), x[(t * 4u + 1u) * quads + q], value);
            value = fma(vec4<f32>(pre.z), x[(t * 4u + 2u) * quads + q], value);
            value = fma(vec4<f32>(pre.w), x[(t * 4u + 3u) * quads + q], value);
            kept[i] = value;
            squares += dot(value, value);
        }
    }
    let norm = inverseSqrt(workgroup_sum(squares, lid) / f32(params.dim) + params.norm_eps);
    for (var i = 0u; i < KEPT; i++) {
        let q = i * WG + lid;
        if (q < quads) {
            let value = kept[i] * norm * weight[q];
            normed[to * quads + q] = element(value);
#ifdef QUANTIZE
            quantize_quad(value, to * quantized_words(params.dim), params.dim, q);
#endif
        }
    }
}

// router: the experts of a token and their weights: s = sqrt(softplus(logit)); the `used` best of s + bias, or those that the table names for
// the token (HASHED); weight = scale * s / sum of the chosen s. Beside it act = swiglu(gate, up) of the shared expert, which waits for no choice.
// in      x (T, stride) f32: `experts` logits at `offset`, the shared expert's gate (F) at `gate` and up (F) at `up`; bias (experts) f32, or
//         table (vocabulary, used) with rows and sampled
// out     chosen (T, used) expert numbers: always in range and distinct, NaN counts as lowest; weights (T, used) f32; act (T, F) f32, or f16 with Y_F16;
//         QUANTIZE: act rounded to int8 too (lib/quantize)
// params  Params 36 B
// grid    x: 1 + ceil(F / 4 / WG), y: T; the first workgroup of a token chooses, the others each make 4 WG channels of act
// needs   experts at most 1024, used at most 16; F a multiple of 4; QUANTIZE: subgroups of at least 8, F a multiple of 256
// cost    experts^2 comparisons a token: latency bound
// source  SPEC 3.5
struct Params {
    experts: u32,
    used: u32,
    stride: u32, // floats
    offset: u32, // floats
    scale: f32,
    width: u32,  // F
    gate: u32,   // floats
    up: u32,     // floats
    limit: f32,
}

@group(0) @binding(auto) var<storage, read> x: array<f32>;               // (T, stride)
@group(0) @binding(auto) var<storage, read_write> chosen: array<u32>;    // (T, used)
@group(0) @binding(auto) var<storage, read_write> weights: array<f32>;   // (T, used)
#ifdef Y_F16
@group(0) @binding(auto) var<storage, read_write> act: array<vec4<f16>>; // (T, F/4)
#else
@group(0) @binding(auto) var<storage, read_write> act: array<vec4<f32>>; // (T, F/4)
#endif
#ifdef HASHED
#import lib/rows
@group(0) @binding(auto) var<storage, read> table: array<u32>;           // (vocabulary, used)
@group(0) @binding(auto) var<storage, read> rows: array<Row>;            // (T)
@group(0) @binding(auto) var<storage, read> sampled: array<u32>;         // (slots)
#else
@group(0) @binding(auto) var<storage, read> bias: array<f32>;            // (experts)
#endif
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // (T, 9 F / 32)
#import lib/quantize
#endif
#import lib/math
#import lib/element

var<workgroup> scores: array<f32, 1024>;
var<workgroup> keys: array<u32, 1024>;
var<workgroup> picked: array<u32, 16>;

fn share(t: u32, q: u32) {
    if (q >= params.width >> 2u) {
        return;
    }
    let gate = t * params.stride + params.gate + q * 4u;
    let up = t * params.stride + params.up + q * 4u;
    var value: vec4<f32>;
#for I 4
    value[$I] = swiglu(x[gate + $Iu], x[up + $Iu], params.limit);
#end
    act[t * (params.width >> 2u) + q] = element(value);
#ifdef QUANTIZE
    quantize_quad(value, t * quantized_words(params.width), params.width, q);
#endif
}

@compute @workgroup_size(WG)
fn router(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.y;
    if (wid.x > 0u) {
        share(t, (wid.x - 1u) * WG + lid);
        return;
    }
    for (var e = lid; e < params.experts; e += WG) {
        let score = sqrt(softplus(x[t * params.stride + params.offset + e]));
        scores[e] = score;
#ifndef HASHED
        keys[e] = sort_key(score + bias[e]);
#endif
    }
    workgroupBarrier();
#ifdef HASHED
    if (lid < params.used) {
        var token = rows[t].token;
        if (token == SAMPLED) {
            token = sampled[rows[t].slot];
        }
        picked[lid] = table[token * params.used + lid];
    }
#else
    // An expert's rank is how many beat it; of equal ones the lower number wins.
    for (var e = lid; e < params.experts; e += WG) {
        var rank = 0u;
        for (var other = 0u; other < params.experts; other++) {
            if (keys[other] > keys[e] || (keys[other] == keys[e] && other < e)) {
                rank++;
            }
        }
        if (rank < params.used) {
            picked[rank] = e;
        }
    }
#endif
    workgroupBarrier();
    if (lid < params.used) {
        var total = 0.0;
        for (var k = 0u; k < params.used; k++) {
            total += scores[picked[k]];
        }
        chosen[t * params.used + lid] = picked[lid];
        weights[t * params.used + lid] = scores[picked[lid]] / (total + 1e-20) * params.scale;
    }
}

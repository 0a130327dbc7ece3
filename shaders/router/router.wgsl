// router: the experts of a token and their weights: s = sqrt(softplus(logit)); the `used` best of s + bias, or those that the table names for
// the token (HASHED); weight = scale * s / sum of the chosen s.
// in      logits (T, stride) f32, `experts` of them at `offset`; bias (experts) f32, or table (vocabulary, used) with rows and sampled
// out     chosen (T, used) expert numbers: always in range and distinct, NaN counts as lowest; weights (T, used) f32
// params  Params 32 B
// grid    x: T; one workgroup a token
// needs   experts at most 1024, used at most 16
// cost    experts^2 comparisons a token: latency bound
// source  SPEC 3.5
struct Params {
    experts: u32,
    used: u32,
    stride: u32, // floats
    offset: u32, // floats
    scale: f32,
}

@group(0) @binding(auto) var<storage, read> logits: array<f32>;          // (T, stride)
@group(0) @binding(auto) var<storage, read_write> chosen: array<u32>;    // (T, used)
@group(0) @binding(auto) var<storage, read_write> weights: array<f32>;   // (T, used)
#ifdef HASHED
#import lib/rows
@group(0) @binding(auto) var<storage, read> table: array<u32>;           // (vocabulary, used)
@group(0) @binding(auto) var<storage, read> rows: array<Row>;            // (T)
@group(0) @binding(auto) var<storage, read> sampled: array<u32>;         // (slots)
#else
@group(0) @binding(auto) var<storage, read> bias: array<f32>;            // (experts)
#endif
#import lib/math

var<workgroup> scores: array<f32, 1024>;
var<workgroup> keys: array<u32, 1024>;
var<workgroup> picked: array<u32, 16>;

@compute @workgroup_size(WG)
fn router(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.x;
    for (var e = lid; e < params.experts; e += WG) {
        let score = sqrt(softplus(logits[t * params.stride + params.offset + e]));
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

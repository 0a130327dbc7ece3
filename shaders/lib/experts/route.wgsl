// The experts of a token and their weights, and act of the shared expert: s = sqrt(softplus(logit)); the USED best of s + bias, or those that the
// table names for the token (HASHED); weight = scale * s / sum of the chosen s. Binds all that it reads and writes.
//
// Declare in Params: stride, offset, scale, width, gate, up, limit; constants EXPERTS (at most 1024), USED (at most 16), WG, CHOICES: how
// many tokens a workgroup chooses for, EXPERT_ROUNDS and CANDIDATE_ROUNDS: how often WG invocations go into BLOCKS * 32 and BLOCKS * USED.
// These rounds are written out: loops with a stride compilers unroll, and code that is not in a cache yet takes longer to fetch than to run.
@group(0) @binding(auto) var<storage, read> inputs: array<f32>;             // (T, stride)
@group(0) @binding(auto) var<storage, read_write> chosen: array<u32>;       // (T, used)
@group(0) @binding(auto) var<storage, read_write> weights: array<f32>;      // (T, used)
#ifdef Y_F16
@group(0) @binding(auto) var<storage, read_write> shared_act: array<vec4<f16>>; // (T, F/4)
#else
@group(0) @binding(auto) var<storage, read_write> shared_act: array<vec4<f32>>; // (T, F/4)
#endif
#ifdef HASHED
#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> table: array<u32>;              // (vocabulary, used)
@group(0) @binding(auto) var<storage, read> rows: array<Row>;               // (T)
@group(0) @binding(auto) var<storage, read> sampled: array<u32>;            // (slots)
#else
@group(0) @binding(auto) var<storage, read> bias: array<f32>;               // (experts)
#endif
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> shared_int8: array<u32>;  // (T, 9 F / 32)
#import lib/numbers/round_quad
#endif
#import lib/numbers/math
#import lib/numbers/element

const BLOCKS: u32 = (EXPERTS + 31u) / 32u;

var<workgroup> scores: array<f32, EXPERTS>;
var<workgroup> picked: array<u32, CHOICES * USED>;
#ifndef HASHED
var<workgroup> keys: array<u32, BLOCKS * 32>;
var<workgroup> candidates: array<vec2<u32>, BLOCKS * USED>; // key and expert: the best of every block, best first

// Of equal keys the one before wins.
fn beats(other: u32, own: u32, is_before: bool) -> u32 {
    return u32(other > own || (other == own && is_before));
}

// A key's rank is how many beat it: first among 32 neighbours, then the best of all blocks among themselves. Candidates with equal keys stand
// in the order of their experts. Places behind the last expert have the lowest key, and lose against every expert with the same one.
fn pick(slot: u32, lid: u32) {
#for R EXPERT_ROUNDS
    {
        let e = $Ru * WG + lid;
        if (e < BLOCKS * 32u) {
            let own = keys[e];
            let block = e / 32u;
            var rank = 0u;
            // Of a length that no compiler knows.
            for (var first = 0u; first < min(32u, params.stride); first += 8u) {
#for I 8
                rank += beats(keys[block * 32u + first + $Iu], own, first + $Iu < e % 32u);
#end
            }
            if (rank < USED) {
                candidates[block * USED + rank] = vec2<u32>(own, e);
            }
        }
    }
#end
    workgroupBarrier();
#for R CANDIDATE_ROUNDS
    {
        let i = $Ru * WG + lid;
        if (i < BLOCKS * USED) {
            let own = candidates[i];
            var rank = 0u;
            for (var other = 0u; other < min(BLOCKS, params.stride) * USED; other += USED) {
#for K USED
                rank += beats(candidates[other + $Ku].x, own.x, other + $Ku < i);
#end
            }
            if (rank < USED) {
                picked[slot * USED + rank] = own.y;
            }
        }
    }
#end
}
#endif

// Leaves the experts of token `t` in `picked` from slot * USED on, and all scores. Another choice before it needs a barrier in between.
fn choose(t: u32, slot: u32, lid: u32) {
#for R EXPERT_ROUNDS
    {
        let e = $Ru * WG + lid;
        if (e < BLOCKS * 32u) {
            var key = 0u;
            if (e < EXPERTS) {
                let score = sqrt(softplus(inputs[t * params.stride + params.offset + e]));
                scores[e] = score;
#ifndef HASHED
                key = sort_key(score + bias[e]);
#endif
            }
#ifndef HASHED
            keys[e] = key;
#endif
        }
    }
#end
#ifdef HASHED
    if (lid < USED) {
        var token = rows[t].token;
        if (token == SAMPLED) {
            token = sampled[rows[t].slot];
        }
        picked[slot * USED + lid] = table[token * USED + lid];
    }
#else
    workgroupBarrier();
    pick(slot, lid);
#endif
    workgroupBarrier();
}

// Stores what `choose` has just left.
fn leave(t: u32, slot: u32, lid: u32) {
    if (lid < USED) {
        var total = 0.0;
        for (var k = 0u; k < USED; k++) {
            total += scores[picked[slot * USED + k]];
        }
        let expert = picked[slot * USED + lid];
        chosen[t * USED + lid] = expert;
        weights[t * USED + lid] = scores[expert] / (total + 1e-20) * params.scale;
    }
}

// Channels 4 * q ... of the shared expert's act.
fn share(t: u32, q: u32) {
    if (q >= params.width >> 2u) {
        return;
    }
    let gate = t * params.stride + params.gate + q * 4u;
    let up = t * params.stride + params.up + q * 4u;
    var value: vec4<f32>;
#for I 4
    value[$I] = swiglu(inputs[gate + $Iu], inputs[up + $Iu], params.limit);
#end
    shared_act[t * (params.width >> 2u) + q] = element(value);
#ifdef QUANTIZE
    let rounded_quad = round_quad(value);
    let first = t * quantized_words(params.width);
    shared_int8[first + q] = rounded_quad.codes;
    if ((q & 7u) == 0u) {
        shared_int8[first + params.width / 4u + (q >> 3u)] = bitcast<u32>(rounded_quad.scale);
    }
#endif
}

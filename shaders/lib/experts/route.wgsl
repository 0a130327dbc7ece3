// route: chooses the experts of a token and their weights, and makes act of the shared expert.
// needs   EXPERTS (at most 1024), USED (at most 16), WG, CHOICES, EXPERT_ROUNDS, CANDIDATE_ROUNDS; params.stride, .offset, .scale, .width,
//         .gate, .up, .limit; flags HASHED, QUANTIZE, Y_F16
// declares bindings inputs, chosen, weights, shared_act, HASHED: table, rows, sampled, else bias, QUANTIZE: shared_int8; workgroup `picked`
// gives   choose(token, slot, local index), store_choice(the same), shared_expert(token, quad of act)
//
// s = sqrt(softplus(logit)). The USED experts with the highest s + bias are chosen, or with HASHED those that the table names for the
// token. weight = scale * s / sum of the chosen s.
//
// CHOICES is the number of tokens that a workgroup chooses for. EXPERT_ROUNDS and CANDIDATE_ROUNDS are the values an invocation takes of
// BLOCKS * 32 and of BLOCKS * USED. `#for` writes these rounds out, because compilers unroll a loop with a stride into longer code, and
// with a cold instruction cache fetching code takes longer than running it.

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
var<workgroup> candidates: array<vec2<u32>, BLOCKS * USED>; // (key, expert) of the best of every block, best first

// 1 if the key `other` ranks before the key `own`. Of equal keys the one with the lower index does.
fn beats(other: u32, own: u32, is_before: bool) -> u32 {
    return u32(other > own || (other == own && is_before));
}

// The rank of a key is the number of keys that beat it. The first step ranks the keys of each block of 32 and keeps the best USED as
// candidates, the second ranks the candidates of all blocks. Candidates with equal keys are in the order of their experts. Places past the
// last expert have the lowest key and the highest indices, so that every expert beats them.
fn pick(slot: u32, lid: u32) {
#for R EXPERT_ROUNDS
    {
        let e = $Ru * WG + lid;
        if (e < BLOCKS * 32u) {
            let own = keys[e];
            let block = e / 32u;
            var rank = 0u;
            // The bound is 32 but opaque to the compiler, so the loop stays rolled.
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

// Writes the experts of token `t` to `picked`, from slot * USED on, and the scores of all experts to `scores`. Call a barrier between two
// choices.
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

// Stores the experts and weights of the token for which `choose` was called last.
fn store_choice(t: u32, slot: u32, lid: u32) {
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

// Makes quad `q` of act of the shared expert for token `t`.
fn shared_expert(t: u32, q: u32) {
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

// attention_coop: attention without WHOLE, with f16 operands and f32 sums on cooperative matrices of 16 x 16.
// in      as attention
// out     partial (T, MAX_PARTS, heads, DIM) f32 unnormalised sums and stats (T, MAX_PARTS, heads) (maximum, sum)
// params  Params 52 B
// grid    x: heads / HEADS, y: parts, z: T
// needs   f16 and a cache of f16, cooperative matrices f16 x f16 -> f32, 45 KiB workgroup memory; DIM a multiple of CHUNK, heads a multiple
//         of HEADS; attention is the portable twin
// cost    4 * DIM * keys * heads flop a row on the matrix units; keys * DIM * 2 bytes for each HEADS heads, from cache: latency bound for
//         few rows
// source  SPEC 3.1 (steps 2, 4, 5)
#import lib/attention/inputs
@group(0) @binding(auto) var<storage, read_write> partial: array<f32>;     // (T, MAX_PARTS, heads, DIM)
@group(0) @binding(auto) var<storage, read_write> stats: array<vec2<f32>>; // (T, MAX_PARTS, heads)
#for S RING_SEGMENTS
@group(0) @binding(auto) var<storage, read> ring$S: array<KeyWord>;        // (rows, DIM/2) pairs
#end
#import lib/attention/kv
#import lib/attention/pages
#import lib/attention/visible
#import lib/attention/parts
#import lib/attention/keys
#import lib/numbers/half
#import lib/attention/rotate

const HEADS: u32 = SIZE;
const KEYS: u32 = STEPS * SIZE;             // keys of a stage
const CHUNK: u32 = SUBGROUPS * SIZE;        // channels of keys that are staged at a time
const WORDS: u32 = CHUNK / WORD_CHANNELS;   // words of a staged key
const TEAM: u32 = WG / HEADS;               // invocations with the same head of the queries and of the scores
const KEY_STEP: u32 = WG / WORDS;           // keys from one of an invocation's pieces to the next
const Q_STRIDE: u32 = DIM + 8u;
const K_STRIDE: u32 = CHUNK + 8u;
const P_STRIDE: u32 = KEYS + 8u;
const S_STRIDE: u32 = KEYS + 4u;
const K_AT: u32 = HEADS * Q_STRIDE;         // offset of the staged keys, which follow the queries
const P_AT: u32 = K_AT + KEYS * K_STRIDE;   // offset of exp(score - maximum), which follows the keys
const STAGED: u32 = P_AT + HEADS * P_STRIDE;
#import lib/linear/coop

var<workgroup> places: array<u32, KEYS>;
var<workgroup> shared_parts: vec4<u32>; // only x is used: lib/linear/coop needs 16 bytes
// Scores over each half of the channels; their sum is the score.
var<workgroup> scores: array<vec4<f32>, 2u * HEADS * S_STRIDE / 4u>;

@compute @workgroup_size(WG)
fn attention_coop(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.z;
    let row = rows[t];
    let sees = visible(row.position);
    let keys_seen = sees.window + sees.compressed;
    let count = parts(keys_seen);
    let part = (keys_seen + count - 1u) / count;
    let begin = wid.y * part;
    let end = min(begin + part, keys_seen);

    let head = lid / TEAM;
    let lane = lid % TEAM;
    let own_key = lid / WORDS;
    let own_word = lid % WORDS;
    let subgroup = lid / SUBGROUP;
    let first_head = wid.x * HEADS;
    let q_from = t * (params.q_stride >> 2u) + (first_head + head) * (DIM / 4u) + lane;
    let plain = DIM - params.rope;
    let turn = (t * 2u + params.angle_set) * (params.rope >> 1u);
    var square = 0.0;
#for J QUADS_EACH
    let q$J = q_quads[q_from + $Ju * TEAM];
#end

    var most = -3.4e38;
    var total = 0.0;
#for C CHUNKS
    var sum$C: Sums;
#end
    // A part of one stage takes one step. Longer parts take two passes over their stages: one for the maximum, one for the values.
    let stages = (part + params.staged - 1u) / params.staged;
    let steps = select(2u * stages, 1u, stages == 1u);
    for (var step = 0u; step < steps; step++) {
        let adds = step + stages >= steps;
        let first = begin + select(step, step + stages - steps, adds) * KEYS;
        if (lid < KEYS) {
            places[lid] = key_place(row, t, sees, min(first + lid, end - 1u));
        }
        if (lid == 0u) {
            shared_parts = vec4<u32>(count);
        }
        // Cooperative operations need control flow that the compiler knows to be uniform. The load is also the barrier for the places.
        if (wid.y >= workgroupUniformLoad(&shared_parts).x) {
            return;
        }
        // Loads the invocation's word of each chunk, for PIECES keys. The branch on a key's place is taken once for all chunks.
#for P PIECES
#for C CHUNKS
        var word$C_$P = KeyWord();
#end
        {
            let place = places[own_key + $Pu * KEY_STEP];
            let at = (place & PLACE_ROW) * PAGE_ROW_WORDS + own_word;
            if (place < FROM_RING) {
#for C CHUNKS
                word$C_$P = kv[at + $Cu * WORDS];
#end
            } else if (place < FROM_PAGES) {
#for C CHUNKS
                word$C_$P = ring_word(place & PLACE_ROW, own_word + $Cu * WORDS);
#end
            } else {
#for C CHUNKS
                word$C_$P = page_word(at + $Cu * WORDS);
#end
            }
        }
#end
        if (step == 0u) {
            // The queries are prepared while the keys are in flight.
#for J QUADS_EACH
            square += dot(q$J, q$J);
#end
#for L TEAM_BITS
            square += subgroupShuffleXor(square, 1u << $Lu);
#end
            let norm = inverseSqrt(square / f32(DIM) + params.norm_eps);
#for J QUADS_EACH
            {
                let channel = (lane + $Ju * TEAM) * 4u;
                var quad = q$J * norm;
                if ($Ju >= PLAIN_EACH && channel >= plain) {
                    let at = turn + ((channel - plain) >> 1u);
                    quad = vec4<f32>(rotate(quad.xy, angles[at]), rotate(quad.zw, angles[at + 1u]));
                }
                put(head * Q_STRIDE + channel, to_half(quad));
            }
#end
        }
        // A subgroup multiplies SIZE keys over one half of each chunk's channels, DEPTH of them.
        var products: Sums;
        let own_half = subgroup / STEPS;
        let own_keys = subgroup % STEPS * SIZE;
#for C CHUNKS
        if ($Cu > 0u) {
            workgroupBarrier();
        }
#for P PIECES
        put_key(own_key + $Pu * KEY_STEP, own_word, word$C_$P);
#end
        workgroupBarrier();
#for K STEPS
        {
            let depth = own_half * DEPTH + $Ku * SIZE;
            let left = coopLoadT<Left>(&staged[($Cu * CHUNK + depth) / UNIT], Q_STRIDE / UNIT);
            let right = coopLoad<Right>(&staged[(K_AT + own_keys * K_STRIDE + depth) / UNIT], K_STRIDE / UNIT);
            products = coopMultiplyAdd(left, right, products);
        }
#end
#end
        let score_at = (own_half * HEADS * S_STRIDE + own_keys) / 4u;
        coopStoreT(products, &scores[score_at], S_STRIDE / 4u);
        workgroupBarrier();
        // An invocation has the scores of four keys for one head.
        let own_score = (head * S_STRIDE) / 4u + lane;
        let key = first + lane * 4u;
        let inside = vec4<u32>(key, key + 1u, key + 2u, key + 3u) < vec4<u32>(end);
        let score = select(vec4<f32>(-3.4e38), (scores[own_score] + scores[own_score + HEADS * S_STRIDE / 4u]) * params.scale, inside);
        var highest = max(max(score.x, score.y), max(score.z, score.w));
#for L TEAM_BITS
        highest = max(highest, subgroupShuffleXor(highest, 1u << $Lu));
#end
        most = max(most, highest);
        let share = vec4<f16>(select(vec4<f32>(0.0), exp(score - most), inside & vec4<bool>(adds)));
        total += dot(vec4<f32>(share), vec4<f32>(1.0));
        put(P_AT + head * P_STRIDE + lane * 4u, share);
        workgroupBarrier();
        // A subgroup computes SIZE channels of each chunk.
#for K STEPS
        let share$K = coopLoadT<Left>(&staged[(P_AT + $Ku * SIZE) / UNIT], P_STRIDE / UNIT);
#end
#for C CHUNKS
        if ($Cu > 0u) {
            workgroupBarrier();
        }
#for P PIECES
        put_key(own_key + $Pu * KEY_STEP, own_word, word$C_$P);
#end
        workgroupBarrier();
#for K STEPS
        {
            let right = coopLoadT<Right>(&staged[(K_AT + $Ku * SIZE * K_STRIDE + subgroup * SIZE) / UNIT], K_STRIDE / UNIT);
            sum$C = coopMultiplyAdd(share$K, right, sum$C);
        }
#end
#end
    }

#for L TEAM_BITS
    total += subgroupShuffleXor(total, 1u << $Lu);
#end
    let at = (t * MAX_PARTS + wid.y) * params.heads + first_head;
    if (lane == 0u) {
        stats[at + head] = vec2<f32>(most, total);
    }
    // naga accepts only named values as arguments of coopStoreT.
    let stride = DIM;
#for C CHUNKS
    let at$C = at * DIM + $Cu * CHUNK + subgroup * SIZE;
    coopStoreT(sum$C, &partial[at$C], stride);
#end
}

// Stages eight channels of a key. No clamp: kv_pack saturated them.
fn put_key(key: u32, word: u32, channels: KeyWord) {
    let at = K_AT + key * K_STRIDE + word * 8u;
    put(at, vec4<f16>(key_channels(channels.xy)));
    put(at + 4u, vec4<f16>(key_channels(channels.zw)));
}

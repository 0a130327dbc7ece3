// attention: one softmax over window and compressed rows for HEADS query heads that share their keys, which are the values too. The heads
// are first normalised (N0) and rotated.
// in      rows (T) Row; q (T, q_stride) f32, the heads at its start; angles (T, 2, R/2) (cos, sin); kv (T, DIM) pairs of this step; ring
//         (slots, ring_rows, DIM) pairs of earlier tokens; pages through page_table; selected (T, top_k) compressed rows that the indexer
//         chose, ascending
// out     partial (T, MAX_PARTS, heads, DIM) f32 unnormalised sums and stats (T, MAX_PARTS, heads) (maximum, sum);
//         with WHOLE: out (T, heads, DIM) f32 finished: sink in the denominator, rotated back
// params  Params 52 B
// grid    x: heads / HEADS, y: parts (1 with WHOLE), z: T
// needs   22 KiB workgroup memory; DIM a multiple of 8, at most 512; heads a multiple of HEADS, a power of two, at most WG / 8
// cost    2 * DIM * keys * heads multiply-adds a row; keys * DIM * 2 bytes for each HEADS heads, from cache: latency bound for few rows
// source  SPEC 3.1 (steps 2, 4, 5, 6)
//
// A decode step alternates among kernels, so each launch starts with a cold instruction cache and the code has to be short. Loops over long
// bodies stay rolled, because their bounds come from the parameters.
#import lib/attention/inputs
#ifdef WHOLE
@group(0) @binding(auto) var<storage, read> sinks: array<f32>;           // (heads)
@group(0) @binding(auto) var<storage, read_write> out: array<vec2<f32>>; // (T, heads, DIM/2)
#else
@group(0) @binding(auto) var<storage, read_write> partial: array<vec2<f32>>; // (T, MAX_PARTS, heads, DIM/2)
@group(0) @binding(auto) var<storage, read_write> stats: array<vec2<f32>>;   // (T, MAX_PARTS, heads)
#endif
#for S RING_SEGMENTS
@group(0) @binding(auto) var<storage, read> ring$S: array<KeyWord>;      // (rows, DIM/2) pairs
#end
#import lib/attention/kv
#import lib/attention/pages
#import lib/attention/visible
#import lib/attention/parts
#import lib/attention/keys
#import lib/attention/rotate
#import lib/reduce/four

const PAIRS: u32 = DIM / 2u;
const WORDS: u32 = DIM / WORD_CHANNELS;
const WORD_QUADS: u32 = WORD_CHANNELS / 4u;
const KEYS: u32 = 16u / PAIR_WORDS;    // keys staged at a time
const BLOCKS: u32 = KEYS / 4u;         // blocks of four keys
const LANES: u32 = WG / HEADS;         // a team of LANES invocations makes the dot products of one head

var<workgroup> keys: array<KeyWord, KEYS * WORDS>;
var<workgroup> places: array<u32, KEYS>;         // places of the keys to fetch next
var<workgroup> norms: array<f32, HEADS>;         // a head's factor for dot products: its norm and the scale
var<workgroup> dots: array<f32, HEADS * KEYS>;   // by head
var<workgroup> shares: array<vec4<f32>, HEADS * BLOCKS>; // exp(dot - maximum), by head
var<workgroup> shrinks: array<f32, HEADS>;       // exp(old maximum - new maximum), by head
var<workgroup> totals: array<vec2<f32>, HEADS * BLOCKS>; // maximum of a head, sum of its shares in one block of all stages
#ifdef WHOLE
var<workgroup> factors: array<f32, HEADS>;
#endif

// Word `i` of the keys in `places`.
fn fetch(i: u32) -> KeyWord {
    return key_word(places[min(i / WORDS, KEYS - 1u)], i % WORDS);
}

// Pair `pair` of staged key `key`.
fn staged_pair(key: u32, pair: u32) -> vec2<f32> {
#ifdef KV_F16
    return kv_unpack(keys[key * WORDS + (pair >> 2u)][pair & 3u]);
#else
    let i = key * WORDS + (pair >> 1u);
    let first = (pair & 1u) << 1u;
    return kv_unpack(vec2<u32>(keys[i][first], keys[i][first + 1u]));
#endif
}

fn add_dot(sum: f32, a: vec4<f32>, b: vec4<f32>) -> f32 {
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

// Adds the products of a key's word and the query's channels: `low`, and also `high` if words have eight channels.
fn add_word(sum: f32, word: KeyWord, low: vec4<f32>, high: vec4<f32>) -> f32 {
#ifdef KEYS_BY_EIGHT
    return add_dot(add_dot(sum, low, key_channels(word.xy)), high, key_channels(word.zw));
#else
    return add_dot(sum, low, key_channels(word));
#endif
}

@compute @workgroup_size(WG)
fn attention(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.z;
    let row = rows[t];
    let first_head = wid.x * HEADS;
    let sees = visible(row.position);
    let keys_seen = sees.window + sees.compressed;
#ifdef WHOLE
    let begin = 0u;
    let end = keys_seen;
#else
    let count = parts(keys_seen);
    if (wid.y >= count) {
        return;
    }
    let part = (keys_seen + count - 1u) / count;
    let begin = wid.y * part;
    let end = min(begin + part, keys_seen);
#endif
    let stages = (end - begin + KEYS - 1u) / KEYS;

    // A lane keeps some channels of its team's head: those that meet the words of keys which it multiplies.
    let head = lid / LANES;
    let lane = lid % LANES;
    let q_first = t * (params.q_stride >> 2u) + (first_head + head) * (DIM / 4u);
    var q: array<vec4<f32>, QUADS_EACH + 1u>;
#for J QUADS_EACH
    if (lane + $Ju / WORD_QUADS * LANES < WORDS) {
        q[$J] = q_quads[q_first + (lane + $Ju / WORD_QUADS * LANES) * WORD_QUADS + $Ju % WORD_QUADS];
    }
#end
    let plain = PAIRS - (params.rope >> 1u);
    let turn = (t * 2u + params.angle_set) * (params.rope >> 1u);

    var place = 0u;
#for P PIECES
    var piece$P = KeyWord();
#end
    // The maximum so far of head lid / BLOCKS, and the sum of its shares in block lid % BLOCKS.
    var most = -3.4e38;
    var total = 0.0;
#for H HEADS
    var out$H = vec2<f32>(0.0);
#end
    // A pipeline of three stages keeps loads in flight: step n finds the places of stage n, fetches the keys of stage n - 1, and computes
    // on stage n - 2. Step 1 prepares the queries. Places past the last key repeat it.
    for (var step = 0u; step < stages + 2u; step++) {
        workgroupBarrier();
#for P PIECES
        if (lid + $Pu * WG < KEYS * WORDS) {
            keys[lid + $Pu * WG] = piece$P;
        }
#end
        if (lid < KEYS) {
            places[lid] = place;
        }
        workgroupBarrier();
        if (step - 1u < stages) {
#for P PIECES
            piece$P = fetch(lid + $Pu * WG);
#end
        }
        if (lid < KEYS && step < stages) {
            place = key_place(row, t, sees, min(begin + step * KEYS + lid, end - 1u));
        }
        if (step == 1u) {
            var square = 0.0;
#for J QUADS_EACH
            square = add_dot(square, q[$J], q[$J]);
#end
            square = reduce_four(vec4<f32>(square, 0.0, 0.0, 0.0), lid);
            if (lane == 0u) {
                norms[head] = inverseSqrt(square / f32(DIM) + params.norm_eps) * params.scale;
            }
            // The quads are a queue, because registers have no index: a turn takes the first quad, rotates its pairs and appends it. The
            // bound is QUADS_EACH, since `staged` is KEYS.
            for (var j = 0u; j < params.staged / KEYS * QUADS_EACH; j++) {
                let pair = 2u * ((lane + j / WORD_QUADS * LANES) * WORD_QUADS + j % WORD_QUADS);
                var quad = q[0];
                if (pair + 1u >= plain && pair < PAIRS) {
                    if (pair >= plain) {
                        quad = vec4<f32>(rotate(quad.xy, angles[turn + pair - plain]), quad.zw);
                    }
                    quad = vec4<f32>(quad.xy, rotate(quad.zw, angles[turn + pair + 1u - plain]));
                }
                q[QUADS_EACH] = quad;
#for J QUADS_EACH
                q[$J] = q[$J + 1];
#end
            }
        }
        if (step < 2u) {
            continue;
        }
        let staged = min(params.staged, end - (begin + (step - 2u) * KEYS));
        for (var first = 0u; first < staged; first += 4u) {
            var products = vec4<f32>(0.0);
#for J WORDS_EACH
            {
                // Past the last word the query's channels are zero.
                let at = first * WORDS + min(lane + $Ju * LANES, WORDS - 1u);
#for S 4
                products[$S] = add_word(products[$S], keys[at + $Su * WORDS], q[$Ju * WORD_QUADS], q[$Ju * WORD_QUADS + WORD_QUADS - 1u]);
#end
            }
#end
            let own = reduce_four(products, lid) * norms[head];
            if (lane < 4u) {
                dots[head * KEYS + first + lane] = select(-3.4e38, own, first + lane < staged);
            }
        }
        workgroupBarrier();
        if (lid < HEADS * BLOCKS) {
            let h = lid / BLOCKS;
            let block = lid % BLOCKS;
            let before = most;
            for (var k = 0u; k < staged; k += 4u) {
#for S 4
                most = max(most, dots[h * KEYS + k + $Su]);
#end
            }
            let shrink = exp(before - most);
            total *= shrink;
            if (block == 0u) {
                shrinks[h] = shrink;
            }
            if (block * 4u < staged) {
                let share = exp(vec4<f32>(dots[lid * 4u], dots[lid * 4u + 1u], dots[lid * 4u + 2u], dots[lid * 4u + 3u]) - most);
                shares[lid] = share;
                total += share.x + share.y + share.z + share.w;
            }
        }
        workgroupBarrier();
        if (lid < PAIRS) {
#for H HEADS
            out$H *= shrinks[$H];
#end
            // Keys past the last have a share of zero.
            for (var k = 0u; k < staged; k += 4u) {
#for S 4
                let value$S = staged_pair(k + $Su, lid);
#end
#for H HEADS
                {
                    let share = shares[$Hu * BLOCKS + (k >> 2u)];
                    out$H = fma(vec2<f32>(share.x), value0, out$H);
                    out$H = fma(vec2<f32>(share.y), value1, out$H);
                    out$H = fma(vec2<f32>(share.z), value2, out$H);
                    out$H = fma(vec2<f32>(share.w), value3, out$H);
                }
#end
            }
        }
    }

    if (lid < HEADS * BLOCKS) {
        totals[lid] = vec2<f32>(most, total);
    }
    workgroupBarrier();
#ifdef WHOLE
    let at = t * params.heads + first_head;
#else
    let at = (t * MAX_PARTS + wid.y) * params.heads + first_head;
#endif
    if (lid < HEADS) {
        var sum = totals[lid * BLOCKS];
        for (var block = 1u; block < BLOCKS; block++) {
            sum.y += totals[lid * BLOCKS + block].y;
        }
#ifdef WHOLE
        let sink = sinks[first_head + lid];
        let highest = max(sum.x, sink);
        let shrink = exp(sum.x - highest);
        factors[lid] = shrink / (sum.y * shrink + exp(sink - highest));
#else
        stats[at + lid] = sum;
#endif
    }
#ifdef WHOLE
    workgroupBarrier();
#endif
    if (lid >= PAIRS) {
        return;
    }
#ifdef WHOLE
    var angle = vec2<f32>(1.0, 0.0);
    if (lid >= plain) {
        angle = angles[turn + lid - plain];
    }
#for H HEADS
    out[(at + $Hu) * PAIRS + lid] = rotate_back(out$H * factors[$H], angle);
#end
#else
#for H HEADS
    partial[(at + $Hu) * PAIRS + lid] = out$H;
#end
#endif
}

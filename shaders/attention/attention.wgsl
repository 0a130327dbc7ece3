// attention: one softmax over window and compressed rows for HEADS query heads that share one key, which is the value too.
// in      rows (T) Row; q (T, q_stride) f32, the heads at its start; kv (T, DIM) pairs of this step; ring (slots, ring_rows, DIM) pairs of earlier tokens;
//         pages through page_table; selected (T, top_k) compressed rows that the indexer chose, ascending
// out     partial (T, MAX_PARTS, heads, DIM) f32 unnormalised sums and stats (T, MAX_PARTS, heads) (maximum, sum);
//         with WHOLE: out (T, heads, DIM) f32 finished: sink in the denominator, rotated back
// params  Params 40 B
// grid    x: heads / HEADS, y: parts (1 with WHOLE), z: T
// needs   19 KiB workgroup memory; DIM a multiple of 2, at most 512; heads a multiple of HEADS
// cost    2 * DIM * keys * heads multiply-adds a row; keys * DIM * 2 bytes for each HEADS heads, from cache
// source  SPEC 3.1 steps 4-6
struct Params {
    heads: u32,
    q_stride: u32,      // floats
    window: u32,
    ratio: u32,         // 0, 4, 128
    top_k: u32,         // compressed rows at most; the indexer selects beyond it
    ring_rows: u32,
    max_pages: u32,
    scale: f32,
    rope: u32,          // R
    angle_set: u32,
}

#import lib/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;            // (T)
@group(0) @binding(auto) var<storage, read> q: array<vec2<f32>>;         // (T, q_stride/2)
@group(0) @binding(auto) var<storage, read> kv: array<u32>;              // (T, DIM/2) pairs
@group(0) @binding(auto) var<storage, read> selected: array<u32>;        // (T, top_k)
#ifdef WHOLE
@group(0) @binding(auto) var<storage, read> sinks: array<f32>;           // (heads)
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;    // (T, 2, R/2) (cos, sin)
@group(0) @binding(auto) var<storage, read_write> out: array<vec2<f32>>; // (T, heads, DIM/2)
#else
@group(0) @binding(auto) var<storage, read_write> partial: array<vec2<f32>>; // (T, MAX_PARTS, heads, DIM/2)
@group(0) @binding(auto) var<storage, read_write> stats: array<vec2<f32>>;   // (T, MAX_PARTS, heads)
#endif
#for S RING_SEGMENTS
@group(0) @binding(auto) var<storage, read> ring$S: array<u32>;          // (rows, DIM/2) pairs
#end
#import lib/kv
#import lib/pages
#import lib/visible
#import lib/parts
#import lib/keys
#import lib/rotate

const PAIRS: u32 = DIM / 2u;
const ROW_WORDS: u32 = PAIRS * PAIR_WORDS; // PAGE_ROW_WORDS: pages, rings and steps hold the same rows
const KEYS: u32 = 16u / PAIR_WORDS;    // keys staged at a time
const STAGED: u32 = ROW_WORDS + 1u;    // words of a staged key: one more, so that neighbouring keys fall into different banks
const SHARES: u32 = WG / (HEADS * KEYS); // invocations that share a dot product

var<workgroup> keys: array<u32, KEYS * STAGED>;
var<workgroup> dots: array<f32, WG>;
var<workgroup> weights: array<f32, HEADS * KEYS>;
var<workgroup> maxima: array<f32, HEADS>;  // of the keys so far
var<workgroup> shrinks: array<f32, HEADS>; // what a new maximum does to the sums so far
var<workgroup> totals: array<f32, HEADS>;

// Pair `pair` of staged key `key`.
fn key_pair(key: u32, pair: u32) -> vec2<f32> {
    let i = key * STAGED + pair * PAIR_WORDS;
#ifdef KV_F16
    return kv_unpack(keys[i]);
#else
    return kv_unpack(vec2<u32>(keys[i], keys[i + 1u]));
#endif
}

fn stage(row: Row, t: u32, sees: Visible, first: u32, count: u32, lid: u32) {
    for (var i = lid; i < KEYS * ROW_WORDS; i += WG) {
        let key = i / ROW_WORDS;
        let word = i % ROW_WORDS;
        if (key >= count) {
            break;
        }
        keys[key * STAGED + word] = key_word(key_place(row, t, sees, first + key), word);
    }
}

@compute @workgroup_size(WG)
fn attention(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.z;
    let row = rows[t];
    let first_head = wid.x * HEADS;
    let sees = visible(row.position);
    let total = sees.window + sees.compressed;
#ifdef WHOLE
    let begin = 0u;
    let end = total;
#else
    let count = parts(total);
    if (wid.y >= count) {
        return;
    }
    let part = (total + count - 1u) / count;
    let begin = wid.y * part;
    let end = min(begin + part, total);
#endif

    // The invocation's dot product: head, key of the stage, share of the channels.
    let share = lid % SHARES;
    let dot_key = lid / SHARES % KEYS;
    let dot_head = lid / SHARES / KEYS;
    let q_first = t * (params.q_stride >> 1u) + (first_head + dot_head) * PAIRS;

#for H HEADS
    var out$H = vec2<f32>(0.0);
#end
    if (lid < HEADS) {
        maxima[lid] = -3.4e38;
        totals[lid] = 0.0;
    }
    for (var first = begin; first < end; first += KEYS) {
        let staged = min(KEYS, end - first);
        workgroupBarrier();
        stage(row, t, sees, first, staged, lid);
        workgroupBarrier();
        var product = 0.0;
        if (dot_key < staged) {
            for (var pair = share; pair < PAIRS; pair += SHARES) {
                let k = key_pair(dot_key, pair);
                let qp = q[q_first + pair];
                product = fma(qp.x, k.x, product);
                product = fma(qp.y, k.y, product);
            }
        }
        dots[lid] = product;
        workgroupBarrier();
        if (share == 0u) {
            var score = dots[lid];
            for (var i = 1u; i < SHARES; i++) {
                score += dots[lid + i];
            }
            weights[dot_head * KEYS + dot_key] = select(-3.4e38, score * params.scale, dot_key < staged);
        }
        workgroupBarrier();
        if (lid < HEADS) {
            var most = maxima[lid];
            for (var k = 0u; k < staged; k++) {
                most = max(most, weights[lid * KEYS + k]);
            }
            let shrink = exp(maxima[lid] - most);
            var total = totals[lid] * shrink;
            for (var k = 0u; k < staged; k++) {
                total += exp(weights[lid * KEYS + k] - most);
            }
            maxima[lid] = most;
            shrinks[lid] = shrink;
            totals[lid] = total;
        }
        workgroupBarrier();
        if (lid < HEADS * KEYS) {
            weights[lid] = exp(weights[lid] - maxima[lid / KEYS]);
        }
        workgroupBarrier();
        if (lid < PAIRS) {
#for H HEADS
            out$H *= shrinks[$H];
#end
            for (var k = 0u; k < staged; k++) {
                let value = key_pair(k, lid);
#for H HEADS
                out$H = fma(vec2<f32>(weights[$Hu * KEYS + k]), value, out$H);
#end
            }
        }
    }

    if (lid >= PAIRS) {
        return;
    }
#for H HEADS
    {
        let head = first_head + $Hu;
#ifdef WHOLE
        let most = max(maxima[$H], sinks[head]);
        let shrink = exp(maxima[$H] - most);
        var value = out$H * (shrink / (totals[$H] * shrink + exp(sinks[head] - most)));
        let plain = PAIRS - (params.rope >> 1u);
        if (lid >= plain) {
            value = rotate_back(value, angles[(t * 2u + params.angle_set) * (params.rope >> 1u) + lid - plain]);
        }
        out[(t * params.heads + head) * PAIRS + lid] = value;
#else
        let at = (t * MAX_PARTS + wid.y) * params.heads + head;
        partial[at * PAIRS + lid] = out$H;
        if (lid == 0u) {
            stats[at] = vec2<f32>(maxima[$H], totals[$H]);
        }
#endif
    }
#end
}

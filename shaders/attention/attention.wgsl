// attention: one softmax over window and compressed rows for HEADS query heads that share one key, which is the value too; heads are first
// normalised (N0) and rotated.
// in      rows (T) Row; q (T, q_stride) f32, the heads at its start; angles (T, 2, R/2) (cos, sin); kv (T, DIM) pairs of this step; ring (slots, ring_rows, DIM) pairs of earlier tokens;
//         pages through page_table; selected (T, top_k) compressed rows that the indexer chose, ascending
// out     partial (T, MAX_PARTS, heads, DIM) f32 unnormalised sums and stats (T, MAX_PARTS, heads) (maximum, sum);
//         with WHOLE: out (T, heads, DIM) f32 finished: sink in the denominator, rotated back
// params  Params 44 B
// grid    x: heads / HEADS, y: parts (1 with WHOLE), z: T
// needs   26 KiB workgroup memory; DIM a multiple of 2, at most 512; heads a multiple of HEADS, a power of two
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
    norm_eps: f32,
}

#import lib/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;            // (T)
@group(0) @binding(auto) var<storage, read> q: array<vec2<f32>>;         // (T, q_stride/2)
@group(0) @binding(auto) var<storage, read> kv: array<u32>;              // (T, DIM/2) pairs
@group(0) @binding(auto) var<storage, read> selected: array<u32>;        // (T, top_k)
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;    // (T, 2, R/2) (cos, sin)
#ifdef WHOLE
@group(0) @binding(auto) var<storage, read> sinks: array<f32>;           // (heads)
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
#ifdef SUBGROUP
#import lib/reduce_team
#else
#import lib/reduce_lanes
#endif

const PAIRS: u32 = DIM / 2u;
const ROW_WORDS: u32 = PAIRS * PAIR_WORDS; // PAGE_ROW_WORDS: pages, rings and steps hold the same rows
const KEYS: u32 = 16u / PAIR_WORDS;    // keys staged at a time
const STAGED: u32 = ROW_WORDS + 1u;    // words of a staged key: one more, so that neighbouring keys fall into different banks
const LANES: u32 = WG / HEADS;         // a team of LANES invocations makes the dot products of one head

var<workgroup> keys: array<u32, KEYS * STAGED>;
var<workgroup> places: array<u32, KEYS>;
var<workgroup> dots: array<f32, HEADS * KEYS>;   // by head
var<workgroup> shares: array<f32, KEYS * HEADS>; // exp(dot - maximum), by key
var<workgroup> maxima: array<f32, HEADS>;        // of the keys so far
var<workgroup> shrinks: array<f32, HEADS>;       // what a new maximum does to the sums so far
var<workgroup> totals: array<f32, HEADS>;
var<workgroup> norms: array<f32, HEADS>;

// Sums over a team; its first lane has them.
fn team_sums_of(values: array<f32, SUMS>, lid: u32) -> array<f32, SUMS> {
#ifdef SUBGROUP
#ifdef WIDE
    workgroupBarrier();
#endif
    return reduce_team(values, lid);
#else
    return reduce_lanes(values, lid);
#endif
}

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
    if (lid < count) {
        places[lid] = key_place(row, t, sees, first + lid);
    }
    workgroupBarrier();
    for (var i = lid; i < KEYS * ROW_WORDS; i += WG) {
        let key = i / ROW_WORDS;
        let word = i % ROW_WORDS;
        if (key >= count) {
            break;
        }
        keys[key * STAGED + word] = key_word(places[key], word);
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

    // The team's head: each lane keeps its share of the channels, normalised, rotated and scaled.
    let head = lid / LANES;
    let lane = lid % LANES;
    let q_first = t * (params.q_stride >> 1u) + (first_head + head) * PAIRS;
    let plain = PAIRS - (params.rope >> 1u);
    let turn = (t * 2u + params.angle_set) * (params.rope >> 1u);
    var squares: array<f32, SUMS>;
#for J PAIRS_EACH
    var q$J = vec2<f32>(0.0);
    if (lane + $Ju * LANES < PAIRS) {
        q$J = q[q_first + lane + $Ju * LANES];
        squares[0] += dot(q$J, q$J);
    }
#end
    let square = team_sums_of(squares, lid);
    if (lane == 0u) {
        norms[head] = inverseSqrt(square[0] / f32(DIM) + params.norm_eps) * params.scale;
    }
    workgroupBarrier();
#for J PAIRS_EACH
    q$J *= norms[head];
    if (lane + $Ju * LANES >= plain && lane + $Ju * LANES < PAIRS) {
        q$J = rotate(q$J, angles[turn + lane + $Ju * LANES - plain]);
    }
#end

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
        for (var first_dot = 0u; first_dot < KEYS; first_dot += SUMS) {
            var products: array<f32, SUMS>;
#for J PAIRS_EACH
            if (lane + $Ju * LANES < PAIRS) {
#for S SUMS
                {
                    let k = key_pair(first_dot + $Su, lane + $Ju * LANES);
                    products[$S] = fma(q$J.x, k.x, products[$S]);
                    products[$S] = fma(q$J.y, k.y, products[$S]);
                }
#end
            }
#end
            let own = team_sums_of(products, lid);
            if (lane == 0u) {
#for S SUMS
                dots[head * KEYS + first_dot + $Su] = select(-3.4e38, own[$S], first_dot + $Su < staged);
#end
            }
        }
        workgroupBarrier();
        let h = lid / KEYS;
        var most = 0.0;
        if (lid < HEADS * KEYS) {
            most = maxima[h];
            for (var k = 0u; k < KEYS; k++) {
                most = max(most, dots[h * KEYS + k]);
            }
            shares[lid % KEYS * HEADS + h] = exp(dots[lid] - most);
        }
        workgroupBarrier();
        if (lid < HEADS * KEYS && lid % KEYS == 0u) {
            shrinks[h] = exp(maxima[h] - most);
            maxima[h] = most;
            var sum = totals[h] * shrinks[h];
            for (var k = 0u; k < KEYS; k++) {
                sum += shares[k * HEADS + h];
            }
            totals[h] = sum;
        }
        workgroupBarrier();
        if (lid < PAIRS) {
#for H HEADS
            out$H *= shrinks[$H];
#end
            for (var k = 0u; k < staged; k++) {
                let value = key_pair(k, lid);
#for H HEADS
                out$H = fma(vec2<f32>(shares[k * HEADS + $Hu]), value, out$H);
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
        if (lid >= plain) {
            value = rotate_back(value, angles[turn + lid - plain]);
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

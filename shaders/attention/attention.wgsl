// attention: one softmax over window and compressed rows for HEADS query heads that share one key, which is the value too; heads are first
// normalised (N0) and rotated.
// in      rows (T) Row; q (T, q_stride) f32, the heads at its start; angles (T, 2, R/2) (cos, sin); kv (T, DIM) pairs of this step; ring (slots, ring_rows, DIM) pairs of earlier tokens;
//         pages through page_table; selected (T, top_k) compressed rows that the indexer chose, ascending
// out     partial (T, MAX_PARTS, heads, DIM) f32 unnormalised sums and stats (T, MAX_PARTS, heads) (maximum, sum);
//         with WHOLE: out (T, heads, DIM) f32 finished: sink in the denominator, rotated back
// params  Params 44 B
// grid    x: heads / HEADS, y: parts (1 with WHOLE), z: T
// needs   26 KiB workgroup memory; DIM a multiple of 4, at most 512; heads a multiple of HEADS, a power of two, at most WG / 8
// cost    2 * DIM * keys * heads multiply-adds a row; keys * DIM * 2 bytes for each HEADS heads, from cache: of few rows latency bound
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
@group(0) @binding(auto) var<storage, read> q: array<vec4<f32>>;         // (T, q_stride/4)
@group(0) @binding(auto) var<storage, read> kv: array<KeyWord>;          // (T, DIM/2) pairs
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
@group(0) @binding(auto) var<storage, read> ring$S: array<KeyWord>;      // (rows, DIM/2) pairs
#end
#import lib/kv
#import lib/pages
#import lib/visible
#import lib/parts
#import lib/keys
#import lib/rotate
#import lib/reduce_eight

const PAIRS: u32 = DIM / 2u;
const QUADS: u32 = DIM / 4u;
const KEYS: u32 = 16u / PAIR_WORDS;    // keys staged at a time
const LANES: u32 = WG / HEADS;         // a team of LANES invocations makes the dot products of one head

var<workgroup> keys: array<KeyWord, KEYS * QUADS>;
var<workgroup> places: array<u32, KEYS>;         // of the keys to be fetched next
var<workgroup> dots: array<f32, HEADS * KEYS>;   // by head
var<workgroup> shares: array<f32, KEYS * HEADS>; // exp(dot - maximum), by key
var<workgroup> maxima: array<f32, HEADS>;        // of the keys so far
var<workgroup> shrinks: array<f32, HEADS>;       // what a new maximum does to the sums so far
var<workgroup> totals: array<f32, HEADS>;
var<workgroup> norms: array<f32, HEADS>;

// Quad `i` of the keys whose places are known.
fn fetch(i: u32) -> KeyWord {
    return key_word(places[min(i / QUADS, KEYS - 1u)], i % QUADS);
}

// Pair `pair` of staged key `key`.
fn staged_pair(key: u32, pair: u32) -> vec2<f32> {
    let i = key * QUADS + (pair >> 1u);
#ifdef KV_F16
    return kv_unpack(keys[i][pair & 1u]);
#else
    let first = (pair & 1u) << 1u;
    return kv_unpack(vec2<u32>(keys[i][first], keys[i][first + 1u]));
#endif
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

    // Everything is asked for long before it is used: the first keys while the heads are made ready, the next ones while those at hand are
    // worked on, and a place a stage before its key. Places behind the last repeat it.
    var place = 0u;
    if (lid < KEYS) {
        places[lid] = key_place(row, t, sees, min(begin + lid, end - 1u));
        place = key_place(row, t, sees, min(begin + KEYS + lid, end - 1u));
    }
    // The team's head: each lane keeps its share of the channels, normalised, rotated and scaled.
    let head = lid / LANES;
    let lane = lid % LANES;
    let q_first = t * (params.q_stride >> 2u) + (first_head + head) * QUADS;
    let plain = PAIRS - (params.rope >> 1u);
    let turn = (t * 2u + params.angle_set) * (params.rope >> 1u);
#for J QUADS_EACH
    var q$J = vec4<f32>(0.0);
    if (lane + $Ju * LANES < QUADS) {
        q$J = q[q_first + lane + $Ju * LANES];
    }
#end
    workgroupBarrier();
#for P PIECES
    var piece$P = fetch(lid + $Pu * WG);
#end
    var squares: array<f32, 8>;
#for J QUADS_EACH
    squares[0] += dot(q$J, q$J);
#end
    let square = reduce_eight(squares, lid);
    if (lane == 0u) {
        norms[head] = inverseSqrt(square / f32(DIM) + params.norm_eps) * params.scale;
    }
    if (lid < HEADS) {
        maxima[lid] = -3.4e38;
        totals[lid] = 0.0;
    }
    workgroupBarrier();
#for J QUADS_EACH
    q$J *= norms[head];
    {
        let pair = 2u * (lane + $Ju * LANES);
        if (pair >= plain && pair < PAIRS) {
            q$J = vec4<f32>(rotate(q$J.xy, angles[turn + pair - plain]), q$J.zw);
        }
        if (pair + 1u >= plain && pair < PAIRS) {
            q$J = vec4<f32>(q$J.xy, rotate(q$J.zw, angles[turn + pair + 1u - plain]));
        }
    }
#end

#for H HEADS
    var out$H = vec2<f32>(0.0);
#end
    for (var first = begin; first < end; first += KEYS) {
        let staged = min(KEYS, end - first);
        workgroupBarrier();
#for P PIECES
        if (lid + $Pu * WG < KEYS * QUADS) {
            keys[lid + $Pu * WG] = piece$P;
        }
#end
        if (lid < KEYS) {
            places[lid] = place;
        }
        workgroupBarrier();
        if (first + KEYS < end) {
#for P PIECES
            piece$P = fetch(lid + $Pu * WG);
#end
            if (lid < KEYS) {
                place = key_place(row, t, sees, min(first + 2u * KEYS + lid, end - 1u));
            }
        }
        for (var first_dot = 0u; first_dot < KEYS; first_dot += 8u) {
            var products: array<f32, 8>;
#for J QUADS_EACH
            if (lane + $Ju * LANES < QUADS) {
#for S 8
                products[$S] += dot(q$J, key_channels(keys[(first_dot + $Su) * QUADS + lane + $Ju * LANES]));
#end
            }
#end
            let own = reduce_eight(products, lid);
            if (lane < 8u) {
                dots[head * KEYS + first_dot + lane] = select(-3.4e38, own, first_dot + lane < staged);
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
            // Keys behind the last have no share.
            for (var k = 0u; k < KEYS; k++) {
                let value = staged_pair(k, lid);
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

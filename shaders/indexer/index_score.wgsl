// index_score: score[t, i] = sum_h hw[t, h] max(0, RoPE(Q[t, h]) . K[i]) for the compressed rows i that position t sees.
// in      rows (T) Row; q (T, q_stride) f32, heads at q_offset; angles (T, 2, R/2) (cos, sin); hw (T, hw_stride) f32, raw projections at
//         hw_offset; pages through page_table
// out     scores (n, columns) f32 for the rows from first_token on, of which these are `count` from first_row on
// params  Params 52 B
// grid    x: ceil(columns / TILE), y: count; one workgroup TILE compressed rows of one token
// needs   26 KiB workgroup memory; DIM at most 128, a multiple of 4
// cost    2 heads DIM flop and DIM * 2 bytes a compressed row
// source  SPEC 3.4
#import lib/index_query
#import lib/kv
#import lib/pages

const PAIRS: u32 = DIM / 2u;
const ROW_WORDS: u32 = PAIRS * PAIR_WORDS;
const STAGED: u32 = ROW_WORDS + 1u;
const GROUPS: u32 = WG / TILE; // invocations that share a compressed row, by heads
const HEADS: u32 = GROUPS * EACH; // heads staged at a time

var<workgroup> keys: array<u32, TILE * STAGED>;
var<workgroup> queries: array<vec4<f32>, HEADS * QUERY_QUADS>;
var<workgroup> sums: array<f32, WG>;

fn key_pair(key: u32, pair: u32) -> vec2<f32> {
    let i = key * STAGED + pair * PAIR_WORDS;
#ifdef KV_F16
    return kv_unpack(keys[i]);
#else
    return kv_unpack(vec2<u32>(keys[i], keys[i + 1u]));
#endif
}

fn stage_queries(t: u32, first: u32, lid: u32) {
    for (var i = lid; i < min(HEADS, params.heads - first) * QUERY_QUADS; i += WG) {
        queries[i] = index_query(t, first + i / QUERY_QUADS, i % QUERY_QUADS);
    }
}

@compute @workgroup_size(WG)
fn index_score(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = params.first_row + wid.y;
    let row = rows[t];
    let seen = (row.position + 1u) / params.ratio;
    let first = wid.x * TILE;
    if (first >= seen) {
        return;
    }
    for (var i = lid; i < TILE * ROW_WORDS; i += WG) {
        let key = i / ROW_WORDS;
        if (first + key < seen) {
            keys[key * STAGED + i % ROW_WORDS] = page_word(page_row(row.slot, first + key) + i % ROW_WORDS);
        }
    }
    let key = lid % TILE;
    let group = lid / TILE;
    var sum = 0.0;
    for (var first_head = 0u; first_head < params.heads; first_head += HEADS) {
        workgroupBarrier();
        stage_queries(t, first_head, lid);
        workgroupBarrier();
        // Heads in step: one reading of the key serves all, and their sums do not wait for one another.
#for E EACH
        var product$E = 0.0;
#end
        for (var pair = 0u; pair < PAIRS; pair += 2u) {
            let low = key_pair(key, pair);
            let high = key_pair(key, pair + 1u);
#for E EACH
            let four$E = queries[(group + $Eu * GROUPS) * QUERY_QUADS + (pair >> 1u)];
            product$E = fma(four$E.x, low.x, product$E);
            product$E = fma(four$E.y, low.y, product$E);
            product$E = fma(four$E.z, high.x, product$E);
            product$E = fma(four$E.w, high.y, product$E);
#end
        }
#for E EACH
        {
            let head = first_head + group + $Eu * GROUPS;
            if (head < params.heads) {
                let weight = hw[t * params.hw_stride + params.hw_offset + head] * params.hw_scale;
                sum = fma(weight, max(product$E, 0.0), sum);
            }
        }
#end
    }
    sums[lid] = sum;
    workgroupBarrier();
    if (lid < TILE && first + key < seen) {
        var total = sums[lid];
        for (var i = 1u; i < GROUPS; i++) {
            total += sums[i * TILE + lid];
        }
        scores[(t - params.first_token) * params.columns + first + key] = total;
    }
}

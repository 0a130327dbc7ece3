// index_score: score[t, i] = sum_h hw[t, h] max(0, RoPE(Q[t, h]) . K[i]) for the compressed rows i that position t sees.
// in      rows (T) Row; q (T, q_stride) f32, heads at q_offset; angles (T, 2, R/2) (cos, sin); hw (T, hw_stride) f32, raw projections at
//         hw_offset; pages through page_table
// out     scores (n, columns) f32: line 0 is the row first_token; this launch computes `count` rows from first_row on
// params  Params 52 B
// grid    x: ceil(columns / TILE), y: count; one workgroup for TILE compressed rows of one token
// needs   26 KiB workgroup memory; DIM at most 128, a multiple of 4
// cost    2 heads DIM flop and DIM * 2 bytes a compressed row
// source  SPEC 3.3, SPEC 3.4 (steps 2, 3, 4)
#import lib/indexer/query
#import lib/attention/kv
#import lib/attention/pages

const QUADS: u32 = DIM / 4u;
const STAGED: u32 = QUADS + 1u; // quads from one staged key to the next; one is padding, which puts neighbouring keys into different banks
const GROUPS: u32 = WG / TILE;  // invocations that share a compressed row; each takes EACH of the staged heads
const HEADS: u32 = GROUPS * EACH; // heads staged at a time

var<workgroup> keys: array<KeyWord, TILE * STAGED>;
var<workgroup> queries: array<vec4<f32>, HEADS * QUERY_QUADS>;
var<workgroup> sums: array<f32, WG>;

@compute @workgroup_size(WG)
fn index_score(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = params.first_row + wid.y;
    let row = rows[t];
    let seen = (row.position + 1u) / params.ratio;
    let first = wid.x * TILE;
    if (first >= seen) {
        return;
    }
    // The loads of all keys and of the first queries are in flight together. Later queries are in flight while those before are multiplied.
#for P KEY_PIECES
    let at$P = page_row(row.slot, min(first + (lid + $Pu * WG) / QUADS, seen - 1u)) + (lid + $Pu * WG) % QUADS;
#end
#for P QUERY_PIECES
    var query$P = fetch_query(t, 0u, lid + $Pu * WG);
#end
#for P KEY_PIECES
    let key$P = page_word(at$P);
#end
#for P KEY_PIECES
    if (lid + $Pu * WG < TILE * QUADS) {
        keys[(lid + $Pu * WG) / QUADS * STAGED + (lid + $Pu * WG) % QUADS] = key$P;
    }
#end
    let key = lid % TILE;
    let group = lid / TILE;
    var sum = 0.0;
    for (var first_head = 0u; first_head < params.heads; first_head += HEADS) {
        workgroupBarrier();
#for P QUERY_PIECES
        if (lid + $Pu * WG < HEADS * QUERY_QUADS) {
            queries[lid + $Pu * WG] = query$P;
        }
#end
        workgroupBarrier();
#for P QUERY_PIECES
        query$P = fetch_query(t, first_head + HEADS, lid + $Pu * WG);
#end
#for E EACH
        let own$E = min(first_head + group + $Eu * GROUPS, params.heads - 1u);
        let weight$E = hw[t * params.hw_stride + params.hw_offset + own$E] * params.hw_scale;
#end
        // The loop over a key's quads is outside: one read of workgroup memory serves EACH heads, whose sums are independent chains.
#for E EACH
        var product$E = 0.0;
#end
        for (var quad = 0u; quad < QUADS; quad++) {
            let value = key_channels(keys[key * STAGED + quad]);
#for E EACH
            let query_quad$E = queries[(group + $Eu * GROUPS) * QUERY_QUADS + quad];
            product$E = fma(query_quad$E.x, value.x, product$E);
            product$E = fma(query_quad$E.y, value.y, product$E);
            product$E = fma(query_quad$E.z, value.z, product$E);
            product$E = fma(query_quad$E.w, value.w, product$E);
#end
        }
#for E EACH
        if (first_head + group + $Eu * GROUPS < params.heads) {
            sum = fma(weight$E, max(product$E, 0.0), sum);
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

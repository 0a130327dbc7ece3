// index_score_few: the scores of index_score for the few rows of a decode step, with f16 operands and f32 sums on cooperative matrices.
// in      as index_score
// out     as index_score
// params  Params 52 B
// grid    x: ceil(columns / TILE), y: count; one workgroup for TILE compressed rows of one token
// needs   f16, cooperative matrices of 16 x 16, f16 x f16 -> f32, eight subgroups of 2 SIZE, cached rows of f16, 44 KiB workgroup memory;
//         DIM a multiple of SIZE, at most 128; index_score is the portable twin
// cost    DIM * 2 bytes a compressed row, and 4 heads DIM bytes of queries a workgroup: latency bound, so all loads are in flight together
// source  SPEC 3.3, SPEC 3.4 (steps 2, 3, 4)
#import lib/indexer/query
#import lib/attention/kv
#import lib/attention/pages
#import lib/numbers/half

const SUBGROUPS: u32 = WG / SUBGROUP;  // 2 BLOCKS
const BLOCKS: u32 = 4u;                // blocks of SIZE compressed rows in a workgroup, and of SIZE heads that are staged at a time
const TILE: u32 = BLOCKS * SIZE;
const HEADS: u32 = BLOCKS * SIZE;
const STRIDE: u32 = DIM + 8u;          // length of a staged row; the padding puts neighbouring rows into different banks
const EIGHTS: u32 = DIM / 8u;          // key words of a row
const QUERIES_AT: u32 = TILE * STRIDE; // offset of the staged queries, which follow the keys
const STAGED: u32 = (TILE + HEADS) * STRIDE;
#import lib/linear/coop

var<workgroup> products: array<f32, SUBGROUPS * SIZE * SIZE>; // (SIZE heads, SIZE compressed rows) a subgroup
var<workgroup> weights: array<f32, HEADS>;
var<workgroup> sums: array<f32, BLOCKS * TILE>;

@compute @workgroup_size(WG)
fn index_score_few(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = params.first_row + wid.y;
    let row = rows[t];
    let seen = (row.position + 1u) / params.ratio;
    let first = wid.x * TILE;
    // Places past the last compressed row repeat it. Their scores are not stored, and control flow stays uniform for cooperative
    // operations.
    let last = max(seen, 1u) - 1u;
#for P KEY_PIECES
    let key_at$P = page_row(row.slot, min(first + (lid + $Pu * WG) / EIGHTS, last)) + (lid + $Pu * WG) % EIGHTS;
#end
#for P QUERY_PIECES
    var query$P = fetch_query(t, 0u, lid + $Pu * WG);
#end
#for P KEY_PIECES
    let key$P = page_word(key_at$P);
#end
#for P KEY_PIECES
    if (lid + $Pu * WG < TILE * EIGHTS) {
        let at = (lid + $Pu * WG) / EIGHTS * STRIDE + (lid + $Pu * WG) % EIGHTS * 8u;
        put(at, halves_of(key$P.xy));
        put(at + 4u, halves_of(key$P.zw));
    }
#end
    // A subgroup computes two blocks of heads for one block of compressed rows.
    let subgroup = lid / SUBGROUP;
    let lane = lid % SUBGROUP;
    let block = subgroup % BLOCKS;
    let half = subgroup / BLOCKS;
    let own = subgroup * (SIZE * SIZE);
    let key_block = block * SIZE * STRIDE;
    var sum = 0.0;
    for (var first_head = 0u; first_head < params.heads; first_head += HEADS) {
        workgroupBarrier();
#for P QUERY_PIECES
        if (lid + $Pu * WG < HEADS * QUERY_QUADS) {
            put(QUERIES_AT + (lid + $Pu * WG) / QUERY_QUADS * STRIDE + (lid + $Pu * WG) % QUERY_QUADS * 4u, to_half(query$P));
        }
#end
        if (lid < HEADS) {
            // Heads past the last repeat it, with a weight of zero.
            let head = first_head + lid;
            let weight = hw[t * params.hw_stride + params.hw_offset + min(head, params.heads - 1u)] * params.hw_scale;
            weights[lid] = select(0.0, weight, head < params.heads);
        }
        workgroupBarrier();
#for P QUERY_PIECES
        query$P = fetch_query(t, first_head + HEADS, lid + $Pu * WG);
#end
#for H 2
        {
            let query_block = QUERIES_AT + (half * 2u + $Hu) * SIZE * STRIDE;
            var c = Sums();
#for K STEPS
            let q$K = coopLoadT<Left>(&staged[(query_block + $Ku * SIZE) / UNIT], STRIDE / UNIT);
            let k$K = coopLoad<Right>(&staged[(key_block + $Ku * SIZE) / UNIT], STRIDE / UNIT);
            c = coopMultiplyAdd(q$K, k$K, c);
#end
            workgroupBarrier();
            coopStoreT(c, &products[own], SIZE);
            workgroupBarrier();
            // Two lanes share a compressed row, each with half of the heads.
            for (var h = 0u; h < SIZE / 2u; h++) {
                let head = lane / SIZE * (SIZE / 2u) + h;
                sum = fma(weights[(half * 2u + $Hu) * SIZE + head], max(products[own + head * SIZE + lane % SIZE], 0.0), sum);
            }
        }
#end
    }
    sums[(half * 2u + lane / SIZE) * TILE + block * SIZE + lane % SIZE] = sum;
    workgroupBarrier();
    if (lid < TILE && first + lid < seen) {
        var total = sums[lid];
        for (var i = 1u; i < BLOCKS; i++) {
            total += sums[i * TILE + lid];
        }
        scores[(t - params.first_token) * params.columns + first + lid] = total;
    }
}

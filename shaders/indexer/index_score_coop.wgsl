// index_score_coop: the scores of index_score for neighbouring rows of one session, with f16 operands and f32 sums on cooperative matrices.
// in      as index_score
// out     as index_score
// params  Params 52 B
// grid    x: ceil(columns / TILE), y: ceil(count / TOKENS); a workgroup keeps TILE compressed rows in registers, a subgroup SUBGROUP of
//         them, and multiplies them by the queries of TOKENS rows, one after the other
// needs   f16, cooperative matrices f16 x f16 -> f32, 35 KiB workgroup memory; SUBGROUP a multiple of SIZE, DIM of DEPTH;
//         index_score is the portable twin
// cost    2 heads DIM flop a compressed row on the matrix units; the products go through workgroup memory: 8 bytes a head
// source  SPEC 3.3, SPEC 3.4 (steps 2, 3, 4)
#import lib/indexer/query
#import lib/attention/kv
#import lib/attention/pages
#import lib/attention/key_quad

const SUBGROUPS: u32 = WG / SUBGROUP;
const TILE: u32 = WG;                      // compressed rows, one an invocation
const HEADS: u32 = HEAD_BLOCKS * SIZE;     // heads staged at a time
const KEY_STRIDE: u32 = DEPTH + 8u;        // length of a staged row; the padding puts neighbouring rows into different banks
const QUERY_STRIDE: u32 = DIM + 8u;
const QUADS: u32 = DEPTH / 4u;
const STAGED: u32 = max(SUBGROUPS * SIZE * KEY_STRIDE, HEADS * QUERY_STRIDE);
#import lib/linear/coop

var<workgroup> products: array<f32, WG * SIZE>; // a subgroup's (SIZE heads, SUBGROUP compressed rows)
var<workgroup> weights: array<f32, HEADS>;
var<workgroup> shared_tile: vec4<u32>;

@compute @workgroup_size(WG)
fn index_score_coop(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let first = wid.x * TILE;
    // Cooperative operations need control flow that the compiler knows to be uniform, so the tile goes through workgroupUniformLoad.
    if (lid == 0u) {
        let begin = params.first_row + wid.y * TOKENS;
        let end = min(begin + TOKENS, params.first_row + params.count);
        let seen = (rows[end - 1u].position + 1u) / params.ratio;
        shared_tile = vec4<u32>(begin, select(begin, end, first < seen), seen, rows[begin].slot);
    }
    let tile = workgroupUniformLoad(&shared_tile);
    if (tile.x == tile.y) {
        return;
    }
    let subgroup = lid / SUBGROUP;
    let lane = lid % SUBGROUP;
    let own = subgroup * (SIZE * SUBGROUP);

    // Loads the compressed rows into matrices. SIZE rows of every subgroup, and DEPTH of their channels, are staged at a time.
#for B BLOCKS
#for D CHUNKS
    workgroupBarrier();
    for (var i = lid; i < SUBGROUPS * SIZE * QUADS; i += WG) {
        let row = i / QUADS;
        let quad = i % QUADS;
        let column = first + row / SIZE * SUBGROUP + $Bu * SIZE + row % SIZE;
        var values = vec4<f16>();
        if (column < tile.z) {
            values = key_quad(page_word(page_row(tile.w, column) + $Du * QUADS + quad));
        }
        put(row * KEY_STRIDE + quad * 4u, values);
    }
    workgroupBarrier();
#for K STEPS
    let k$B_$D_$K = coopLoad<Right>(&staged[(subgroup * SIZE * KEY_STRIDE + $Ku * SIZE) / UNIT], KEY_STRIDE / UNIT);
#end
#end
#end
    for (var t = tile.x; t < tile.y; t++) {
        var sum = 0.0;
        for (var first_head = 0u; first_head < params.heads; first_head += HEADS) {
            workgroupBarrier();
            for (var i = lid; i < HEADS * QUERY_QUADS; i += WG) {
                let head = first_head + i / QUERY_QUADS;
                var values = vec4<f16>();
                if (head < params.heads) {
                    values = to_half(index_query(t, head, i % QUERY_QUADS));
                }
                put(i / QUERY_QUADS * QUERY_STRIDE + i % QUERY_QUADS * 4u, values);
            }
            if (lid < HEADS) {
                let head = min(first_head + lid, params.heads - 1u);
                weights[lid] = hw[t * params.hw_stride + params.hw_offset + head] * params.hw_scale;
            }
            workgroupBarrier();
#for H HEAD_BLOCKS
            {
#for B BLOCKS
                var c$B = Sums();
#end
#for D CHUNKS
#for K STEPS
                let q$D_$K = coopLoadT<Left>(&staged[($Hu * SIZE * QUERY_STRIDE + $Du * DEPTH + $Ku * SIZE) / UNIT], QUERY_STRIDE / UNIT);
#for B BLOCKS
                c$B = coopMultiplyAdd(q$D_$K, k$B_$D_$K, c$B);
#end
#end
#end
                workgroupBarrier();
#for B BLOCKS
                coopStoreT(c$B, &products[own + $Bu * SIZE], SUBGROUP);
#end
                workgroupBarrier();
                // Queries of heads past the last are zeros.
                for (var h = 0u; h < SIZE; h++) {
                    sum = fma(weights[$Hu * SIZE + h], max(products[own + h * SUBGROUP + lane], 0.0), sum);
                }
            }
#end
        }
        let column = first + lid;
        if (column < (rows[t].position + 1u) / params.ratio) {
            scores[(t - params.first_token) * params.columns + column] = sum;
        }
    }
}

// attention_scores: S[t, h, n] = q[t, h] . K[n] for the keys n that row t sees, on cooperative matrices. First of three kernels of a
// long step.
// in      rows (T) Row; q (T, q_stride) f32, the heads at its start; kv, ring, pages and selected as in attention
// out     scores (n, HEADS, columns) f32 for the n rows from first_token on, and places (n, columns) of the keys (lib/attention/keys)
// params  Params 36 B
// grid    x: ceil(keys / TILE_K), y: HEADS / TILE_H, z: n
// needs   f16, cooperative matrices f16 x f16 -> f32, 28 KiB workgroup memory; attention is the portable twin
// cost    2 HEADS keys DIM flop a row on the matrix units
// source  SPEC 3.1 (steps 4, 5)
struct Params {
    heads: u32,
    q_stride: u32,      // floats
    window: u32,
    ratio: u32,         // 0, 4, 128
    top_k: u32,
    ring_rows: u32,
    max_pages: u32,
    first_token: u32,
    columns: u32,       // columns of scores, a multiple of TILE_K
}

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;             // (T)
@group(0) @binding(auto) var<storage, read> q: array<vec4<f32>>;          // (T, q_stride/4)
@group(0) @binding(auto) var<storage, read> kv: array<KeyWord>;           // (T, DIM/2) pairs
@group(0) @binding(auto) var<storage, read> selected: array<u32>;         // (T, top_k)
@group(0) @binding(auto) var<storage, read_write> scores: array<f32>;     // (n, HEADS, columns)
@group(0) @binding(auto) var<storage, read_write> places: array<u32>;     // (n, columns)
#for S RING_SEGMENTS
@group(0) @binding(auto) var<storage, read> ring$S: array<KeyWord>;       // (rows, DIM/2) pairs
#end
#import lib/attention/kv
#import lib/attention/pages
#import lib/attention/visible
#import lib/attention/keys
#import lib/attention/key_quad

const TILE_H: u32 = SUBGROUPS_H * 2u * SIZE;
const TILE_K: u32 = SUBGROUPS_K * 2u * SIZE;
const WG: u32 = SUBGROUPS_H * SUBGROUPS_K * SUBGROUP;
const STRIDE: u32 = DEPTH + 8u;
const QUADS: u32 = DEPTH / 4u; // quads of a staged row
const ROWS: u32 = WG / QUADS;  // staged rows from one of an invocation's pieces to the next

const SECOND_AT: u32 = TILE_H * STRIDE; // offset of the staged keys, which follow the queries
const STAGED: u32 = (TILE_H + TILE_K) * STRIDE;
#import lib/linear/coop
var<workgroup> own_places: array<u32, TILE_K>;

// Four channels from `column` on of a head's query: quad `at` of q.
fn fetch_q(head: u32, column: u32, at: u32) -> vec4<f32> {
    if (head >= params.heads || column >= DIM) {
        return vec4<f32>();
    }
    return q[at];
}

fn fetch_key(place: u32, column: u32) -> KeyWord {
    if (column >= DIM) {
        return KeyWord();
    }
    return key_word(place, column / 4u);
}

@compute @workgroup_size(WG)
fn attention_scores(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = params.first_token + wid.z;
    let row = rows[t];
    let sees = visible(row.position);
    let total = sees.window + sees.compressed;
    let first_head = wid.y * TILE_H;
    let first_key = wid.x * TILE_K;
    for (var i = lid; i < TILE_K; i += WG) {
        // Keys past the last repeat it. Their scores are not read.
        let place = key_place(row, t, sees, min(first_key + i, total - 1u));
        own_places[i] = place;
        if (wid.y == 0u) {
            places[wid.z * params.columns + first_key + i] = place;
        }
    }
    workgroupBarrier();

    // The invocation stages the same four columns of HEAD_PIECES queries and of KEY_PIECES keys.
    let own_row = lid / QUADS;
    let column = lid % QUADS * 4u;
    let put_at = own_row * STRIDE + column;
    let head = first_head + own_row;
    let q_from = (t * params.q_stride + head * DIM + column) / 4u;
#for P HEAD_PIECES
    var q_piece$P = fetch_q(head + $Pu * ROWS, column, q_from + $Pu * ROWS * (DIM / 4u));
#end
#for P KEY_PIECES
    let place$P = own_places[min(own_row + $Pu * ROWS, TILE_K - 1u)];
    var key_piece$P = fetch_key(place$P, column);
#end

    let subgroup = lid / SUBGROUP;
    let block_h = subgroup / SUBGROUPS_K * (2u * SIZE);
    let block_k = subgroup % SUBGROUPS_K * (2u * SIZE);
    var c0_0: Sums;
    var c0_1: Sums;
    var c1_0: Sums;
    var c1_1: Sums;
    // A stage is in flight while the one before it is multiplied. It is converted before the next barrier, while other subgroups may still
    // multiply.
    for (var first = 0u; first < DIM; first += DEPTH) {
#for P HEAD_PIECES
        let q_half$P = to_half(q_piece$P);
#end
#for P KEY_PIECES
        let key_half$P = key_quad(key_piece$P);
#end
        workgroupBarrier();
#for P HEAD_PIECES
        if (own_row + $Pu * ROWS < TILE_H) {
            put(put_at + $Pu * ROWS * STRIDE, q_half$P);
        }
#end
#for P KEY_PIECES
        if (own_row + $Pu * ROWS < TILE_K) {
            put(SECOND_AT + put_at + $Pu * ROWS * STRIDE, key_half$P);
        }
#end
        workgroupBarrier();
        let next = first + DEPTH;
#for P HEAD_PIECES
        q_piece$P = fetch_q(head + $Pu * ROWS, column + next, q_from + $Pu * ROWS * (DIM / 4u) + next / 4u);
#end
#for P KEY_PIECES
        key_piece$P = fetch_key(place$P, column + next);
#end
#for K STEPS
        {
            let q0 = coopLoadT<Left>(&staged[(block_h * STRIDE + $Ku * SIZE) / UNIT], STRIDE / UNIT);
            let q1 = coopLoadT<Left>(&staged[((block_h + SIZE) * STRIDE + $Ku * SIZE) / UNIT], STRIDE / UNIT);
            let k0 = coopLoad<Right>(&staged[(SECOND_AT + block_k * STRIDE + $Ku * SIZE) / UNIT], STRIDE / UNIT);
            let k1 = coopLoad<Right>(&staged[(SECOND_AT + (block_k + SIZE) * STRIDE + $Ku * SIZE) / UNIT], STRIDE / UNIT);
            c0_0 = coopMultiplyAdd(q0, k0, c0_0);
            c0_1 = coopMultiplyAdd(q0, k1, c0_1);
            c1_0 = coopMultiplyAdd(q1, k0, c1_0);
            c1_1 = coopMultiplyAdd(q1, k1, c1_1);
        }
#end
    }
    // naga accepts only named values as arguments of coopStoreT.
    let columns = params.columns;
    let at0_0 = (wid.z * HEADS + first_head + block_h) * columns + first_key + block_k;
    let at0_1 = at0_0 + SIZE;
    let at1_0 = at0_0 + SIZE * columns;
    let at1_1 = at1_0 + SIZE;
    coopStoreT(c0_0, &scores[at0_0], columns);
    coopStoreT(c0_1, &scores[at0_1], columns);
    coopStoreT(c1_0, &scores[at1_0], columns);
    coopStoreT(c1_1, &scores[at1_1], columns);
}

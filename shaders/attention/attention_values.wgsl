// attention_values: out[t, h] = sum_n exp(s[n] - m) K[n] / sum, rotated back, on cooperative matrices. Last of three kernels of a long
// step.
// in      rows (T) Row; scores (n, HEADS, columns) and places (n, columns) as attention_scores writes them; stats (n, HEADS) (m, 1 / sum);
//         kv, ring and pages as in attention; angles (T, 2, R/2) (cos, sin)
// out     out (T, heads, DIM) f32, or f16 with Y_F16
// params  Params 44 B
// grid    x: ceil(DIM / TILE_D), y: HEADS / TILE_H, z: n
// needs   f16, cooperative matrices f16 x f16 -> f32, 34 KiB workgroup memory; attention is the portable twin
// cost    2 HEADS keys DIM flop a row on the matrix units
// source  SPEC 3.1 (steps 5, 6)
struct Params {
    heads: u32,
    window: u32,
    ratio: u32,
    top_k: u32,
    ring_rows: u32,
    max_pages: u32,
    first_token: u32,
    columns: u32,       // columns of scores
    scale: f32,
    rope: u32,          // R
    angle_set: u32,
}

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;             // (T)
@group(0) @binding(auto) var<storage, read> scores: array<vec4<f32>>;     // (n, HEADS, columns/4)
@group(0) @binding(auto) var<storage, read> places: array<u32>;           // (n, columns)
@group(0) @binding(auto) var<storage, read> stats: array<vec2<f32>>;      // (n, HEADS)
@group(0) @binding(auto) var<storage, read> kv: array<KeyWord>;           // (T, DIM/2) pairs
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;     // (T, 2, R/2)
#ifdef Y_F16
@group(0) @binding(auto) var<storage, read_write> out: array<vec4<f16>>;  // (T, heads, DIM/4)
#else
@group(0) @binding(auto) var<storage, read_write> out: array<vec4<f32>>;  // (T, heads, DIM/4)
#endif
#for S RING_SEGMENTS
@group(0) @binding(auto) var<storage, read> ring$S: array<KeyWord>;       // (rows, DIM/2) pairs
#end
#import lib/attention/kv
#import lib/attention/pages
#import lib/attention/visible
#import lib/attention/keys
#import lib/attention/key_quad
#import lib/attention/rotate
#import lib/numbers/element

const TILE_H: u32 = SUBGROUPS_H * 2u * SIZE;
const TILE_D: u32 = SUBGROUPS_K * 2u * SIZE;
const WG: u32 = SUBGROUPS_H * SUBGROUPS_K * SUBGROUP;
const P_STRIDE: u32 = DEPTH + 8u;
const V_STRIDE: u32 = TILE_D + 8u;
const P_QUADS: u32 = DEPTH / 4u;
const V_QUADS: u32 = TILE_D / 4u;
const R_QUADS: u32 = SIZE / 4u;
const P_ROWS: u32 = WG / P_QUADS; // staged rows from one of an invocation's pieces to the next
const V_ROWS: u32 = WG / V_QUADS;

const SECOND_AT: u32 = TILE_H * P_STRIDE; // offset of the staged values, which follow exp(s - m)
const STAGED: u32 = TILE_H * P_STRIDE + DEPTH * V_STRIDE;
#import lib/linear/coop
// One matrix of each subgroup, between its sums and `out`.
var<workgroup> results: array<f32, SUBGROUPS_H * SUBGROUPS_K * SIZE * SIZE>;

// Four scores from `key` on: quad `at` of `scores`.
fn fetch_scores(key: u32, total: u32, at: u32) -> vec4<f32> {
    if (key >= total) {
        return vec4<f32>();
    }
    return scores[at];
}

const NO_KEY: u32 = 0xffffffffu; // not a valid place

fn fetch_place(key: u32, end: u32, at: u32) -> u32 {
    if (key >= end) {
        return NO_KEY;
    }
    return places[at];
}

fn fetch_value(place: u32, quad: u32) -> KeyWord {
    if (place == NO_KEY) {
        return KeyWord();
    }
    return key_word(place, quad);
}

@compute @workgroup_size(WG)
fn attention_values(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = params.first_token + wid.z;
    let sees = visible(rows[t].position);
    let total = sees.window + sees.compressed;
    let first_head = wid.y * TILE_H;
    let first_channel = wid.x * TILE_D;
    let subgroup = lid / SUBGROUP;
    let block_h = subgroup / SUBGROUPS_K * (2u * SIZE);
    let block_d = subgroup % SUBGROUPS_K * (2u * SIZE);

    // The invocation stages the weights of the same four keys for HEAD_PIECES heads, and the same four channels of KEY_PIECES keys.
    let p_row = lid / P_QUADS;
    let p_key = lid % P_QUADS * 4u;
    let p_put = p_row * P_STRIDE + p_key;
#for P HEAD_PIECES
    // Heads past the last repeat it. Their sums are not stored.
    let p_head$P = wid.z * HEADS + min(first_head + p_row + $Pu * P_ROWS, params.heads - 1u);
    let most$P = stats[p_head$P].x;
    let s_from$P = (p_head$P * params.columns + p_key) / 4u;
    var s_piece$P = fetch_scores(p_key, total, s_from$P);
#end
    let v_key = lid / V_QUADS;
    let v_channel = lid % V_QUADS * 4u;
    let v_put = SECOND_AT + v_key * V_STRIDE + v_channel;
    let v_quad = (first_channel + v_channel) / 4u;
    let v_end = select(0u, total, first_channel + v_channel < DIM);
    let v_from = wid.z * params.columns + v_key;
    // Places are fetched one stage before their values, so that no load waits for the address.
#for P KEY_PIECES
    var v_piece$P = fetch_value(fetch_place(v_key + $Pu * V_ROWS, v_end, v_from + $Pu * V_ROWS), v_quad);
    var place$P = fetch_place(v_key + $Pu * V_ROWS + DEPTH, v_end, v_from + $Pu * V_ROWS + DEPTH);
#end

    var c0_0: Sums;
    var c0_1: Sums;
    var c1_0: Sums;
    var c1_1: Sums;
    // A stage is in flight while the one before it is multiplied. It is converted before the next barrier, while other subgroups may still
    // multiply. All rows have the same number of stages, because cooperative operations need control flow
    // that the compiler knows to be uniform.
    for (var first = 0u; first < params.columns; first += DEPTH) {
        let key = first + p_key;
        let inside = vec4<u32>(key, key + 1u, key + 2u, key + 3u) < vec4<u32>(total);
#for P HEAD_PIECES
        // Weights are at most 1, so the conversion needs no clamp.
        let p_half$P = vec4<f16>(select(vec4<f32>(0.0), exp(s_piece$P * params.scale - most$P), inside));
#end
#for P KEY_PIECES
        let v_half$P = key_quad(v_piece$P);
#end
        workgroupBarrier();
#for P HEAD_PIECES
        if (p_row + $Pu * P_ROWS < TILE_H) {
            put(p_put + $Pu * P_ROWS * P_STRIDE, p_half$P);
        }
#end
#for P KEY_PIECES
        if (v_key + $Pu * V_ROWS < DEPTH) {
            put(v_put + $Pu * V_ROWS * V_STRIDE, v_half$P);
        }
#end
        workgroupBarrier();
        let next = first + DEPTH;
#for P KEY_PIECES
        v_piece$P = fetch_value(place$P, v_quad);
#end
#for P HEAD_PIECES
        s_piece$P = fetch_scores(p_key + next, total, s_from$P + next / 4u);
#end
#for P KEY_PIECES
        place$P = fetch_place(v_key + $Pu * V_ROWS + next + DEPTH, v_end, v_from + $Pu * V_ROWS + next + DEPTH);
#end
#for K STEPS
        {
            let p0 = coopLoadT<Left>(&staged[(block_h * P_STRIDE + $Ku * SIZE) / UNIT], P_STRIDE / UNIT);
            let p1 = coopLoadT<Left>(&staged[((block_h + SIZE) * P_STRIDE + $Ku * SIZE) / UNIT], P_STRIDE / UNIT);
            let v0 = coopLoadT<Right>(&staged[(SECOND_AT + $Ku * SIZE * V_STRIDE + block_d) / UNIT], V_STRIDE / UNIT);
            let v1 = coopLoadT<Right>(&staged[(SECOND_AT + $Ku * SIZE * V_STRIDE + block_d + SIZE) / UNIT], V_STRIDE / UNIT);
            c0_0 = coopMultiplyAdd(p0, v0, c0_0);
            c0_1 = coopMultiplyAdd(p0, v1, c0_1);
            c1_0 = coopMultiplyAdd(p1, v0, c1_0);
            c1_1 = coopMultiplyAdd(p1, v1, c1_1);
        }
#end
    }
    let scratch = subgroup * (SIZE * SIZE);
    let head = first_head + block_h;
    let channel = first_channel + block_d;
    let lane = lid % SUBGROUP;
#for I 2
#for J 2
    workgroupBarrier();
    coopStoreT(c$I_$J, &results[scratch], SIZE);
    workgroupBarrier();
    store(t, wid.z, head + $Iu * SIZE, channel + $Ju * SIZE, scratch, lane);
#end
#end
}

// Divides a matrix in `results` by the sums, rotates it back and stores it, from `head` and `channel` on.
fn store(t: u32, n: u32, head: u32, channel: u32, scratch: u32, lane: u32) {
    for (var i = lane; i < SIZE * R_QUADS; i += SUBGROUP) {
        let h = head + i / R_QUADS;
        let c = channel + i % R_QUADS * 4u;
        if (h >= params.heads || c >= DIM) {
            continue;
        }
        let at = scratch + i * 4u;
        var value = vec4<f32>(results[at], results[at + 1u], results[at + 2u], results[at + 3u]) * stats[n * HEADS + h].y;
        let plain = DIM - params.rope;
        if (c >= plain) {
            let turn = (t * 2u + params.angle_set) * (params.rope >> 1u) + ((c - plain) >> 1u);
            value = vec4<f32>(rotate_back(value.xy, angles[turn]), rotate_back(value.zw, angles[turn + 1u]));
        }
        out[((t * params.heads + h) * DIM + c) / 4u] = element(value);
    }
}

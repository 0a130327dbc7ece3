// attention_values: out[t, h] = sum_n exp(s[n] - m) K[n] / sum, rotated back, on cooperative matrices: last of three kernels of a long step.
// in      rows (T) Row; scores (n, HEADS, columns) and places (n, columns) as attention_scores leaves them; stats (n, HEADS) (m, 1 / sum);
//         kv, ring and pages as in attention; angles (T, 2, R/2) (cos, sin)
// out     out (T, heads, DIM) f32, or f16 with Y_F16
// params  Params 48 B
// grid    x: ceil(DIM / TILE_D), y: HEADS / TILE_H, z: n
// needs   f16, cooperative matrices f16 x f16 -> f32, 36 KiB workgroup memory; attention is the portable twin
// cost    2 HEADS keys DIM flop a row on the matrix units
// source  SPEC 3.1 steps 5 and 6
struct Params {
    heads: u32,
    window: u32,
    ratio: u32,
    top_k: u32,
    ring_rows: u32,
    max_pages: u32,
    first_token: u32,
    columns: u32,       // of scores
    scale: f32,
    rope: u32,          // R
    angle_set: u32,
}

#import lib/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;             // (T)
@group(0) @binding(auto) var<storage, read> scores: array<vec4<f32>>;     // (n, HEADS, columns/4)
@group(0) @binding(auto) var<storage, read> places: array<u32>;           // (n, columns)
@group(0) @binding(auto) var<storage, read> stats: array<vec2<f32>>;      // (n, HEADS)
@group(0) @binding(auto) var<storage, read> kv: array<u32>;               // (T, DIM/2) pairs
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;     // (T, 2, R/2)
#ifdef Y_F16
@group(0) @binding(auto) var<storage, read_write> out: array<vec4<f16>>;  // (T, heads, DIM/4)
#else
@group(0) @binding(auto) var<storage, read_write> out: array<vec4<f32>>;  // (T, heads, DIM/4)
#endif
#for S RING_SEGMENTS
@group(0) @binding(auto) var<storage, read> ring$S: array<u32>;           // (rows, DIM/2) pairs
#end
#import lib/kv
#import lib/pages
#import lib/visible
#import lib/keys
#import lib/key_quad
#import lib/rotate
#import lib/element

const TILE_H: u32 = SUBGROUPS_H * 2u * SIZE;
const TILE_D: u32 = SUBGROUPS_K * 2u * SIZE;
const WG: u32 = SUBGROUPS_H * SUBGROUPS_K * SUBGROUP;
const P_STRIDE: u32 = DEPTH + 8u;
const V_STRIDE: u32 = TILE_D + 8u;
const P_QUADS: u32 = DEPTH / 4u;
const V_QUADS: u32 = TILE_D / 4u;
const R_QUADS: u32 = SIZE / 4u;

const SECOND_AT: u32 = TILE_H * P_STRIDE; // where the staged keys, which are the values too, begin behind exp(s - m)
const STAGED: u32 = TILE_H * P_STRIDE + DEPTH * V_STRIDE;
#import lib/coop
// One matrix of each subgroup on its way to out.
var<workgroup> results: array<f32, SUBGROUPS_H * SUBGROUPS_K * SIZE * SIZE>;

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
    var c0_0: Sums;
    var c0_1: Sums;
    var c1_0: Sums;
    var c1_1: Sums;
    // As many stages for all rows: cooperative operations need control flow that is known to be uniform.
    for (var first = 0u; first < params.columns; first += DEPTH) {
        workgroupBarrier();
        for (var i = lid; i < TILE_H * P_QUADS; i += WG) {
            let head = first_head + i / P_QUADS;
            let key = first + i % P_QUADS * 4u;
            var values = vec4<f16>();
            if (head < params.heads && key < total) {
                let m = stats[wid.z * HEADS + head].x;
                let s = scores[((wid.z * HEADS + head) * params.columns + key) / 4u] * params.scale;
                let inside = vec4<u32>(key, key + 1u, key + 2u, key + 3u) < vec4<u32>(total);
                values = to_half(select(vec4<f32>(0.0), exp(s - m), inside));
            }
            let at = i / P_QUADS * P_STRIDE + i % P_QUADS * 4u;
            put(at, values);
        }
        for (var i = lid; i < DEPTH * V_QUADS; i += WG) {
            let key = first + i / V_QUADS;
            let channel = first_channel + i % V_QUADS * 4u;
            var values = vec4<f16>();
            if (key < total && channel < DIM) {
                values = key_quad(places[wid.z * params.columns + key], channel / 4u);
            }
            let at = i / V_QUADS * V_STRIDE + i % V_QUADS * 4u;
            put(SECOND_AT + at, values);
        }
        workgroupBarrier();
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

// Finishes a matrix in `results`: heads from `head`, channels from `channel`.
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

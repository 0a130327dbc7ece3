// matmul_coop: y = W x as in matmul, with f16 operands and f32 sums on cooperative matrices of SIZE x SIZE.
// EXPERTS: for the tokens of each expert, with that expert's weights. GATE_UP: W is gate and up, y = swiglu(gate, up).
// in      w (R, C) one of the variant's formats; x (T, x_stride) f32, or f16 with X_F16; with EXPERTS tiles and pairs as moe_group
//         writes them
// out     y (T, y_stride) f32, or f16 with Y_F16; with EXPERTS a row for each (token, k)
// params  Params 128 B (lib/linear/matmul); up to eight matrices that multiply the same columns of x, or x_step columns from one to the
//         next
// grid    x: ceil(R / TILE_W) of every matrix, or ceil(channels / (TILE_W / 2)) for GATE_UP; y: ceil(T / TILE_T) or the largest possible
//         number of tiles
// needs   f16, cooperative matrices f16 x f16 -> f32, subgroups of SUBGROUP; matmul is the portable twin. x_stride, x_offset, x_step, C
//         multiples of 8; without RAGGED C a multiple of HELD DEPTH. HELD DEPTH is at most what fetch32 fetches
// cost    2 T R C flop on the matrix units; W is decoded once for every TILE_T tokens
// source  SPEC 2.1 (A @ x), SPEC 3.5 (step 4)
#import lib/linear/matmul
@group(0) @binding(auto) var<storage, read> w: array<u32>;             // arena
@group(0) @binding(auto) var<storage, read> w_quads: array<vec4<u32>>; // the same
#ifdef X_F16
@group(0) @binding(auto) var<storage, read> x: array<vec4<u32>>; // (T, x_stride/8), eight f16 each
#else
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>; // (T, x_stride/4)
#endif
#ifdef Y_F16
@group(0) @binding(auto) var<storage, read_write> y: array<f16>; // (T, y_stride)
#else
@group(0) @binding(auto) var<storage, read_write> y: array<f32>; // (T, y_stride)
#endif
#import lib/formats/dequant
#import lib/numbers/math
#import lib/numbers/half
#import lib/numbers/element
#ifdef RUN_32
#import lib/formats/runs
#endif

// A workgroup is SUBGROUPS_T x SUBGROUPS_W subgroups; each makes BLOCKS_T x 2 matrices of SIZE x SIZE.
const TILE_T: u32 = SUBGROUPS_T * BLOCKS_T * SIZE;
const TILE_W: u32 = SUBGROUPS_W * 2u * SIZE;
const WG: u32 = SUBGROUPS_T * SUBGROUPS_W * SUBGROUP;
const STRIDE: u32 = DEPTH + 8u;    // length of a staged row; the padding puts neighbouring rows into different banks
const EIGHTS: u32 = DEPTH / 8u;    // pieces of a staged row
const RUN: u32 = W_PIECES * 8u;    // weights of a stage that an invocation decodes: neighbours in one block
const RUNS: u32 = DEPTH / RUN;

const W_AT: u32 = TILE_T * STRIDE; // offset of the staged part of W
const STAGED: u32 = (TILE_T + TILE_W) * STRIDE;
#import lib/linear/coop

// One matrix of each subgroup, for stores that coopStoreT cannot do: of ragged tiles, and of rows that `pairs` scatters.
var<workgroup> results: array<f32, SUBGROUPS_T * SUBGROUPS_W * SIZE * SIZE>;
var<workgroup> shared_tile: vec4<u32>;

// Eight neighbouring values of a row of x, as stored in memory. Converting them right after the load would wait for it.
#ifdef X_F16
struct XPiece {
    eight: vec4<u32>,
}

fn load_x(at: u32) -> XPiece {
    return XPiece(x[at >> 3u]);
}

fn put_x(at: u32, piece: XPiece) {
    put(at, halves_of(piece.eight.xy));
    put(at + 4u, halves_of(piece.eight.zw));
}
#else
struct XPiece {
    low: vec4<f32>,
    high: vec4<f32>,
}

fn load_x(at: u32) -> XPiece {
    return XPiece(x[at >> 2u], x[(at >> 2u) + 1u]);
}

fn put_x(at: u32, piece: XPiece) {
    put(at, to_half(piece.low));
    put(at + 4u, to_half(piece.high));
}
#endif

// Eight columns from `column` on, of the row that starts at element `row` of x.
fn fetch_x(row: u32, column: u32) -> XPiece {
#ifdef RAGGED
    if (column >= params.columns) {
        return XPiece();
    }
#endif
    return load_x(row + column);
}

// First column of the next stage. After the last stage there is none: RAGGED loads nothing there, else the last stage is loaded again.
fn next_stage(first: u32) -> u32 {
#ifdef RAGGED
    return first + DEPTH;
#else
    return min(first + DEPTH, params.columns - DEPTH);
#endif
}

#ifndef RUN_32
struct WPiece {
    low: vec4<f16>,
    high: vec4<f16>,
}

fn fetch_w(format: u32, row: u32, column: u32) -> WPiece {
#ifdef RAGGED
    if (column >= params.columns) {
        return WPiece();
    }
#endif
    let weights = dequant8(format, row, column);
    return WPiece(to_half(weights.a), to_half(weights.b));
}
#endif

#ifdef GATE_UP
const CHANNELS: u32 = TILE_W / 2u;
#else
const CHANNELS: u32 = TILE_W;
#endif

@compute @workgroup_size(WG)
fn matmul_coop(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
#ifdef RUN_32
    prepare_runs(lid);
#endif
    // Cooperative operations need control flow that the compiler knows to be uniform, so the tile goes through workgroupUniformLoad.
    if (lid == 0u) {
        let own = tile_of(wid.y, TILE_T);
        shared_tile = vec4<u32>(own.expert, own.first, own.count, 0u);
    }
    let packed = workgroupUniformLoad(&shared_tile);
    let tile = Tile(packed.x, packed.y, packed.z);
    if (tile.count == 0u) {
        return;
    }
    let part = part_of(wid.x, CHANNELS);
    let subgroup = lid / SUBGROUP;
    let block_t = subgroup / SUBGROUPS_W * (BLOCKS_T * SIZE);
    let block_w = subgroup % SUBGROUPS_W * (2u * SIZE);

    // The invocation stages pieces of rows of x, and a run of one row of W. SIZE rows of gate and SIZE rows of up alternate, so that the
    // two matrices of a subgroup hold the same channels, one of gate and one of up. Rows past the last one repeat it and are not stored.
#for P X_PIECES
    let x_column$P = (lid + $Pu * WG) % EIGHTS * 8u;
    let x_row$P = (lid + $Pu * WG) / EIGHTS;
    let x_put$P = x_row$P * STRIDE + x_column$P;
    let x_from$P = x_row(tile, min(x_row$P, tile.count - 1u)) * params.x_stride + params.x_offset + part.number * params.x_step;
    var x_piece$P = fetch_x(x_from$P, x_column$P);
#end
    let w_row = lid / RUNS;
    let w_column = lid % RUNS * RUN;
#ifdef GATE_UP
    let channel = part.first + w_row / (2u * SIZE) * SIZE + w_row % SIZE;
    let is_up = (w_row / SIZE) % 2u == 1u;
    let format = select(part.format, params.format_up, is_up);
    let base = select(part.base, params.base_up, is_up);
#else
    let channel = part.first + w_row;
    let format = part.format;
    let base = part.base;
#endif
    let w_from = base + (tile.expert * part.rows + min(channel, part.rows - 1u)) * row_bytes(format, params.columns);
    let w_put = W_AT + w_row * STRIDE + w_column;
#ifdef RUN_32
    var w_run = fetch32(format, w_from, w_column, params.columns);
#else
#for P W_PIECES
    var w_piece$P = fetch_w(format, w_from, w_column + $Pu * 8u);
#end
#endif

#for I BLOCKS_T
    var c$I_0: Sums;
    var c$I_1: Sums;
#end
    // A stage is in flight while the one before it is multiplied, and is decoded after that. One fetch of W lasts for HELD stages.
    let fetches = (params.columns + HELD * DEPTH - 1u) / (HELD * DEPTH);
    for (var i = 0u; i < fetches; i++) {
#for S HELD
        {
            let first = (i * HELD + $Su) * DEPTH;
#ifdef RUN_32
            let halves = decode32(format, w_from, w_column + first, w_run);
#endif
            workgroupBarrier();
#for P X_PIECES
            if (x_row$P < TILE_T) {
                put_x(x_put$P, x_piece$P);
            }
#end
#ifdef RUN_32
#for P 8
            put(w_put + $Pu * 4u, halves[$P]);
#end
#else
#for P W_PIECES
            put(w_put + $Pu * 8u, w_piece$P.low);
            put(w_put + $Pu * 8u + 4u, w_piece$P.high);
#end
#endif
            workgroupBarrier();
            let next = next_stage(first);
#for P X_PIECES
            x_piece$P = fetch_x(x_from$P, x_column$P + next);
#end
            if ($Su == HELD - 1u) {
#ifdef RUN_32
                w_run = fetch32(format, w_from, w_column + next, params.columns);
#else
#for P W_PIECES
                w_piece$P = fetch_w(format, w_from, w_column + $Pu * 8u + next);
#end
#endif
            }
#for K STEPS
            {
                let w0 = coopLoad<Right>(&staged[(W_AT + block_w * STRIDE + $Ku * SIZE) / UNIT], STRIDE / UNIT);
                let w1 = coopLoad<Right>(&staged[(W_AT + (block_w + SIZE) * STRIDE + $Ku * SIZE) / UNIT], STRIDE / UNIT);
#for I BLOCKS_T
                let x$I = coopLoadT<Left>(&staged[((block_t + $Iu * SIZE) * STRIDE + $Ku * SIZE) / UNIT], STRIDE / UNIT);
                c$I_0 = coopMultiplyAdd(x$I, w0, c$I_0);
                c$I_1 = coopMultiplyAdd(x$I, w1, c$I_1);
#end
            }
#end
        }
#end
    }
#ifndef EXPERTS
#ifndef Y_F16
    let is_aligned = (((params.y_offset + part.start) | params.y_stride) & 3u) == 0u;
    if (is_aligned && tile.count == TILE_T && part.first + CHANNELS <= part.rows) {
        // A whole tile is stored straight to y.
        let y_stride = params.y_stride;
        let y_first = (tile.first + block_t) * y_stride + params.y_offset + part.start + part.first + block_w;
#for I BLOCKS_T
        let y$I = y_first + $Iu * SIZE * y_stride;
        let z$I = y$I + SIZE;
        coopStoreT(c$I_0, &y[y$I], y_stride);
        coopStoreT(c$I_1, &y[z$I], y_stride);
#end
        return;
    }
#endif
#endif
    let scratch = subgroup * (SIZE * SIZE);
    let lane = lid % SUBGROUP;
#for I BLOCKS_T
    {
        workgroupBarrier();
        coopStoreT(c$I_0, &results[scratch], SIZE);
        workgroupBarrier();
#ifdef GATE_UP
        var gates: array<f32, SIZE * SIZE / SUBGROUP>;
        for (var i = 0u; i < SIZE * SIZE / SUBGROUP; i++) {
            gates[i] = results[scratch + i * SUBGROUP + lane];
        }
#else
        store(tile, part, part.first + block_w, block_t + $Iu * SIZE, scratch, lane);
#endif
        workgroupBarrier();
        coopStoreT(c$I_1, &results[scratch], SIZE);
        workgroupBarrier();
#ifdef GATE_UP
        for (var i = 0u; i < SIZE * SIZE / SUBGROUP; i++) {
            let at = scratch + i * SUBGROUP + lane;
            results[at] = swiglu(gates[i], results[at], params.limit);
        }
        store(tile, part, part.first + block_w / 2u, block_t + $Iu * SIZE, scratch, lane);
#else
        store(tile, part, part.first + block_w + SIZE, block_t + $Iu * SIZE, scratch, lane);
#endif
    }
#end
}

// Writes a matrix in `results` to y, from `token` and `channel` on. With GATE_UP an invocation reads only values that it wrote itself, so
// there is no barrier before the call.
fn store(tile: Tile, part: Part, channel: u32, token: u32, scratch: u32, lane: u32) {
    for (var i = lane; i < SIZE * SIZE; i += SUBGROUP) {
        let t = token + i / SIZE;
        let c = channel + i % SIZE;
        if (t < tile.count && c < part.rows) {
            let at = y_row(tile, t) * params.y_stride + params.y_offset + part.start + c;
            y[at] = element(vec4<f32>(results[scratch + i])).x;
        }
    }
}

// matmul: y[t, y_offset + r] = sum_c W[r, c] x[t, x_offset + c] for many rows t, in f32.
// EXPERTS: for the tokens of each expert, with that expert's weights. GATE_UP: W is gate and up, y = swiglu(gate, up).
// in      w (R, C) one of the variant's formats; x (T, x_stride) f32; with EXPERTS tiles and pairs as moe_group writes them
// out     y (T, y_stride) f32; with EXPERTS a row for each (token, k)
// params  Params 128 B (lib/linear/matmul); up to eight matrices that multiply the same columns of x, or x_step columns from one to the
//         next
// grid    x: ceil(R / 64) of every matrix, or ceil(channels / 32) for GATE_UP; y: ceil(T / 64) or the largest possible number of tiles
// needs   16 KiB workgroup memory, 256 invocations
// cost    2 T R C flop in f32: compute bound; W is decoded once for every 64 tokens
// source  SPEC 2.1 (A @ x), SPEC 3.5 (step 4)
#import lib/linear/matmul
@group(0) @binding(auto) var<storage, read> w: array<u32>;       // arena
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>; // (T, x_stride/4)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>; // (T, y_stride)
#import lib/formats/dequant
#import lib/numbers/math
#import lib/linear/tile

#ifdef GATE_UP
const CHANNELS: u32 = 32u;
#else
const CHANNELS: u32 = 64u;
#endif

// Weights of the tile's row `row`. Two rows of gate and two of up alternate, so that the four rows of an invocation are two channels of
// both.
fn tile_weights(tile: Tile, part: Part, row: u32, column: u32) -> Weights8 {
#ifdef GATE_UP
    let channel = part.first + (row >> 2u) * 2u + (row & 1u);
    let is_up = (row & 2u) != 0u;
    let format = select(part.format, params.format_up, is_up);
    let base = select(part.base, params.base_up, is_up);
#else
    let channel = part.first + row;
    let format = part.format;
    let base = part.base;
#endif
    if (channel >= part.rows) {
        return Weights8(vec4<f32>(0.0), vec4<f32>(0.0));
    }
    return dequant8(format, base + (tile.expert * part.rows + channel) * row_bytes(format, params.columns), column);
}

@compute @workgroup_size(256)
fn matmul(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let tile = tile_of(wid.y, 64u);
    if (tile.count == 0u) {
        return;
    }
    let part = part_of(wid.x, CHANNELS);
    // An invocation stages eight neighbouring weights and eight neighbouring values of x.
    let stage_row = lid >> 2u;
    let stage_column = (lid & 3u) * 8u;
    let x_first = (x_row(tile, min(stage_row, tile.count - 1u)) * params.x_stride + params.x_offset + part.number * params.x_step) >> 2u;
    // In tiles of few tokens most invocations have no token to store, and skip the multiplication.
    let multiplies = (lid >> 4u) * 4u < tile.count;
    var sums: array<vec4<f32>, 4>;
    for (var first = 0u; first < params.columns; first += TILE_COLUMNS) {
        let column = first + stage_column;
        workgroupBarrier();
        if (column < params.columns) {
            stage_w(stage_row, stage_column, tile_weights(tile, part, stage_row, column));
            stage_x(stage_row, stage_column, x[x_first + (column >> 2u)]);
            stage_x(stage_row, stage_column + 4u, x[x_first + (column >> 2u) + 1u]);
        } else {
            stage_w(stage_row, stage_column, Weights8(vec4<f32>(0.0), vec4<f32>(0.0)));
            stage_x(stage_row, stage_column, vec4<f32>(0.0));
            stage_x(stage_row, stage_column + 4u, vec4<f32>(0.0));
        }
        workgroupBarrier();
        if (multiplies) {
            sums = tile_step(sums, lid);
        }
    }
    for (var i = 0u; i < 4u; i++) {
        let token = (lid >> 4u) * 4u + i;
        if (token < tile.count) {
            store(y_row(tile, token) * params.y_stride + params.y_offset + part.start, part, lid & 15u, sums[i]);
        }
    }
}

fn store(y_first: u32, part: Part, quad: u32, sums: vec4<f32>) {
#ifdef GATE_UP
    for (var i = 0u; i < 2u; i++) {
        let channel = part.first + quad * 2u + i;
        if (channel < part.rows) {
            y[y_first + channel] = swiglu(sums[i], sums[i + 2u], params.limit);
        }
    }
#else
    for (var i = 0u; i < 4u; i++) {
        let channel = part.first + quad * 4u + i;
        if (channel < part.rows) {
            y[y_first + channel] = sums[i];
        }
    }
#endif
}

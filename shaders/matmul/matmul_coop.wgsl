// matmul_coop: as matmul, with f16 operands and f32 sums on cooperative matrices of SIZE x SIZE.
// EXPERTS: for the tokens of each expert, with that expert's weights. GATE_UP: W is gate and up, y = swiglu(gate, up).
// in      w (R, C) one of the variant's formats; x (T, x_stride) f32; with EXPERTS tiles and pairs as moe_group leaves them
// out     y (T, y_stride) f32; with EXPERTS a row for each (token, k)
// params  Params 60 B (lib/experts)
// grid    x: ceil(R / TILE_W), or ceil(channels / (TILE_W / 2)) for GATE_UP; y: ceil(T / TILE_T) or the largest possible number of tiles
// needs   f16, cooperative matrices f16 x f16 -> f32, subgroups of SUBGROUP; no fallback here: matmul is the portable twin
// cost    2 T R C flop on the matrix units; W is decoded once for TILE_T tokens
// source  SPEC 2 (A @ x), SPEC 3.5 (experts)
#import lib/experts
@group(0) @binding(auto) var<storage, read> w: array<u32>;       // arena
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>; // (T, x_stride/4)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>; // (T, y_stride)
#import lib/dequant
#import lib/math

#ifdef SIZE_16
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
#else
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
#endif

// A workgroup is SUBGROUPS_T x SUBGROUPS_W subgroups; each makes BLOCKS_T x 2 matrices of SIZE x SIZE.
const TILE_T: u32 = SUBGROUPS_T * BLOCKS_T * SIZE;
const TILE_W: u32 = SUBGROUPS_W * 2u * SIZE;
const WG: u32 = SUBGROUPS_T * SUBGROUPS_W * SUBGROUP;
const DEPTH: u32 = 32u;          // columns staged at a time
const STRIDE: u32 = DEPTH + 8u;  // of a staged row, so that neighbouring rows fall into different banks

// Loads of 16 x 16 need pointers at multiples of 16 bytes: every workgroup variable here is a whole number of them. Vectors are staged
// faster; where only 8 x 8 exists, loading from arrays of vectors is not to be trusted.
#ifdef SIZE_16
const UNIT: u32 = 4u; // f16 in an element of the staged arrays
var<workgroup> staged_x: array<vec4<f16>, TILE_T * STRIDE / 4u>;
var<workgroup> staged_w: array<vec4<f16>, TILE_W * STRIDE / 4u>;
#else
const UNIT: u32 = 1u;
var<workgroup> staged_x: array<f16, TILE_T * STRIDE>;
var<workgroup> staged_w: array<f16, TILE_W * STRIDE>;
#endif
// One subgroup's results on their way to ragged or paired rows of y.
var<workgroup> results: array<f32, SUBGROUPS_T * SUBGROUPS_W * 2u * SIZE * SIZE>;
var<workgroup> shared_tile: vec4<u32>;

fn put_x(at: u32, values: vec4<f16>) {
#ifdef SIZE_16
    staged_x[at / 4u] = values;
#else
    staged_x[at] = values.x;
    staged_x[at + 1u] = values.y;
    staged_x[at + 2u] = values.z;
    staged_x[at + 3u] = values.w;
#endif
}

fn put_w(at: u32, values: vec4<f16>) {
#ifdef SIZE_16
    staged_w[at / 4u] = values;
#else
    staged_w[at] = values.x;
    staged_w[at + 1u] = values.y;
    staged_w[at + 2u] = values.z;
    staged_w[at + 3u] = values.w;
#endif
}

#ifdef GATE_UP
const CHANNELS: u32 = TILE_W / 2u;
#else
const CHANNELS: u32 = TILE_W;
#endif

// Weights of the tile's row `row`. Gate and up alternate by SIZE rows, so that a subgroup's two matrices are the same channels of both.
fn tile_weights(tile: Tile, first_channel: u32, row: u32, column: u32) -> Weights8 {
#ifdef GATE_UP
    let channel = first_channel + row / (2u * SIZE) * SIZE + row % SIZE;
    let is_up = (row / SIZE) % 2u == 1u;
    let format = select(params.format, params.format_up, is_up);
    let base = select(params.base, params.base_up, is_up);
#else
    let channel = first_channel + row;
    let format = params.format;
    let base = params.base;
#endif
    if (channel >= params.rows || column >= params.columns) {
        return Weights8(vec4<f32>(0.0), vec4<f32>(0.0));
    }
    return dequant8(format, base + (tile.expert * params.rows + channel) * row_bytes(format, params.columns), column);
}

// f16 has no room beyond 65504; what is larger saturates instead of becoming infinite.
fn to_half(values: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(clamp(values, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
}

fn stage(tile: Tile, first_channel: u32, first: u32, lid: u32) {
    for (var i = lid; i < TILE_T * (DEPTH / 4u); i += WG) {
        let row = i / (DEPTH / 4u);
        let column = i % (DEPTH / 4u) * 4u;
        var values = vec4<f32>(0.0);
        if (row < tile.count && first + column < params.columns) {
            values = x[(x_row(tile, row) * params.x_stride + params.x_offset + first + column) >> 2u];
        }
        put_x(row * STRIDE + column, to_half(values));
    }
    for (var i = lid; i < TILE_W * (DEPTH / 8u); i += WG) {
        let row = i / (DEPTH / 8u);
        let column = i % (DEPTH / 8u) * 8u;
        let weights = tile_weights(tile, first_channel, row, first + column);
        put_w(row * STRIDE + column, to_half(weights.a));
        put_w(row * STRIDE + column + 4u, to_half(weights.b));
    }
}

@compute @workgroup_size(WG)
fn matmul_coop(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    // Through workgroup memory, because cooperative operations must be in control flow that is known to be uniform.
    if (lid == 0u) {
        let own = tile_of(wid.y, TILE_T);
        shared_tile = vec4<u32>(own.expert, own.first, own.count, 0u);
    }
    let packed = workgroupUniformLoad(&shared_tile);
    let tile = Tile(packed.x, packed.y, packed.z);
    if (tile.count == 0u) {
        return;
    }
    let first_channel = wid.x * CHANNELS;
    let subgroup = lid / SUBGROUP;
    let block_t = subgroup / SUBGROUPS_W * (BLOCKS_T * SIZE);
    let block_w = subgroup % SUBGROUPS_W * (2u * SIZE);
#for I BLOCKS_T
    var c$I_0: Sums;
    var c$I_1: Sums;
#end
    for (var first = 0u; first < params.columns; first += DEPTH) {
        workgroupBarrier();
        stage(tile, first_channel, first, lid);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k += SIZE) {
            let w0 = coopLoad<Right>(&staged_w[(block_w * STRIDE + k) / UNIT], STRIDE / UNIT);
            let w1 = coopLoad<Right>(&staged_w[((block_w + SIZE) * STRIDE + k) / UNIT], STRIDE / UNIT);
#for I BLOCKS_T
            let x$I = coopLoadT<Left>(&staged_x[((block_t + $Iu * SIZE) * STRIDE + k) / UNIT], STRIDE / UNIT);
            c$I_0 = coopMultiplyAdd(x$I, w0, c$I_0);
            c$I_1 = coopMultiplyAdd(x$I, w1, c$I_1);
#end
        }
    }
    let scratch = subgroup * (2u * SIZE * SIZE);
#for I BLOCKS_T
    workgroupBarrier();
    coopStoreT(c$I_0, &results[scratch], SIZE);
    coopStoreT(c$I_1, &results[scratch + SIZE * SIZE], SIZE);
    workgroupBarrier();
    store(tile, first_channel, block_t + $Iu * SIZE, block_w, scratch, lid % SUBGROUP);
#end
}

// Writes the two matrices in `results` to y: tokens from `token`, tile rows from `row`.
fn store(tile: Tile, first_channel: u32, token: u32, row: u32, scratch: u32, lane: u32) {
    for (var i = lane; i < SIZE * SIZE; i += SUBGROUP) {
        let t = token + i / SIZE;
        if (t >= tile.count) {
            continue;
        }
        let y_first = y_row(tile, t) * params.y_stride + params.y_offset;
        let first = results[scratch + i];
        let second = results[scratch + SIZE * SIZE + i];
#ifdef GATE_UP
        let channel = first_channel + row / 2u + i % SIZE;
        if (channel < params.rows) {
            y[y_first + channel] = swiglu(first, second, params.limit);
        }
#else
        let channel = first_channel + row + i % SIZE;
        if (channel < params.rows) {
            y[y_first + channel] = first;
        }
        if (channel + SIZE < params.rows) {
            y[y_first + channel + SIZE] = second;
        }
#endif
    }
}

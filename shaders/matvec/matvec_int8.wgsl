// matvec_int8: y[t, y_offset + r] = sum_c W[r, c] x[t, x_offset + c] as matvec, but rows of Q8_0 multiply x rounded to int8.
// in      w (R, C) rows of up to eight matrices, each in one of the variant's formats, bound twice: by words and by 16 bytes;
//         x (T, x_stride) f32; x_int8 (T) rows of x_columns values as lib/quantize leaves them, read by rows of Q8_0 alone
// out     y (T, y_stride) f32; QUANTIZE: y_int8 (T) rows of y_columns values too
// params  Params 112 B; matrix i covers rows [end of i - 1, end of i): ends_bases holds (end | format << 28, byte offset), two a vec4
// grid    ceil(R / ROWS) workgroups of WG lanes; LANES >= C / 64 lanes share a row, ROUNDS rows one after another
// needs   subgroups of SUBGROUP, at least 8; C a multiple of 256; the rows of a workgroup in one group; QUANTIZE: ROWS = 32; 26 KiB workgroup memory
// cost    the bytes of W: bandwidth bound. A row of Q8_0 is read as 16 bytes a lane and taken apart in workgroup memory, where pairs of
//         blocks, 17 words, fall into different banks: taking it apart in registers costs more than reading it
// source  SPEC 2 (A @ x); with group_rows < R every group of rows has its own C columns of x (SPEC 3.1, step 7)
struct Params {
    tokens: u32,
    columns: u32,
    rows: u32,
    x_stride: u32,   // floats
    x_offset: u32,   // floats
    y_stride: u32,   // floats
    y_offset: u32,   // floats; also the number of the first row within its matrix where group_rows matters
    group_rows: u32,
    ends_bases: array<vec4<u32>, 4>,
    x_columns: u32,  // of x_int8: the columns of all groups
    y_columns: u32,  // of y_int8
    padding_a: u32,
    padding_b: u32,
}

@group(0) @binding(auto) var<storage, read> w: array<u32>;             // arena
@group(0) @binding(auto) var<storage, read> w_quads: array<vec4<u32>>; // the same
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;       // (T, x_stride/4)
@group(0) @binding(auto) var<storage, read> x_int8: array<vec4<u32>>;  // (T, 35 x_columns / 256)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;       // (T, y_stride)
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // (T, 35 y_columns / 64)
#import lib/quantize
#endif
#import lib/dequant
#import lib/locate
#import lib/reduce_team

const ROWS_AT: u32 = WG / LANES;          // rows under way at a time
const ROWS: u32 = ROWS_AT * ROUNDS;       // of a workgroup
const PIECES: u32 = 5u;                   // ceil(17 / 4): quads of weights that a lane stages for 17 words that it multiplies

#ifdef W_Q8_0
// Pairs of blocks: the first one's scale is the low half of word 0, the second one's the high half of word 8. The packed x (lib/quantize) has
// zeros there, so no word needs a mask.
var<workgroup> staged_w: array<vec4<u32>, WG * 17u / 4u>;
var<workgroup> staged_x: array<vec4<u32>, LANES * 17u / 4u>;
#endif
var<workgroup> places: array<vec2<u32>, ROWS>; // byte offset and format of each row

#ifdef QUANTIZE
var<workgroup> made: array<f32, 32 * SUMS>;
#endif

#ifdef W_Q8_0
// Products of lane's pair of blocks in the row that is staged `team`-th.
fn pair_product(team: u32, lane: u32, pairs: u32, scales: vec2<f32>) -> f32 {
    let i = (team * pairs + lane) * 17u;
    let j = lane * 17u;
    var first = 0;
    var second = 0;
#for I 9
    let w$I = staged_w[(i + $Iu) >> 2u][(i + $Iu) & 3u];
    first += dot4I8Packed(w$I, staged_x[(j + $Iu) >> 2u][(j + $Iu) & 3u]);
#end
#for I 8
    second += dot4I8Packed(staged_w[(i + $Iu + 9u) >> 2u][(i + $Iu + 9u) & 3u], staged_x[(j + $Iu + 9u) >> 2u][(j + $Iu + 9u) & 3u]);
#end
    let d = vec2<f32>(unpack2x16float(w0).x, unpack2x16float(w8).y);
    return fma(f32(second), d.y * scales.y, f32(first) * (d.x * scales.x));
}
#endif

@compute @workgroup_size(WG)
fn matvec_int8(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let lane = lid % LANES;
    let team = lid / LANES;
    let first_row = (wid.x + wid.y * workgroups.x) * ROWS;
    // Rows beyond the last repeat it, so that barriers and subgroup operations stay uniform.
    for (var i = lid; i < ROWS; i += WG) {
        places[i] = locate(min(first_row + i, params.rows - 1u));
    }
    workgroupBarrier();
    let group = (params.y_offset + min(first_row, params.rows - 1u)) / params.group_rows;
    let columns = params.columns;
    let stride = params.x_columns * 35u / 256u; // quads of a row of x
#ifdef W_Q8_0
    let pairs = columns >> 6u;
    let quads = pairs * 17u / 4u; // of a row
#for P 5
    let piece$P = lid + $Pu * WG;
    let piece_row$P = piece$P / quads;
    let piece_at$P = piece$P - piece_row$P * quads;
    var fetched$P = vec4<u32>(0u);
    if (piece_row$P < ROWS_AT && places[piece_row$P].y == 3u) {
        fetched$P = w_quads[(places[piece_row$P].x >> 4u) + piece_at$P];
    }
#end
#endif
    for (var round = 0u; round < ROUNDS; round++) {
        let row = first_row + round * ROWS_AT + team;
        let place = places[round * ROWS_AT + team];
#ifdef FORMAT
        let format = FORMAT;
#else
        let format = place.y;
#endif
        var sums: array<f32, SUMS>;
#ifdef W_Q8_0
        // What was multiplied before is done with.
        workgroupBarrier();
#for P 5
        if (piece_row$P < ROWS_AT) {
            staged_w[piece$P] = fetched$P;
        }
#end
        // The next rows are on their way while these are multiplied.
        if (round + 1u < ROUNDS) {
#for P 5
            if (piece_row$P < ROWS_AT && places[(round + 1u) * ROWS_AT + piece_row$P].y == 3u) {
                fetched$P = w_quads[(places[(round + 1u) * ROWS_AT + piece_row$P].x >> 4u) + piece_at$P];
            }
#end
        }
        for (var token = 0u; token < SUMS; token++) {
            let t = min(token, params.tokens - 1u);
            // A single row of x stays.
#ifdef SEVERAL
            workgroupBarrier();
#endif
            if (SUMS > 1u || round == 0u) {
                for (var i = lid; i < quads; i += WG) {
                    staged_x[i] = x_int8[t * stride + group * quads + i];
                }
            }
            workgroupBarrier();
            if (format == 3u && lane < pairs) {
                let at = t * stride * 4u + params.x_columns * 17u / 64u + group * (columns >> 5u) + lane * 2u;
                let scales = bitcast<vec2<f32>>(vec2<u32>(x_int8[at >> 2u][at & 3u], x_int8[at >> 2u][(at & 3u) + 1u]));
                sums[token] = pair_product(team, lane, pairs, scales);
            }
        }
#endif
        if (format != 3u) {
            let x_first = (params.x_offset + group * columns) >> 2u;
#for T SUMS
            let x$T = x_first + min($Tu, params.tokens - 1u) * (params.x_stride >> 2u);
#end
            for (var column = lane * 8u; column < columns; column += LANES * 8u) {
                var weights: Weights8;
#ifdef W_F16
                if (format == 1u) {
                    let h = w_quads[(place.x >> 4u) + (column >> 3u)];
                    weights.a = vec4<f32>(unpack2x16float(h.x), unpack2x16float(h.y));
                    weights.b = vec4<f32>(unpack2x16float(h.z), unpack2x16float(h.w));
                } else {
                    weights = dequant8(format, place.x, column);
                }
#else
                weights = dequant8(format, place.x, column);
#endif
                let q = column >> 2u;
#for T SUMS
                sums[$T] = dot8(weights, x[x$T + q], x[x$T + q + 1u], sums[$T]);
#end
            }
        }
        let totals = reduce_team(sums, lid);
        if (lane == 0u && row < params.rows) {
#for T SUMS
            if ($Tu < params.tokens) {
                y[$Tu * params.y_stride + params.y_offset + row] = totals[$T];
            }
#end
        }
#ifdef QUANTIZE
        if (lane == 0u) {
#for T SUMS
            made[$Tu * 32u + row - first_row] = totals[$T];
#end
        }
#endif
#ifdef WIDE
        // The sums of a team are read before the next ones are written.
        workgroupBarrier();
#endif
    }
#ifdef QUANTIZE
    workgroupBarrier();
    for (var i = lid; i < 8u * SUMS; i += WG) {
        let t = i >> 3u;
        if (t < params.tokens) {
            let at = t * 32u + (i & 7u) * 4u;
            let value = vec4<f32>(made[at], made[at + 1u], made[at + 2u], made[at + 3u]);
            let quad = ((params.y_offset + first_row) >> 2u) + (i & 7u);
            quantize_quad(value, t * quantized_words(params.y_columns), params.y_columns, quad);
        }
    }
#endif
}

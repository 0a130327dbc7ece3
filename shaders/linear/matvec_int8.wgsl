// matvec_int8: y[t, y_offset + r] = sum_c W[r, c] x[t, x_offset + c] as matvec, but rows of Q8_0 by eight multiply x rounded to int8;
// FUSED_HC_MIX: followed by hc_mix of y.
// in      w (R, C) rows of up to eight matrices, each in one of the variant's formats, bound twice: by words and by 16 bytes;
//         x (T, x_stride) f32; x_int8 (T) rows of x_columns values, by lib/numbers/quantize, bound twice, for rows of Q8_0 by eight;
//         FUSED_HC_MIX: mix_quads (outputs, 4R) F16, streams (T, 4, R) f32 and post (T, 32) f32 as for hc_mix
// out     y (T, y_stride) f32; QUANTIZE: y_int8 (T) rows of y_columns values too; FUSED_HC_MIX: next (T, 4, R) f32, mix (T, R / 16, 32) f32
// params  Params 112 B; matrix i covers rows [end of i - 1, end of i): ends_bases holds (row entry, byte offset), two a vec4
// grid    ceil(R / ROWS) workgroups, ROWS = WG / LANES * ROWS_EACH; LANES lanes share ROWS_EACH rows, TOKENS rows of x share the weights
// needs   subgroups of SUBGROUP, at least 8; C a multiple of 256; SUMS = TOKENS * ROWS_EACH; OUT_ROUNDS = ceil(TOKENS ROWS / WG);
//         matrices and groups begin at multiples of ROWS_EACH; QUANTIZE: ROWS = 32, R and y_offset multiples of 32, WG at least 8 TOKENS;
//         FUSED_HC_MIX: ROWS = 16, R a multiple of 16, HC_MIX_TOKENS = TOKENS
// cost    the bytes of W: bandwidth bound
// source  SPEC 2.1 (A @ x); with GROUP_ROWS every group of so many rows has its own C columns of x: SPEC 3.1 (step 7)
struct Params {
    tokens: u32,
    columns: u32,
    rows: u32,
    x_stride: u32,   // floats
    x_offset: u32,   // floats
    y_stride: u32,   // floats
    y_offset: u32,   // floats; GROUP_ROWS: also the number of the first row within its matrix
    x_columns: u32,  // columns of x_int8, which are those of all groups
    ends_bases: array<vec4<u32>, 4>,
    y_columns: u32,  // columns of y_int8
    base_mix: u32,   // byte offset of fn in mix_quads
    outputs: u32,    // rows of fn
    padding: u32,
}

@group(0) @binding(auto) var<storage, read> w: array<u32>;             // arena
@group(0) @binding(auto) var<storage, read> w_quads: array<vec4<u32>>; // the same
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;       // (T, x_stride/4)
@group(0) @binding(auto) var<storage, read> x_int8: array<vec4<u32>>;  // (T, 9 x_columns / 128)
@group(0) @binding(auto) var<storage, read> x_scales: array<f32>;      // the same
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;       // (T, y_stride)
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // (T, 9 y_columns / 32)
#import lib/numbers/quantize
#endif
#ifdef FUSED_HC_MIX
#import lib/hc/fused_mix
#endif
#import lib/formats/dequant
#import lib/linear/locate
#import lib/reduce/team

const ROWS: u32 = WG / LANES * ROWS_EACH;

#ifdef FORMAT_Q8_0X8
#import lib/formats/q8_0x8_rounded
#endif

#ifdef QUANTIZE
var<workgroup> staged: array<f32, 32 * TOKENS>;
#endif

@compute @workgroup_size(WG)
fn matvec_int8(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    // Workgroups take rows from the last to the first: rows of F16 take longest and stand after those of Q8_0, so they should start first.
    let workgroup = workgroups.x * workgroups.y - 1u - (wid.x + wid.y * workgroups.x);
#ifdef FUSED_HC_MIX
    // These loads are issued first and used last.
    let fused = load_fused_mix(0u, params.tokens - 1u, workgroup, params.rows, params.base_mix, params.outputs, lid);
#endif
    let lane = lid % LANES;
    let first_row = workgroup * ROWS;
    let row = first_row + lid / LANES * ROWS_EACH;
    // Teams past the last rows repeat them, so that barriers and subgroup operations stay uniform.
    let place = locate(min(row, params.rows - ROWS_EACH));
#ifdef GROUP_ROWS
    let group = (params.y_offset + min(row, params.rows - ROWS_EACH)) / GROUP_ROWS;
#else
    let group = 0u;
#endif
    let columns = params.columns;
    var sums: array<f32, SUMS>;
#ifdef FORMAT
    let format = FORMAT;
#else
    let format = place.y;
#endif
#for R ROWS_EACH
    let row$R = place.x + $Ru * row_bytes(format, columns);
#end
    let stride = params.x_columns / 128u * 9u;
    let x_first = (params.x_offset + group * columns) >> 2u;
#for T TOKENS
    let t$T = min($Tu, params.tokens - 1u);
    let x$T = x_first + t$T * (params.x_stride >> 2u);
    let codes$T = t$T * stride + group * (columns / 16u);
    let scales$T = t$T * stride * 4u + params.x_columns / 4u + group * (columns / 32u);
#end
    switch format {
#ifdef FORMAT_Q8_0X8
        case FORMAT_Q8_0X8: {
            let quads = columns / 16u;
            for (var at = lane; at < quads; at += LANES * UNROLL) {
                // All loads of weights come first, so that many are in flight.
#for C UNROLL
#for R ROWS_EACH
                let quad$C_$R = load_quad(row$R, at + $Cu * LANES, quads);
#end
#end
                // x comes from caches, but that takes time too, so it is loaded once for all rows.
#for C UNROLL
                let at$C = min(at + $Cu * LANES, quads - 1u);
#for T TOKENS
                let x$C_$T = load_x_quad(at$C, codes$T, scales$T);
#for R ROWS_EACH
                sums[$Ru * TOKENS + $Tu] = add_quad(quad$C_$R, x$C_$T, sums[$Ru * TOKENS + $Tu]);
#end
#end
#end
            }
        }
#endif
#ifdef FORMAT_F16
        case FORMAT_F16: {
            let quads = columns / 8u;
            for (var at = lane; at < quads; at += LANES * UNROLL) {
#for C UNROLL
                let at$C = min(at + $Cu * LANES, quads - 1u);
#for R ROWS_EACH
                let halves$C_$R = w_quads[(row$R >> 4u) + at$C];
#end
#end
#for C UNROLL
                if (at + $Cu * LANES < quads) {
#for R ROWS_EACH
                    let weights$R = weights_of_halves(halves$C_$R);
#end
#for T TOKENS
                    let xa$T = x[x$T + at$C * 2u];
                    let xb$T = x[x$T + at$C * 2u + 1u];
#for R ROWS_EACH
                    sums[$Ru * TOKENS + $Tu] = dot8(weights$R, xa$T, xb$T, sums[$Ru * TOKENS + $Tu]);
#end
#end
                }
#end
            }
        }
#endif
        default: {
            for (var column = lane * 8u; column < columns; column += LANES * 8u) {
#for R ROWS_EACH
                let weights$R = dequant8(format, row$R, column);
#end
                let q = column >> 2u;
#for T TOKENS
                let xa$T = x[x$T + q];
                let xb$T = x[x$T + q + 1u];
#for R ROWS_EACH
                sums[$Ru * TOKENS + $Tu] = dot8(weights$R, xa$T, xb$T, sums[$Ru * TOKENS + $Tu]);
#end
#end
            }
        }
    }
    reduce_team(sums, lid);
    workgroupBarrier();
#for O OUT_ROUNDS
    {
        let r = (lid + $Ou * WG) % ROWS;
        let t = (lid + $Ou * WG) / ROWS;
        if (first_row + r < params.rows && t < params.tokens) {
            let total = team_total(r / ROWS_EACH, r % ROWS_EACH * TOKENS + t);
            y[t * params.y_stride + params.y_offset + first_row + r] = total;
#ifdef FUSED_HC_MIX
            result[t * 16u + r] = total;
#endif
#ifdef QUANTIZE
            staged[t * 32u + r] = total;
#endif
        }
    }
#end
#ifdef FUSED_HC_MIX
    stage_fused_mix(fused, lid);
    workgroupBarrier();
    fused_mix(fused, 0u, params.tokens - 1u, workgroup, params.rows, params.outputs, lid);
#endif
#ifdef QUANTIZE
    workgroupBarrier();
    let t = lid >> 3u;
    if (t < params.tokens) {
        let i = t * 32u + (lid & 7u) * 4u;
        let value = vec4<f32>(staged[i], staged[i + 1u], staged[i + 2u], staged[i + 3u]);
        let quad = ((params.y_offset + first_row) >> 2u) + (lid & 7u);
        quantize_quad(value, t * quantized_words(params.y_columns), params.y_columns, quad);
    }
#endif
}

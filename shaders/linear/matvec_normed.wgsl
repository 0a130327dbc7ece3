// matvec_normed: y[t, y_offset + r] = sum_c W[r, c] N(x[t]; weight)[c], where N(x) is rounded to int8: a norm and a matvec in one launch.
// in      w (R, C) rows of up to eight matrices, of Q8_0 by eight or F16, bound twice: by words and by 16 bytes; x (T, x_stride) f32, C
//         values at x_offset; weight (C) f32
// out     y (T, y_stride) f32
// params  Params 96 B; matrices as in matvec_int8
// grid    ceil(R / ROWS) workgroups of WG lanes, ROWS = WG / LANES * EACH; LANES lanes share EACH neighbouring rows
// needs   subgroups of SUBGROUP, at least 8; LANES at most SUBGROUP; C = COLUMNS, a multiple of 256, at most 16 QUADS_EACH LANES; T at most
//         TOKENS; matrices begin at multiples of EACH; rows of F16 are done in PHASES, AT_ONCE = EACH / PHASES rows at a time, times
//         TOKENS_EACH rows of x; SUMS = max(EACH, AT_ONCE * TOKENS_EACH), at most LANES;
//         TOKENS * (9 C / 8 + 4 WG / SUBGROUP) bytes of workgroup memory
// cost    the bytes of W: bandwidth bound. Every workgroup computes the norms again, while its first weights are in flight
// source  SPEC 2.1 (N, A @ x), SPEC 3.1 (steps 1, 2), SPEC 3.4 (step 2)
struct Params {
    tokens: u32,
    columns: u32,
    rows: u32,
    x_stride: u32, // floats
    x_offset: u32, // floats
    y_stride: u32, // floats
    y_offset: u32, // floats
    eps: f32,
    ends_bases: array<vec4<u32>, 4>,
}

@group(0) @binding(auto) var<storage, read> w: array<u32>;             // arena
@group(0) @binding(auto) var<storage, read> w_quads: array<vec4<u32>>; // the same
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;       // (T, x_stride/4)
@group(0) @binding(auto) var<storage, read> weight: array<vec4<f32>>;  // (C/4)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;       // (T, y_stride)
#import lib/formats/dequant
#import lib/linear/locate
#import lib/formats/q8_0x8_quads
#import lib/numbers/round_quad
#import lib/reduce/halve_sums

const QUADS: u32 = COLUMNS / 16u;     // 16 codes each
const FOURS: u32 = COLUMNS / 4u;      // four values each
const SUBGROUPS: u32 = WG / SUBGROUP;
const LOADED: u32 = max(EACH, 2u * AT_ONCE) * QUADS_EACH; // 16 bytes of weights each

var<workgroup> squares: array<f32, TOKENS * SUBGROUPS>;
var<workgroup> codes: array<vec4<u32>, TOKENS * QUADS>;
var<workgroup> scales: array<f32, TOKENS * COLUMNS / 32u>;

// 16 values of row `t` of N(x). A quad past the row's end has a scale of zero.
fn load_values(t: u32, quad: u32) -> Quad {
    let at = min(quad, QUADS - 1u);
    return Quad(codes[t * QUADS + at], select(0.0, scales[t * (COLUMNS / 32u) + (at >> 1u)], quad < QUADS));
}

// The first SUMS lanes of a team have one sum each.
fn store(t: u32, row: u32, sum: f32, lane: u32) {
    if (lane < SUMS && t < params.tokens && row < params.rows) {
        y[t * params.y_stride + params.y_offset + row] = sum;
    }
}

#ifdef FORMAT_F16
// The lane's weights of AT_ONCE rows, the first of which is at byte `row`.
fn load_halves(row: u32, lane: u32) -> array<vec4<u32>, LOADED> {
    var loaded: array<vec4<u32>, LOADED>;
#for R AT_ONCE
#for Q QUADS_EACH
    {
        let at = ((row + $Ru * row_bytes(FORMAT_F16, COLUMNS)) >> 4u) + 2u * min(lane + $Qu * LANES, QUADS - 1u);
        loaded[($Ru * QUADS_EACH + $Qu) * 2u] = w_quads[at];
        loaded[($Ru * QUADS_EACH + $Qu) * 2u + 1u] = w_quads[at + 1u];
    }
#end
#end
    return loaded;
}

// Sum of the products of 16 weights and the codes of 16 values.
fn dot_halves(low: vec4<u32>, high: vec4<u32>, values: vec4<u32>) -> f32 {
    let a = weights_of_halves(low);
    let b = weights_of_halves(high);
    return dot(a.a, vec4<f32>(unpack4xI8(values.x))) + dot(a.b, vec4<f32>(unpack4xI8(values.y)))
        + dot(b.a, vec4<f32>(unpack4xI8(values.z))) + dot(b.b, vec4<f32>(unpack4xI8(values.w)));
}
#endif

@compute @workgroup_size(WG)
fn matvec_normed(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let lane = lid % LANES;
    // Workgroups take rows from the last to the first: rows of F16 take longest and stand after those of Q8_0, so they should start first.
    let workgroup = workgroups.x * workgroups.y - 1u - (wid.x + wid.y * workgroups.x);
    let first_row = (workgroup * (WG / LANES) + lid / LANES) * EACH;
    // Teams past the last rows repeat them, and quads past a row's end have a scale of zero.
    let place = locate(min(first_row, params.rows - EACH));
#ifdef FORMAT
    let format = FORMAT;
#else
    let format = place.y;
#endif
    var loaded: array<vec4<u32>, LOADED>;
    var row_scales: array<f32, EACH * QUADS_EACH>;
#ifdef FORMAT_F16
    if (format == FORMAT_F16) {
        loaded = load_halves(place.x, lane);
    }
#endif
#ifdef FORMAT_Q8_0X8
    if (format == FORMAT_Q8_0X8) {
#for R EACH
#for Q QUADS_EACH
        {
            let quad = load_quad(place.x + $Ru * row_bytes(FORMAT_Q8_0X8, COLUMNS), lane + $Qu * LANES, QUADS);
            loaded[$Ru * QUADS_EACH + $Qu] = quad.codes;
            row_scales[$Ru * QUADS_EACH + $Qu] = quad.scale;
        }
#end
#end
    }
#endif
#for P PIECES
    let four$P = min(lid + $Pu * WG, FOURS - 1u);
    let weight$P = weight[four$P];
#for T TOKENS
    let x$T_$P = x[((min($Tu, params.tokens - 1u) * params.x_stride + params.x_offset) >> 2u) + four$P];
#end
#end
#for T TOKENS
    {
        var square = 0.0;
#for P PIECES
        square += select(0.0, dot(x$T_$P, x$T_$P), lid + $Pu * WG < FOURS);
#end
        for (var step = 1u; step < SUBGROUP; step <<= 1u) {
            square += subgroupShuffleXor(square, step);
        }
        if (lid % SUBGROUP == 0u) {
            squares[$Tu * SUBGROUPS + lid / SUBGROUP] = square;
        }
    }
#end
    workgroupBarrier();
    // A rolled loop keeps the code short: a decode step alternates among kernels, so each launch starts with a cold instruction cache.
#for P PIECES
    var next$P = x0_$P;
#end
    for (var t = 0u; t < params.tokens; t++) {
#for P PIECES
        let own$P = next$P;
        next$P = x[((min(t + 1u, params.tokens - 1u) * params.x_stride + params.x_offset) >> 2u) + four$P];
#end
        var square = 0.0;
        for (var i = 0u; i < SUBGROUPS; i++) {
            square += squares[t * SUBGROUPS + i];
        }
        let norm = inverseSqrt(square / f32(COLUMNS) + params.eps);
#for P PIECES
        {
            let rounded = round_quad(own$P * norm * weight$P);
            let four = lid + $Pu * WG;
            // One invocation stores each vec4: a component store may be a read-modify-write of the whole vector.
            let one = subgroupShuffleXor(rounded.codes, 1u);
            let two = subgroupShuffleXor(rounded.codes, 2u);
            let three = subgroupShuffleXor(rounded.codes, 3u);
            if ((four & 3u) == 0u && four < FOURS) {
                codes[t * QUADS + (four >> 2u)] = vec4<u32>(rounded.codes, one, two, three);
            }
            if ((four & 7u) == 0u && four < FOURS) {
                scales[t * (COLUMNS / 32u) + (four >> 3u)] = rounded.scale;
            }
        }
#end
    }
    workgroupBarrier();
#ifdef FORMAT_F16
    if (format == FORMAT_F16) {
        for (var phase = 0u; phase < min(PHASES, params.columns); phase++) {
            if (phase > 0u) {
                loaded = load_halves(place.x + phase * AT_ONCE * row_bytes(FORMAT_F16, COLUMNS), lane);
            }
            for (var t = 0u; t < params.tokens; t += TOKENS_EACH) {
                var sums: array<f32, SUMS>;
#for T TOKENS_EACH
                if (t + $Tu < params.tokens) {
#for Q QUADS_EACH
                    {
                        let values = load_values(t + $Tu, lane + $Qu * LANES);
#for R AT_ONCE
                        let low$R = loaded[($Ru * QUADS_EACH + $Qu) * 2u];
                        let high$R = loaded[($Ru * QUADS_EACH + $Qu) * 2u + 1u];
                        sums[$T * AT_ONCE + $R] = fma(dot_halves(low$R, high$R, values.codes), values.scale, sums[$T * AT_ONCE + $R]);
#end
                    }
#end
                }
#end
                let own = halve_sums(sums, lid);
                store(t + own.first / AT_ONCE, first_row + phase * AT_ONCE + own.first % AT_ONCE, own.sums[0], lane);
            }
        }
    }
#endif
#ifdef FORMAT_Q8_0X8
    if (format == FORMAT_Q8_0X8) {
        for (var t = 0u; t < params.tokens; t++) {
            var sums: array<f32, SUMS>;
#for Q QUADS_EACH
            {
                let values = load_values(t, lane + $Qu * LANES);
#for R EACH
                sums[$R] = add_quad(Quad(loaded[$Ru * QUADS_EACH + $Qu], row_scales[$Ru * QUADS_EACH + $Qu]), values, sums[$R]);
#end
            }
#end
            let own = halve_sums(sums, lid);
            store(t, first_row + own.first, own.sums[0], lane);
        }
    }
#endif
}

// hc_mix: over slices of SLICE channels of all four streams, mix[t, slice, o] = fn[o] . X'[t] for o < outputs, and
// mix[t, slice, outputs] = |X'[t]|^2; lib/hc/mixed adds up the slices. With POST the streams are updated first:
// X'[t, k] = post[k] y[t] + sum_j C[j, k] X[t, j], where the sum runs over C's first index; else X' = X.
// in      w (outputs, 4D) any block format; x (T, 4, D) f32; POST: post (T, 32) f32 as hc_sinkhorn writes it, y (T, D) f32
// out     mix (T, slices, 32) f32; POST: next (T, 4, D) f32
// params  Params 20 B
// grid    x: ceil(D / SLICE), y: ceil(T / ROWS); one workgroup for a slice of ROWS rows
// needs   D a multiple of 8; sums are faster with subgroups
// cost    outputs * 4D weights for each ROWS rows; 16 D bytes a row, with POST 36 D: latency bound for one row
// source  SPEC 2.3, SPEC 2.4: fn @ N0(flat) is fn @ flat divided by the rms afterwards
struct Params {
    base: u32,    // byte offset of fn in w
    outputs: u32,
    dim: u32,     // D
    format: u32,
    tokens: u32,  // T
}

@group(0) @binding(auto) var<storage, read> w: array<u32>;                // arena
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;          // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read_write> mix: array<f32>;        // (T, slices, 32)
#ifdef POST
@group(0) @binding(auto) var<storage, read> post: array<vec4<f32>>;       // (T, 8)
@group(0) @binding(auto) var<storage, read> y: array<vec4<f32>>;          // (T, D/4)
@group(0) @binding(auto) var<storage, read_write> next: array<vec4<f32>>; // (T, 4, D/4)
#endif
#import lib/formats/dequant
#import lib/reduce/lanes
#import lib/hc/residual

const QUADS: u32 = SLICE / 4u;  // quads of one stream in a slice
const EIGHTS: u32 = SLICE / 2u; // eights of all four streams in a slice
const TEAMS: u32 = WG / LANES;  // teams of LANES invocations that share an output

var<workgroup> streams: array<vec4<f32>, ROWS * 4u * QUADS>; // (ROWS, 4, QUADS)

// Quad `q` of the four streams. With POST it is updated and stored first.
fn stream_quads(t: u32, q: u32) -> array<vec4<f32>, 4> {
    let quads = params.dim >> 2u;
#for K 4
    let x$K = x[(t * 4u + $Ku) * quads + q];
#end
#ifdef POST
    let result = y[t * quads + q];
    let weights = post[t * 8u];
#for J 4
    let c$J = post[t * 8u + 1u + $Ju];
#end
#for K 4
    let next$K = residual(weights[$K], vec4<f32>(c0[$K], c1[$K], c2[$K], c3[$K]), result, x0, x1, x2, x3);
    next[(t * 4u + $Ku) * quads + q] = next$K;
#end
    return array<vec4<f32>, 4>(next0, next1, next2, next3);
#else
    return array<vec4<f32>, 4>(x0, x1, x2, x3);
#endif
}

// Weights of a team's outputs for the eight channels number `eight` of the slice, whose first channel is `first`.
fn output_weights(first: u32, team: u32, eight: u32) -> array<Weights8, OUTPUTS_EACH> {
    var weights: array<Weights8, OUTPUTS_EACH>;
    let channel = first + eight % (SLICE / 8u) * 8u;
    if (eight < EIGHTS && channel < params.dim) {
        let column = eight / (SLICE / 8u) * params.dim + channel;
#for O OUTPUTS_EACH
        if (team + $Ou * TEAMS < params.outputs) {
            let row = params.base + (team + $Ou * TEAMS) * row_bytes(params.format, 4u * params.dim);
            weights[$O] = dequant8(params.format, row, column);
        }
#end
    }
    return weights;
}

@compute @workgroup_size(WG)
fn hc_mix(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let first = wid.x * SLICE;
    let first_row = wid.y * ROWS;
    let team = lid / LANES;
    let lane = lid % LANES;
    // Weights do not depend on the sub-layer, so their loads are in flight while the streams are updated.
    var weights = output_weights(first, team, lane);
    for (var i = lid; i < ROWS * QUADS; i += WG) {
        let t = first_row + i / QUADS;
        let q = (first >> 2u) + i % QUADS;
        var made: array<vec4<f32>, 4>;
        if (t < params.tokens && q < (params.dim >> 2u)) {
            made = stream_quads(t, q);
        }
#for K 4
        streams[(i / QUADS * 4u + $Ku) * QUADS + i % QUADS] = made[$K];
#end
    }
    workgroupBarrier();
    var sums: array<f32, SUMS>;
    var squares: array<f32, ROWS>;
    for (var turn = 0u; turn < PASSES; turn++) {
        let eight = lane + turn * LANES;
        // The weights of the next pass are in flight during this one.
        let coming = output_weights(first, team, eight + LANES);
        if (eight < EIGHTS) {
#for R ROWS
            {
                let xa = streams[$Ru * 4u * QUADS + 2u * eight];
                let xb = streams[$Ru * 4u * QUADS + 2u * eight + 1u];
#for O OUTPUTS_EACH
                sums[$Ou * ROWS + $Ru] = dot8(weights[$O], xa, xb, sums[$Ou * ROWS + $Ru]);
#end
                if (team == params.outputs % TEAMS) {
                    squares[$R] = dot8(Weights8(xa, xb), xa, xb, squares[$R]);
                }
            }
#end
        }
        weights = coming;
    }
#for O OUTPUTS_EACH
    if (team + $Ou * TEAMS == params.outputs) {
#for R ROWS
        sums[$Ou * ROWS + $Ru] = squares[$R];
#end
    }
#end
    let totals = reduce_lanes(sums, lid);
    if (lane == 0u) {
        let slices = (params.dim + SLICE - 1u) / SLICE;
#for O OUTPUTS_EACH
#for R ROWS
        if (team + $Ou * TEAMS <= params.outputs && first_row + $Ru < params.tokens) {
            mix[((first_row + $Ru) * slices + wid.x) * 32u + team + $Ou * TEAMS] = totals[$Ou * ROWS + $Ru];
        }
#end
#end
    }
}

// hc_mix: over slices of SLICE channels of all four streams, mix[t, slice, o] = fn[o] . X'[t] for o < outputs, and
// mix[t, slice, outputs] = |X'[t]|^2; lib/hc_mixed adds the slices up. With POST the streams are made first, the residual of a sub-layer:
// X'[t, k] = post[k] y[t] + sum_j C[j, k] X[t, j], where the sum runs over C's first index; else X' = X.
// in      w (outputs, 4D) any block format; x (T, 4, D) f32; POST: post (T, 32) f32 as hc_pre leaves it, y (T, D) f32
// out     mix (T, slices, 32) f32; POST: next (T, 4, D) f32
// params  Params 20 B
// grid    x: ceil(D / SLICE), y: ceil(T / ROWS); one workgroup a slice of ROWS rows
// needs   D a multiple of 8; subgroups reduce faster
// cost    outputs * 4D weights for each ROWS rows; 16 D bytes a row, with POST 36 D: latency bound for one row
// source  SPEC 2 (hyper-connections): fn @ N0(flat) is fn @ flat divided by the rms afterwards
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
@group(0) @binding(auto) var<storage, read> post: array<f32>;             // (T, 32)
@group(0) @binding(auto) var<storage, read> y: array<vec4<f32>>;          // (T, D/4)
@group(0) @binding(auto) var<storage, read_write> next: array<vec4<f32>>; // (T, 4, D/4)
#endif
#import lib/dequant
#import lib/reduce_lanes
#import lib/hc_slices

const QUADS: u32 = SLICE / 4u;  // of a stream in a slice
const EIGHTS: u32 = SLICE / 2u; // of all four
const TEAMS: u32 = WG / LANES;  // of LANES invocations that share an output

var<workgroup> streams: array<vec4<f32>, ROWS * 4u * QUADS>; // (ROWS, 4, QUADS)

// Quad `q` of stream `k` after the sub-layer.
fn stream_quad(t: u32, k: u32, q: u32) -> vec4<f32> {
    let quads = params.dim >> 2u;
#ifdef POST
    let m = t * 32u;
    var sum = post[m + k] * y[t * quads + q];
    for (var j = 0u; j < 4u; j++) {
        sum = fma(vec4<f32>(post[m + 4u + 4u * j + k]), x[(t * 4u + j) * quads + q], sum);
    }
    next[(t * 4u + k) * quads + q] = sum;
    return sum;
#else
    return x[(t * 4u + k) * quads + q];
#endif
}

@compute @workgroup_size(WG)
fn hc_mix(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let first = wid.x * SLICE;
    let first_row = wid.y * ROWS;
    let team = lid / LANES;
    let lane = lid % LANES;
    // Weights do not depend on the sub-layer: asked for first, they arrive while the streams are made.
#for O OUTPUTS_EACH
#for P PASSES
    var weights$O_$P: Weights8;
    {
        let output = team + $Ou * TEAMS;
        let eight = lane + $Pu * LANES;
        let channel = first + eight % (SLICE / 8u) * 8u;
        if (output < params.outputs && eight < EIGHTS && channel < params.dim) {
            let row = params.base + output * row_bytes(params.format, 4u * params.dim);
            weights$O_$P = dequant8(params.format, row, eight / (SLICE / 8u) * params.dim + channel);
        }
    }
#end
#end
    for (var i = lid; i < ROWS * 4u * QUADS; i += WG) {
        let t = first_row + i / (4u * QUADS);
        let q = (first >> 2u) + i % QUADS;
        var value = vec4<f32>(0.0);
        if (t < params.tokens && q < (params.dim >> 2u)) {
            value = stream_quad(t, i / QUADS % 4u, q);
        }
        streams[i] = value;
    }
    workgroupBarrier();
    var sums: array<f32, SUMS>;
#for O OUTPUTS_EACH
#for P PASSES
    if (lane + $Pu * LANES < EIGHTS) {
#for R ROWS
        {
            let at = $Ru * 4u * QUADS + 2u * (lane + $Pu * LANES);
            let xa = streams[at];
            let xb = streams[at + 1u];
            if (team + $Ou * TEAMS == params.outputs) {
                weights$O_$P = Weights8(xa, xb);
            }
            sums[$Ou * ROWS + $Ru] = dot8(weights$O_$P, xa, xb, sums[$Ou * ROWS + $Ru]);
        }
#end
    }
#end
#end
    let totals = reduce_lanes(sums, lid);
    if (lane == 0u) {
#for O OUTPUTS_EACH
#for R ROWS
        if (team + $Ou * TEAMS <= params.outputs && first_row + $Ru < params.tokens) {
            mix[((first_row + $Ru) * hc_slices() + wid.x) * 32u + team + $Ou * TEAMS] = totals[$Ou * ROWS + $Ru];
        }
#end
#end
    }
}

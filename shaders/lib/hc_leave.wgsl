// What follows a sub-layer, done by the workgroup that made 16 channels of its result: their part of the streams, and the slice of the mix
// that hc_mix would leave for them, to the bit. WG is a multiple of 8, OUTPUTS_EACH = ceil(25 / (WG / 8)).

#import lib/weights8
#import lib/hc_residual
@group(0) @binding(auto) var<storage, read> mix_quads: array<vec4<u32>>;  // arena: fn, F16
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;          // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read> post: array<vec4<f32>>;       // (T, 8)
@group(0) @binding(auto) var<storage, read_write> next: array<vec4<f32>>; // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read_write> mix: array<f32>;        // (T, slices, 32)

// What an invocation asks for before the result is there: eight weights of each of its outputs, and a part of `leaving`.
struct Leaving {
    halves: array<vec4<u32>, OUTPUTS_EACH>,
    part: vec4<f32>,
}

var<workgroup> leaving: array<vec4<f32>, 21>; // the streams' 4 x 4 quads, post, the four rows of C
var<workgroup> result: array<f32, 16>;        // the channels of y

// `base`: byte offset of fn in its arena.
fn load_leaving(t: u32, slice: u32, dim: u32, base: u32, outputs: u32, lid: u32) -> Leaving {
    var early: Leaving;
    let eight = lid & 7u;
#for O OUTPUTS_EACH
    {
        let output = (lid >> 3u) + $Ou * (WG / 8u);
        let column = (eight >> 1u) * dim + slice * 16u + (eight & 1u) * 8u;
        early.halves[$O] = mix_quads[(base >> 4u) + ((min(output, outputs - 1u) * 4u * dim + column) >> 3u)];
    }
#end
    if (lid < 16u) {
        early.part = x[(t * 4u + (lid >> 2u)) * (dim >> 2u) + slice * 4u + (lid & 3u)];
    } else if (lid < 21u) {
        early.part = post[t * 8u + lid - 16u];
    }
    return early;
}

// Call it before the barrier that `leave` needs, which `result` needs too.
fn stage_leaving(early: Leaving, lid: u32) {
    if (lid < 21u) {
        leaving[lid] = early.part;
    }
}

// Quad `q` of the 16 channels of stream `k` after the sub-layer.
fn left_quad(k: u32, q: u32) -> vec4<f32> {
    let column = vec4<f32>(leaving[17][k], leaving[18][k], leaving[19][k], leaving[20][k]);
    let y = vec4<f32>(result[4u * q], result[4u * q + 1u], result[4u * q + 2u], result[4u * q + 3u]);
    return residual(leaving[16][k], column, y, leaving[q], leaving[4u + q], leaving[8u + q], leaving[12u + q]);
}

fn leave(early: Leaving, t: u32, slice: u32, dim: u32, outputs: u32, lid: u32) {
    let k = (lid & 7u) >> 1u;
    let q = (lid & 1u) * 2u;
    let xa = left_quad(k, q);
    let xb = left_quad(k, q + 1u);
    if (lid < 8u) {
        let at = (t * 4u + k) * (dim >> 2u) + slice * 4u + q;
        next[at] = xa;
        next[at + 1u] = xb;
    }
#for O OUTPUTS_EACH
    {
        let output = (lid >> 3u) + $Ou * (WG / 8u);
        var weights = weights_of_halves(early.halves[$O]);
        if (output == outputs) {
            weights = Weights8(xa, xb);
        }
        var sum = dot8(weights, xa, xb, 0.0);
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        sum += subgroupShuffleXor(sum, 4u);
        if ((lid & 7u) == 0u && output <= outputs) {
            mix[(t * (dim >> 4u) + slice) * 32u + output] = sum;
        }
    }
#end
}

// What follows a sub-layer, done by the workgroup that made 16 channels of its result for HC_MIX_TOKENS rows: their part of the streams, and the
// slice of the mix that hc_mix would leave for them, to the bit. WG is a multiple of 8, OUTPUTS_EACH = ceil(25 / (WG / 8)),
// HC_MIX_PIECES = ceil(21 HC_MIX_TOKENS / WG).

#import lib/formats/weights8
#import lib/hc/residual
@group(0) @binding(auto) var<storage, read> mix_quads: array<vec4<u32>>;  // arena: fn, F16
@group(0) @binding(auto) var<storage, read> streams: array<vec4<f32>>;    // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read> post: array<vec4<f32>>;       // (T, 8)
@group(0) @binding(auto) var<storage, read_write> next: array<vec4<f32>>; // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read_write> mix: array<f32>;        // (T, slices, 32)

const LEAVE_PARTS: u32 = 21u; // of a row: the streams' 4 x 4 quads, post, the four rows of C

// What an invocation asks for before the result is there: eight weights of each of its outputs, and parts of `leaving`.
struct Leaving {
    halves: array<vec4<u32>, OUTPUTS_EACH>,
    parts: array<vec4<f32>, HC_MIX_PIECES>,
}

var<workgroup> leaving: array<vec4<f32>, LEAVE_PARTS * HC_MIX_TOKENS>;
var<workgroup> result: array<f32, 16 * HC_MIX_TOKENS>; // the channels of y, by row

// For the rows from `first` to `last`; places behind the last repeat it. `base`: byte offset of fn in its arena.
fn load_leaving(first: u32, last: u32, slice: u32, dim: u32, base: u32, outputs: u32, lid: u32) -> Leaving {
    var early: Leaving;
    let eight = lid & 7u;
#for O OUTPUTS_EACH
    {
        let output = (lid >> 3u) + $Ou * (WG / 8u);
        let column = (eight >> 1u) * dim + slice * 16u + (eight & 1u) * 8u;
        early.halves[$O] = mix_quads[(base >> 4u) + ((min(output, outputs - 1u) * 4u * dim + column) >> 3u)];
    }
#end
#for P HC_MIX_PIECES
    {
        let t = min(first + (lid + $Pu * WG) / LEAVE_PARTS, last);
        let part = (lid + $Pu * WG) % LEAVE_PARTS;
        if (part < 16u) {
            early.parts[$P] = streams[(t * 4u + (part >> 2u)) * (dim >> 2u) + slice * 4u + (part & 3u)];
        } else {
            early.parts[$P] = post[t * 8u + part - 16u];
        }
    }
#end
    return early;
}

// Call it before the barrier that `leave` needs, which `result` needs too.
fn stage_leaving(early: Leaving, lid: u32) {
#for P HC_MIX_PIECES
    if (lid + $Pu * WG < LEAVE_PARTS * HC_MIX_TOKENS) {
        leaving[lid + $Pu * WG] = early.parts[$P];
    }
#end
}

// Quad `q` of the 16 channels of stream `k` after the sub-layer, of the workgroup's row `n`.
fn left_quad(n: u32, k: u32, q: u32) -> vec4<f32> {
    let own = n * LEAVE_PARTS;
    let column = vec4<f32>(leaving[own + 17u][k], leaving[own + 18u][k], leaving[own + 19u][k], leaving[own + 20u][k]);
    let i = n * 16u + 4u * q;
    let y = vec4<f32>(result[i], result[i + 1u], result[i + 2u], result[i + 3u]);
    return residual(leaving[own + 16u][k], column, y, leaving[own + q], leaving[own + 4u + q], leaving[own + 8u + q], leaving[own + 12u + q]);
}

fn leave(early: Leaving, first: u32, last: u32, slice: u32, dim: u32, outputs: u32, lid: u32) {
    let k = (lid & 7u) >> 1u;
    let q = (lid & 1u) * 2u;
    for (var t = first; t <= last; t++) {
        let xa = left_quad(t - first, k, q);
        let xb = left_quad(t - first, k, q + 1u);
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
}

// fused_mix: hc_mix within the kernel that computes the sub-layer's result y: updates the streams and computes their next mix.
// needs   WG, a multiple of 8; HC_MIX_TOKENS; OUTPUTS_EACH = ceil(25 / (WG / 8)); HC_MIX_PIECES = ceil(21 HC_MIX_TOKENS / WG)
// declares bindings mix_quads, streams, post, next, mix; workgroup variables fused_parts, result (y by row: the kernel fills it)
// gives   load_fused_mix(first row, last row, slice, dim, byte offset of fn, outputs, local index), stage_fused_mix(the loaded, local
//         index), fused_mix(the loaded, first row, last row, slice, dim, outputs, local index)
//
// A workgroup has 16 channels of y, a slice, for up to HC_MIX_TOKENS rows. Subgroups have 8 lanes at least. The bits are those that hc_mix
// computes with slices of 16.

#import lib/formats/weights8
#import lib/hc/residual
@group(0) @binding(auto) var<storage, read> mix_quads: array<vec4<u32>>;  // arena: fn, F16
@group(0) @binding(auto) var<storage, read> streams: array<vec4<f32>>;    // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read> post: array<vec4<f32>>;       // (T, 8)
@group(0) @binding(auto) var<storage, read_write> next: array<vec4<f32>>; // (T, 4, D/4)
@group(0) @binding(auto) var<storage, read_write> mix: array<f32>;        // (T, slices, 32)

const ROW_PARTS: u32 = 21u; // quads of a row: 4 of each stream, post, the four rows of C

// What an invocation loads before y is known: eight weights of each of its outputs, and its quads of `fused_parts`.
struct FusedInputs {
    halves: array<vec4<u32>, OUTPUTS_EACH>,
    parts: array<vec4<f32>, HC_MIX_PIECES>,
}

var<workgroup> fused_parts: array<vec4<f32>, ROW_PARTS * HC_MIX_TOKENS>;
var<workgroup> result: array<f32, 16 * HC_MIX_TOKENS>; // 16 channels of y a row

// Loads for the rows from `first` to `last`. Places past the last row repeat it. `base` is the byte offset of fn in its arena.
fn load_fused_mix(first: u32, last: u32, slice: u32, dim: u32, base: u32, outputs: u32, lid: u32) -> FusedInputs {
    var fused: FusedInputs;
    let eight = lid & 7u;
#for O OUTPUTS_EACH
    {
        let output = (lid >> 3u) + $Ou * (WG / 8u);
        let column = (eight >> 1u) * dim + slice * 16u + (eight & 1u) * 8u;
        fused.halves[$O] = mix_quads[(base >> 4u) + ((min(output, outputs - 1u) * 4u * dim + column) >> 3u)];
    }
#end
#for P HC_MIX_PIECES
    {
        let t = min(first + (lid + $Pu * WG) / ROW_PARTS, last);
        let part = (lid + $Pu * WG) % ROW_PARTS;
        if (part < 16u) {
            fused.parts[$P] = streams[(t * 4u + (part >> 2u)) * (dim >> 2u) + slice * 4u + (part & 3u)];
        } else {
            fused.parts[$P] = post[t * 8u + part - 16u];
        }
    }
#end
    return fused;
}

// Call it, and fill `result`, before the barrier that precedes fused_mix.
fn stage_fused_mix(fused: FusedInputs, lid: u32) {
#for P HC_MIX_PIECES
    if (lid + $Pu * WG < ROW_PARTS * HC_MIX_TOKENS) {
        fused_parts[lid + $Pu * WG] = fused.parts[$P];
    }
#end
}

// Quad `q` of the slice of stream `k` after the sub-layer, for row `n` of the workgroup's rows.
fn next_quad(n: u32, k: u32, q: u32) -> vec4<f32> {
    let own = n * ROW_PARTS;
    let column = vec4<f32>(fused_parts[own + 17u][k], fused_parts[own + 18u][k], fused_parts[own + 19u][k], fused_parts[own + 20u][k]);
    let i = n * 16u + 4u * q;
    let y = vec4<f32>(result[i], result[i + 1u], result[i + 2u], result[i + 3u]);
    return residual(fused_parts[own + 16u][k], column, y,
        fused_parts[own + q], fused_parts[own + 4u + q], fused_parts[own + 8u + q], fused_parts[own + 12u + q]);
}

fn fused_mix(fused: FusedInputs, first: u32, last: u32, slice: u32, dim: u32, outputs: u32, lid: u32) {
    let k = (lid & 7u) >> 1u;
    let q = (lid & 1u) * 2u;
    for (var t = first; t <= last; t++) {
        let xa = next_quad(t - first, k, q);
        let xb = next_quad(t - first, k, q + 1u);
        if (lid < 8u) {
            let at = (t * 4u + k) * (dim >> 2u) + slice * 4u + q;
            next[at] = xa;
            next[at + 1u] = xb;
        }
#for O OUTPUTS_EACH
        {
            let output = (lid >> 3u) + $Ou * (WG / 8u);
            var weights = weights_of_halves(fused.halves[$O]);
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

// moe_down: y[t, r] += sum_k weight[t, k] down_e[r] . act[t, k] with e = chosen[t, k], few rows t. y holds the shared expert's result.
// in      w (experts, D, F) of this slice; act (T * used, F) f32; chosen, weights (T * used)
// out     y (T, D) f32, updated in place
// params  Params 36 B
// grid    x: ceil(rows / ROWS), y: T; LANES lanes share a row
// needs   subgroups of LANES; else LANES is 32 and the sums go through workgroup memory
// cost    the bytes of down of the chosen experts: bandwidth bound
// source  SPEC 3.5 (steps 4, 5)
struct Params {
    columns: u32,      // F
    rows: u32,         // channels of an expert in this slice
    width: u32,        // D
    first_row: u32,    // the slice's first channel
    base: u32,         // byte offset of the slice's first row in w
    format: u32,
    first_expert: u32, // first expert of the slice
    experts: u32,      // experts in the slice
    used: u32,
}

@group(0) @binding(auto) var<storage, read> w: array<u32>;         // arena
@group(0) @binding(auto) var<storage, read> act: array<vec4<f32>>; // (T * used, F/4)
@group(0) @binding(auto) var<storage, read> chosen: array<u32>;    // (T * used)
@group(0) @binding(auto) var<storage, read> weights: array<f32>;   // (T * used)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;   // (T, D)
#import lib/formats/dequant
#import lib/reduce/lanes

const ROWS: u32 = WG / LANES;

@compute @workgroup_size(WG)
fn moe_down(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.y;
    let lane = lid % LANES;
    let row = wid.x * ROWS + lid / LANES;
    let columns = params.columns;
    var sums: array<f32, SUMS>;
    for (var k = 0u; k < params.used; k++) {
        let pair = t * params.used + k;
        let expert = chosen[pair];
        if (expert < params.first_expert || expert - params.first_expert >= params.experts) {
            continue;
        }
        let weight_row = (expert - params.first_expert) * params.rows + min(row, params.rows - 1u);
        let down = params.base + weight_row * row_bytes(params.format, columns);
        let first = pair * (columns >> 2u);
        var sum = 0.0;
        for (var column = lane * 8u; column < columns; column += LANES * 8u) {
            sum = dot8(dequant8(params.format, down, column), act[first + (column >> 2u)], act[first + (column >> 2u) + 1u], sum);
        }
        sums[0] = fma(weights[pair], sum, sums[0]);
    }
    let totals = reduce_lanes(sums, lid);
    if (lane == 0u && row < params.rows) {
        y[t * params.width + params.first_row + row] += totals[0];
    }
}

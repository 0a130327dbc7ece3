// moe_gate_up: act[p, f] = swiglu(gate_e[f] . x[t], up_e[f] . x[t]) for pair p = (t, k) with expert e = chosen[p], few rows t.
// in      w (experts, F, C) gate and up of this slice; x (T, C) f32; chosen (T * used)
// out     act (T * used, F) f32
// params  Params 48 B
// grid    x: ceil(rows / ROWS), y: T * used; LANES lanes share a row
// needs   subgroups of LANES; else LANES is 32 and the sums go through workgroup memory
// cost    the bytes of gate and up of the chosen experts: bandwidth bound
// source  SPEC 3.5 (step 4)
struct Params {
    columns: u32,
    rows: u32,         // channels of an expert in this slice
    width: u32,        // F
    first_row: u32,    // the slice's first channel
    base_gate: u32,    // byte offset of the slice's first gate row in w
    base_up: u32,
    format_gate: u32,
    format_up: u32,
    first_expert: u32, // first expert of the slice
    experts: u32,      // experts in the slice
    used: u32,
    limit: f32,
}

@group(0) @binding(auto) var<storage, read> w: array<u32>;         // arena
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;   // (T, C/4)
@group(0) @binding(auto) var<storage, read> chosen: array<u32>;    // (T * used)
@group(0) @binding(auto) var<storage, read_write> act: array<f32>; // (T * used, F)
#import lib/formats/dequant
#import lib/numbers/math
#import lib/reduce/lanes

const ROWS: u32 = WG / LANES;

@compute @workgroup_size(WG)
fn moe_gate_up(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let pair = wid.y;
    let expert = chosen[pair];
    if (expert < params.first_expert || expert - params.first_expert >= params.experts) {
        return;
    }
    let lane = lid % LANES;
    let row = wid.x * ROWS + lid / LANES;
    let columns = params.columns;
    let weight_row = (expert - params.first_expert) * params.rows + min(row, params.rows - 1u);
    let gate = params.base_gate + weight_row * row_bytes(params.format_gate, columns);
    let up = params.base_up + weight_row * row_bytes(params.format_up, columns);
    let x_first = pair / params.used * (columns >> 2u);
    var sums: array<f32, SUMS>;
    for (var column = lane * 8u; column < columns; column += LANES * 8u) {
        let xa = x[x_first + (column >> 2u)];
        let xb = x[x_first + (column >> 2u) + 1u];
        sums[0] = dot8(dequant8(params.format_gate, gate, column), xa, xb, sums[0]);
        sums[1] = dot8(dequant8(params.format_up, up, column), xa, xb, sums[1]);
    }
    let totals = reduce_lanes(sums, lid);
    if (lane == 0u && row < params.rows) {
        act[pair * params.width + params.first_row + row] = swiglu(totals[0], totals[1], params.limit);
    }
}

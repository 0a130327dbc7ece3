// matvec: y[t, y_offset + r] = sum_c W[r, c] x[t, x_offset + c] for the few rows of a decode step and up to eight matrices.
// in      w (R, C) rows of up to eight matrices, each in one of the variant's formats; x (T, x_stride) f32
// out     y (T, y_stride) f32
// params  Params 96 B; matrix i covers rows [end of i - 1, end of i): ends_bases holds (row entry, byte offset), two a vec4
// grid    ceil(R / ROWS) workgroups of WG lanes, ROWS = WG / LANES; LANES lanes share a row, SUMS rows of x share the decoded weights
// needs   subgroups of LANES; else LANES is 32 and the sums go through workgroup memory
// cost    the bytes of W: bandwidth bound
// source  SPEC 2.1 (A @ x); with group_rows < R every group of rows has its own C columns of x: SPEC 3.1 (step 7)
struct Params {
    tokens: u32,
    columns: u32,
    rows: u32,
    x_stride: u32,   // floats
    x_offset: u32,   // floats
    y_stride: u32,   // floats
    y_offset: u32,   // floats; with groups also the number of the first row in its matrix
    group_rows: u32, // rows that multiply the same columns of x
    ends_bases: array<vec4<u32>, 4>,
}

@group(0) @binding(auto) var<storage, read> w: array<u32>;         // arena
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;   // (T, x_stride/4)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;   // (T, y_stride)
#import lib/formats/dequant
#import lib/linear/locate
#import lib/reduce/lanes

const ROWS: u32 = WG / LANES;

@compute @workgroup_size(WG)
fn matvec(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let lane = lid % LANES;
    let row = (wid.x + wid.y * workgroups.x) * ROWS + lid / LANES;
    // Lanes past the last row repeat it, so that barriers and subgroup operations stay uniform.
    let place = locate(min(row, params.rows - 1u));
    let group = (params.y_offset + min(row, params.rows - 1u)) / params.group_rows;
    let x_first = (params.x_offset + group * params.columns) >> 2u;
    let columns = params.columns;
    var sums: array<f32, SUMS>;
#for T SUMS
    let x$T = x_first + min($Tu, params.tokens - 1u) * (params.x_stride >> 2u);
#end
    for (var column = lane * 8u; column < columns; column += LANES * 8u) {
        let weights = dequant8(place.y, place.x, column);
        let q = column >> 2u;
#for T SUMS
        sums[$T] = dot8(weights, x[x$T + q], x[x$T + q + 1u], sums[$T]);
#end
    }
    let totals = reduce_lanes(sums, lid);
    if (lane == 0u && row < params.rows) {
#for T SUMS
        if ($Tu < params.tokens) {
            y[$Tu * params.y_stride + params.y_offset + row] = totals[$T];
        }
#end
    }
}

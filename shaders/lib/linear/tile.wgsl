// tile: a 64 x 64 tile of y = x W^T in f32: 64 tokens of x and 64 rows of W, staged 32 columns at a time, 4 x 4 results an invocation.
// needs   workgroups of 256; lib/formats/weights8
// declares TILE_COLUMNS; workgroup variables tile_x, tile_w
// gives   stage_x(token, column, four values), stage_w(row, column, eight weights), tile_step(sums so far, local index)
//
// Workgroup memory holds scalars: on some drivers a store to one component of a shared vec4 loses its neighbours.

const TILE_COLUMNS: u32 = 32u;

var<workgroup> tile_x: array<f32, 2048>; // (32 columns, 64 tokens)
var<workgroup> tile_w: array<f32, 2048>; // (32 columns, 64 rows)

fn stage_x(token: u32, column: u32, values: vec4<f32>) {
    let i = column * 64u + token;
    tile_x[i] = values.x;
    tile_x[i + 64u] = values.y;
    tile_x[i + 128u] = values.z;
    tile_x[i + 192u] = values.w;
}

fn stage_w(row: u32, column: u32, weights: Weights8) {
    let i = column * 64u + row;
    tile_w[i] = weights.a.x;
    tile_w[i + 64u] = weights.a.y;
    tile_w[i + 128u] = weights.a.z;
    tile_w[i + 192u] = weights.a.w;
    tile_w[i + 256u] = weights.b.x;
    tile_w[i + 320u] = weights.b.y;
    tile_w[i + 384u] = weights.b.z;
    tile_w[i + 448u] = weights.b.w;
}

// Adds the staged columns to the invocation's results: sums[i] holds tokens 4 (lid / 16) + i, rows 4 (lid % 16) + 0..3.
fn tile_step(sums: array<vec4<f32>, 4>, lid: u32) -> array<vec4<f32>, 4> {
    let token = (lid >> 4u) * 4u;
    let row = (lid & 15u) * 4u;
    var s0 = sums[0];
    var s1 = sums[1];
    var s2 = sums[2];
    var s3 = sums[3];
    for (var column = 0u; column < TILE_COLUMNS; column++) {
        let i = column * 64u;
        let b = vec4<f32>(tile_w[i + row], tile_w[i + row + 1u], tile_w[i + row + 2u], tile_w[i + row + 3u]);
        s0 = fma(vec4<f32>(tile_x[i + token]), b, s0);
        s1 = fma(vec4<f32>(tile_x[i + token + 1u]), b, s1);
        s2 = fma(vec4<f32>(tile_x[i + token + 2u]), b, s2);
        s3 = fma(vec4<f32>(tile_x[i + token + 3u]), b, s3);
    }
    return array<vec4<f32>, 4>(s0, s1, s2, s3);
}

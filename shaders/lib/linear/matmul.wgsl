// matmul: parameters of the matrix products, and the rows and tokens that a workgroup multiplies.
// needs   ROW_BITS; flags EXPERTS (the tokens of one expert, not all tokens) and GATE_UP
// declares Params, Part, Tile; with EXPERTS bindings tiles and pairs, as moe_group writes them
// gives   part_of(number of the workgroup, rows of a tile), tile_of(number of the workgroup, tokens of a tile); x_row(tile, i), y_row(tile,
//         i): the rows of x and of y that belong to the tile's token i

#import lib/linear/row_entry

struct Params {
    ends_bases: array<vec4<u32>, 4>, // matrix i covers rows [end of i - 1, end of i): (row entry, byte offset), two a vec4
    tokens: u32,       // rows of x, without EXPERTS
    columns: u32,
    x_stride: u32,     // elements, like the next four
    x_offset: u32,
    x_step: u32,       // from the columns of x that one matrix multiplies to those of the next
    y_stride: u32,
    y_offset: u32,     // offset of the first matrix's first row in y
    base_up: u32,      // GATE_UP: byte offset of up; the table's matrix is gate
    format_up: u32,
    first_expert: u32, // first expert of the slice
    experts: u32,      // experts in the slice
    used: u32,         // experts a token
    limit: f32,        // SwiGLU limit
    padding_a: u32,
    padding_b: u32,
    padding_c: u32,
}

// One of the matrices, and the workgroup's rows in it.
struct Part {
    number: u32,
    start: u32,  // the matrix's first row in y
    first: u32,  // the workgroup's first row, in the matrix
    rows: u32,
    format: u32,
    base: u32,
}

// Each matrix is cut into tiles of `size` rows separately, so that no tile has rows of two matrices.
fn part_of(index: u32, size: u32) -> Part {
    var start = 0u;
    var tiles = 0u;
    for (var i = 0u; i < 8u; i++) {
        let pair = params.ends_bases[i >> 1u];
        let entry = select(pair.xy, pair.zw, (i & 1u) == 1u);
        let rows = max(entry_end(entry.x), start) - start;
        let own = (rows + size - 1u) / size;
        if (index < tiles + own) {
            return Part(i, start, (index - tiles) * size, rows, entry_format(entry.x), entry.y);
        }
        tiles += own;
        start += rows;
    }
    return Part();
}

#ifdef EXPERTS
@group(0) @binding(auto) var<storage, read> tiles: array<vec4<u32>>; // the number of tiles, then (expert, first pair, pairs, 0) of each
@group(0) @binding(auto) var<storage, read> pairs: array<u32>;       // (T * used) token * used + k, sorted by expert
#endif

struct Tile {
    expert: u32, // counted from the slice's first
    first: u32,  // first entry of pairs, or first token
    count: u32,  // tokens in the tile; 0: nothing to do
}

fn tile_of(index: u32, size: u32) -> Tile {
#ifdef EXPERTS
    if (index >= tiles[0].x) {
        return Tile(0u, 0u, 0u);
    }
    let tile = tiles[index + 1u];
    if (tile.x < params.first_expert || tile.x - params.first_expert >= params.experts) {
        return Tile(0u, 0u, 0u);
    }
    return Tile(tile.x - params.first_expert, tile.y, tile.z);
#else
    return Tile(0u, index * size, min(size, params.tokens - index * size));
#endif
}

fn x_row(tile: Tile, i: u32) -> u32 {
#ifdef EXPERTS
#ifdef GATE_UP
    return pairs[tile.first + i] / params.used;
#else
    return pairs[tile.first + i];
#endif
#else
    return tile.first + i;
#endif
}

fn y_row(tile: Tile, i: u32) -> u32 {
#ifdef EXPERTS
    return pairs[tile.first + i];
#else
    return tile.first + i;
#endif
}

// Which tokens and weights a tile of the routed experts' matmul works on (flag EXPERTS), or the plain matrix (without it).

struct Params {
    tokens: u32,       // rows of x (plain)
    columns: u32,
    rows: u32,         // rows of the weight in this slice; channels for gate and up
    x_stride: u32,     // floats
    x_offset: u32,     // floats
    y_stride: u32,     // floats
    y_offset: u32,     // floats; the slice's first row
    base: u32,         // byte offset of the slice's first row in w; of gate for gate and up
    format: u32,
    base_up: u32,
    format_up: u32,
    first_expert: u32, // the slice's experts
    experts: u32,
    used: u32,         // experts a token
    limit: f32,        // SwiGLU limit
}

#ifdef EXPERTS
@group(0) @binding(auto) var<storage, read> tiles: array<vec4<u32>>; // number of tiles; then (expert, first pair, pairs, 0) a tile
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

// The row of x, and of y, of the tile's token `i`.
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

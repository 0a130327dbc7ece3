// Rows of Q8_0 by eight (lib/dequant_q8_0x8) by quads of 16 codes, times values rounded to int8 (lib/round_quad).
// Declare w (array<u32>) and w_quads (the same, array<vec4<u32>>) first.

struct Quad {
    codes: vec4<u32>,
    scale: f32,
}

// A quad as it lies in memory. Ask for several of them behind a condition that always holds, of which compilers do not see that it does, and
// make Quads of them where they are needed: else compilers move each load to where its words are, and memory is waited for again and again.
struct StoredQuad {
    codes: vec4<u32>,
    pair: u32, // two scales, each of two quads
}

// `row`: byte offset in w; behind the row's end it is the last quad.
fn fetch_quad(row: u32, quad: u32, quads: u32) -> StoredQuad {
    let at = min(quad, quads - 1u);
    let block = (row >> 4u) + (at >> 4u) * 17u;
    return StoredQuad(w_quads[block + (at & 15u)], w[block * 4u + 64u + ((at & 15u) >> 2u)]);
}

// What fetch_quad loaded for the same quad; one behind the row's end has a scale of zero.
fn quad_of(stored: StoredQuad, quad: u32, quads: u32) -> Quad {
    let scale = unpack2x16float(stored.pair >> ((min(quad, quads - 1u) & 2u) << 3u)).x;
    return Quad(stored.codes, select(0.0, scale, quad < quads));
}

// `sum` and the products of weights and 16 values of x, whose scale they share.
fn add_quad(quad: Quad, x: Quad, sum: f32) -> f32 {
    let dots = dot4I8Packed(quad.codes.x, x.codes.x) + dot4I8Packed(quad.codes.y, x.codes.y)
        + dot4I8Packed(quad.codes.z, x.codes.z) + dot4I8Packed(quad.codes.w, x.codes.w);
    return fma(f32(dots), quad.scale * x.scale, sum);
}

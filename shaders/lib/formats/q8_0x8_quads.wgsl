// Rows of Q8_0 by eight (lib/formats/dequant_q8_0x8) by quads of 16 codes, times values rounded to int8 (lib/numbers/round_quad).
// Declare w (array<u32>) and w_quads (the same, array<vec4<u32>>) first.

struct Quad {
    codes: vec4<u32>,
    scale: f32,
}

// `row`: byte offset in w; a quad behind the row's end counts as the last one with a scale of zero.
fn load_quad(row: u32, quad: u32, quads: u32) -> Quad {
    let at = min(quad, quads - 1u);
    let block = (row >> 4u) + (at >> 4u) * 17u;
    let codes = w_quads[block + (at & 15u)];
    // Two quads share a scale, two scales a word.
    let pair = w[block * 4u + 64u + ((at & 15u) >> 2u)];
    let scale = unpack2x16float(pair >> ((at & 2u) << 3u)).x;
    return Quad(codes, select(0.0, scale, quad < quads));
}

// `sum` and the products of weights and 16 values of x, whose scale they share.
fn add_quad(quad: Quad, x: Quad, sum: f32) -> f32 {
    let dots = dot4I8Packed(quad.codes.x, x.codes.x) + dot4I8Packed(quad.codes.y, x.codes.y)
        + dot4I8Packed(quad.codes.z, x.codes.z) + dot4I8Packed(quad.codes.w, x.codes.w);
    return fma(f32(dots), quad.scale * x.scale, sum);
}

// q8_0x8_quads: rows of Q8_0 by eight in quads of 16 codes, times values rounded to int8.
// needs   bindings w as array<u32> and w_quads, the same as array<vec4<u32>>; fast int8 products
// declares Quad
// gives   load_quad(byte offset of the row, number of the quad, quads of the row), add_quad(weights, values of x, sum so far)
//
// lib/formats/dequant_q8_0x8 has the layout of a row, lib/numbers/round_quad that of rounded values.

struct Quad {
    codes: vec4<u32>,
    scale: f32,
}

// A quad past the row's end is loaded as the last one, with a scale of zero.
fn load_quad(row: u32, quad: u32, quads: u32) -> Quad {
    let at = min(quad, quads - 1u);
    let block = (row >> 4u) + (at >> 4u) * 17u;
    let codes = w_quads[block + (at & 15u)];
    // Two quads share a scale, and a word holds two scales.
    let pair = w[block * 4u + 64u + ((at & 15u) >> 2u)];
    let scale = unpack2x16float(pair >> ((at & 2u) << 3u)).x;
    return Quad(codes, select(0.0, scale, quad < quads));
}

// The 16 values of x share one scale.
fn add_quad(quad: Quad, x: Quad, sum: f32) -> f32 {
    let dots = dot4I8Packed(quad.codes.x, x.codes.x) + dot4I8Packed(quad.codes.y, x.codes.y)
        + dot4I8Packed(quad.codes.z, x.codes.z) + dot4I8Packed(quad.codes.w, x.codes.w);
    return fma(f32(dots), quad.scale * x.scale, sum);
}

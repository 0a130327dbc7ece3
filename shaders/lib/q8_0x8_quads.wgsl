// Rows of Q8_0 by eight (lib/dequant_q8_0x8) by quads of 16 codes, times x rounded to int8 (lib/quantize).
// Declare w (array<u32>), w_quads (the same, array<vec4<u32>>), x_int8 (array<vec4<u32>>) and x_scales (the same, array<f32>) first.

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

// Quad `at` of a row of x. `codes`: where the row begins, in quads; `scales`: its scales, in words.
fn load_x_quad(at: u32, codes: u32, scales: u32) -> Quad {
    return Quad(x_int8[codes + at], x_scales[scales + (at >> 1u)]);
}

// `sum` and the products of weights and x.
fn add_quad(quad: Quad, x: Quad, sum: f32) -> f32 {
    let dots = dot4I8Packed(quad.codes.x, x.codes.x) + dot4I8Packed(quad.codes.y, x.codes.y)
        + dot4I8Packed(quad.codes.z, x.codes.z) + dot4I8Packed(quad.codes.w, x.codes.w);
    return fma(f32(dots), quad.scale * x.scale, sum);
}

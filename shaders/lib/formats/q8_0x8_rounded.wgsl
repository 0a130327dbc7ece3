// Rows of Q8_0 by eight times x as lib/numbers/quantize leaves it. Declare x_int8 (array<vec4<u32>>) and x_scales (the same, array<f32>) too.
#import lib/formats/q8_0x8_quads

// Quad `at` of a row of x. `codes`: where the row begins, in quads; `scales`: its scales, in words.
fn load_x_quad(at: u32, codes: u32, scales: u32) -> Quad {
    return Quad(x_int8[codes + at], x_scales[scales + (at >> 1u)]);
}

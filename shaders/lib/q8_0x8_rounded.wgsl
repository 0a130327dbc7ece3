// Rows of Q8_0 by eight times x as lib/quantize leaves it. Declare x_int8 (array<vec4<u32>>) and x_scales (the same, array<f32>) too.
#import lib/q8_0x8_quads

// `sum` and the quad's products. `codes`: where the row of x begins, in quads; `scales`: its scales, in words.
fn add_quad(quad: Quad, at: u32, codes: u32, scales: u32, sum: f32) -> f32 {
    return dot_quad(quad, x_int8[codes + at], x_scales[scales + (at >> 1u)], sum);
}

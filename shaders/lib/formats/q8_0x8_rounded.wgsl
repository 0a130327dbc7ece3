// q8_0x8_rounded: the values of x that quads of Q8_0 by eight multiply, from rows that lib/numbers/quantize stored.
// needs   bindings x_int8 as array<vec4<u32>> and x_scales, the same as array<f32>; w and w_quads for lib/formats/q8_0x8_quads
// gives   load_x_quad(number of the quad, first quad of the row's codes, first word of the row's scales)

#import lib/formats/q8_0x8_quads

fn load_x_quad(at: u32, codes: u32, scales: u32) -> Quad {
    return Quad(x_int8[codes + at], x_scales[scales + (at >> 1u)]);
}

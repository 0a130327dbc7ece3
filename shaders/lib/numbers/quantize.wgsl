// quantize: stores rows of activations rounded to int8, in the layout of lib/numbers/round_quad.
// needs   binding quantized as array<u32>; subgroups of at least 8
// gives   quantize_quad(four values, first word of the row in quantized, columns of the row, number of the quad in the row)

#import lib/numbers/round_quad

fn quantize_quad(value: vec4<f32>, first: u32, columns: u32, quad: u32) {
    let rounded_quad = round_quad(value);
    quantized[first + quad] = rounded_quad.codes;
    if ((quad & 7u) == 0u) {
        quantized[first + columns / 4u + (quad >> 3u)] = bitcast<u32>(rounded_quad.scale);
    }
}

// Rows of activations rounded to int8 (lib/numbers/round_quad). Declare `quantized` (array<u32>) first.
#import lib/numbers/round_quad

// Rounds channels 4 * quad ... of the row that starts at word `first` of `quantized`.
fn quantize_quad(value: vec4<f32>, first: u32, columns: u32, quad: u32) {
    let rounded_quad = round_quad(value);
    quantized[first + quad] = rounded_quad.codes;
    if ((quad & 7u) == 0u) {
        quantized[first + columns / 4u + (quad >> 3u)] = bitcast<u32>(rounded_quad.scale);
    }
}

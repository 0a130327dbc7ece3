// Activations rounded to int8 (lib/round_int8) in global memory. Declare `quantized` (array<u32>) first.
//
// A row of C values (a multiple of 256) takes 9 C / 32 words: C / 4 words of codes, then C / 32 scales, f32.

#import lib/round_int8

fn quantized_words(columns: u32) -> u32 {
    return columns / 32u * 9u;
}

// Rounds channels 4 * quad ... of the row that starts at word `first` of `quantized`.
fn quantize_quad(value: vec4<f32>, first: u32, columns: u32, quad: u32) {
    let rounded = round_quad(value);
    quantized[first + quad] = rounded.codes;
    if ((quad & 7u) == 0u) {
        quantized[first + columns / 4u + (quad >> 3u)] = bitcast<u32>(rounded.scale);
    }
}

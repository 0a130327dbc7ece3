// Activations rounded to int8: blocks of 32 with one f32 scale, the largest magnitude / 127. Declare `quantized` (array<u32>) first.
//
// A row of C values (a multiple of 256) takes 9 C / 32 words: C / 4 words of codes, then C / 32 scales, f32.

fn quantized_words(columns: u32) -> u32 {
    return columns / 32u * 9u;
}

// Rounds channels 4 * quad ... of the row that starts at word `first` of `quantized`. Eight neighbouring invocations of a subgroup hold the
// quads of a block. The largest magnitude is found among bits, where NaN beats everything: a row that is not finite stays so.
fn quantize_quad(value: vec4<f32>, first: u32, columns: u32, quad: u32) {
    let bits = bitcast<vec4<u32>>(value) & vec4<u32>(0x7fffffffu);
    var most = max(max(bits.x, bits.y), max(bits.z, bits.w));
    most = max(most, subgroupShuffleXor(most, 1u));
    most = max(most, subgroupShuffleXor(most, 2u));
    most = max(most, subgroupShuffleXor(most, 4u));
    let largest = bitcast<f32>(most);
    // Blocks of next to nothing would overflow the division.
    let inverse = select(127.0 / largest, 0.0, largest < 1e-30);
    let codes = pack4xI8(vec4<i32>(clamp(round(value * inverse), vec4<f32>(-127.0), vec4<f32>(127.0))));
    quantized[first + quad] = codes;
    if ((quad & 7u) == 0u) {
        quantized[first + columns / 4u + (quad >> 3u)] = bitcast<u32>(largest * (1.0 / 127.0));
    }
}

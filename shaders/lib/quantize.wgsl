// Activations rounded to int8: blocks of 32 with one f32 scale, the largest magnitude / 127. Declare `quantized` (array<u32>) first.
//
// A row of C values (a multiple of 256) takes 35 C / 64 words in three parts:
//   packed, 17 C / 64 words: blocks of 34 bytes as Q8_0 has them, with zeros for the scale: words of weights and of x meet in one dot product
//   scales, C / 32 words: f32
//   codes, C / 4 words: the bytes alone, for formats without a scale between the codes

fn quantized_words(columns: u32) -> u32 {
    return columns / 64u * 35u;
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
    let before = subgroupShuffleUp(codes, 1u);
    let j = quad & 7u;
    let block = quad >> 3u;
    let pair = first + (block >> 1u) * 17u;
    if ((block & 1u) == 1u) {
        quantized[pair + 9u + j] = codes;
    } else {
        quantized[pair + j] = select(before >> 16u, 0u, j == 0u) | (codes << 16u);
        if (j == 7u) {
            quantized[pair + 8u] = codes >> 16u;
        }
    }
    let scales = first + columns / 64u * 17u;
    if (j == 0u) {
        quantized[scales + block] = bitcast<u32>(largest * (1.0 / 127.0));
    }
    quantized[scales + columns / 32u + quad] = codes;
}

// iq2_xxs: eight neighbouring weights of IQ2_XXS, blocks of 256 weights in 66 bytes.
// needs   lib/formats/bytes, lib/formats/weights8
// declares binding iq2_xxs_grid, the table of codewords
// gives   iq2_xxs_eight(byte offset of d, byte offset of the group of column 0, column)
//
// A block is f16 d, then a group for every 32 weights: four codeword indices of a byte, and a word with four 7-bit sign indices and a 4-bit
// scale s. A codeword is eight magnitudes. The eighth sign makes the number of negatives even. w = d (2s + 1) / 8 * sign * magnitude.

@group(0) @binding(auto) var<storage, read> iq2_xxs_grid: array<vec2<u32>>; // (256) codewords, one magnitude a byte

// The four lowest bits, each moved to the sign bit of an f32.
fn iq2_xxs_flips(signs: u32) -> vec4<u32> {
    return vec4<u32>(signs << 31u, signs << 30u, signs << 29u, signs << 28u) & vec4<u32>(0x80000000u);
}

fn iq2_xxs_signed(magnitudes: u32, signs: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(bytes_of(magnitudes)) ^ iq2_xxs_flips(signs));
}

fn iq2_xxs_eight(scale: u32, groups: u32, column: u32) -> Weights8 {
    let group = groups + (column >> 5u) * 8u;
    let k = (column >> 3u) & 3u;
    let codeword = iq2_xxs_grid[byte_at(group + k)];
    let word = word_at_even(group + 4u);
    let seven = (word >> (7u * k)) & 127u;
    let signs = seven | ((countOneBits(seven) & 1u) << 7u);
    let d = f16_at(scale) * (f32(2u * (word >> 28u) + 1u) * 0.125);
    return Weights8(d * iq2_xxs_signed(codeword.x, signs), d * iq2_xxs_signed(codeword.y, signs >> 4u));
}

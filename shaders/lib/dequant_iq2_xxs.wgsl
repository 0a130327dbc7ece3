// IQ2_XXS: 256 weights in 66 bytes: f16 d, then for every 32 weights four codeword indices and a word with four 7-bit sign indices and a
// 4-bit scale s. A codeword is eight magnitudes; the eighth sign makes the number of negatives even; w = d (2s + 1) / 8 * sign * magnitude.
@group(0) @binding(auto) var<storage, read> iq2_xxs_grid: array<vec2<u32>>; // (256) codewords, one magnitude a byte

#ifdef RUN_32
// In workgroup memory, where many weights are decoded: gathers from it do not wait for a cache.
var<workgroup> iq2_xxs_table: array<vec2<u32>, 256>;

fn load_table(lid: u32) {
    for (var i = lid; i < 256u; i += WG) {
        iq2_xxs_table[i] = iq2_xxs_grid[i];
    }
}
#endif

fn iq2_xxs_signed(magnitudes: u32, signs: u32) -> vec4<f32> {
    let flips = vec4<u32>(signs << 31u, signs << 30u, signs << 29u, signs << 28u) & vec4<u32>(0x80000000u);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(bytes_of(magnitudes)) ^ flips);
}

fn dequant8_iq2_xxs(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 8u) * 66u;
    let group = block + 2u + ((column >> 5u) & 7u) * 8u;
    let k = (column >> 3u) & 3u;
    let codeword = iq2_xxs_grid[byte_at(group + k)];
    let word = word_at_even(group + 4u);
    let seven = (word >> (7u * k)) & 127u;
    let signs = seven | ((countOneBits(seven) & 1u) << 7u);
    let d = f16_at(block) * (f32(2u * (word >> 28u) + 1u) * 0.125);
    return Weights8(d * iq2_xxs_signed(codeword.x, signs), d * iq2_xxs_signed(codeword.y, signs >> 4u));
}

#ifdef RUN_32
fn iq2_xxs_eight(d: f32, code: u32, seven: u32) -> Weights8 {
    let codeword = iq2_xxs_table[code & 255u];
    let signs = (seven & 127u) | ((countOneBits(seven & 127u) & 1u) << 7u);
    return Weights8(d * iq2_xxs_signed(codeword.x, signs), d * iq2_xxs_signed(codeword.y, signs >> 4u));
}

// A group: the four codes in one word, signs and scale in the next.
fn dequant32_iq2_xxs(row: u32, column: u32) -> Weights32 {
    let block = row + (column >> 8u) * 66u;
    let group = block + 2u + ((column >> 5u) & 7u) * 8u;
    let late = (group & 2u) != 0u;
    let w0 = w[group >> 2u];
    let w1 = w[(group >> 2u) + 1u];
    let w2 = w[(group >> 2u) + 2u];
    let codes = select(w0, (w0 >> 16u) | (w1 << 16u), late);
    let word = select(w1, (w1 >> 16u) | (w2 << 16u), late);
    let d = f16_at(block) * (f32(2u * (word >> 28u) + 1u) * 0.125);
    let e0 = iq2_xxs_eight(d, codes, word);
    let e1 = iq2_xxs_eight(d, codes >> 8u, word >> 7u);
    let e2 = iq2_xxs_eight(d, codes >> 16u, word >> 14u);
    let e3 = iq2_xxs_eight(d, codes >> 24u, word >> 21u);
    return Weights32(array(e0.a, e0.b, e1.a, e1.b, e2.a, e2.b, e3.a, e3.b));
}
#endif

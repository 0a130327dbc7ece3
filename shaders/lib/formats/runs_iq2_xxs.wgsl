// runs_iq2_xxs: IQ2_XXS for lib/formats/runs, with the codewords in workgroup memory.
// needs   WG; binding iq2_xxs_grid; lib/formats/bytes, lib/numbers/half, Halves32 of lib/formats/runs
// declares workgroup variable iq2_xxs_table
// gives   prepare_codewords(local index), before the first barrier; iq2_xxs_halves(four codeword indices, the group's word of signs and
//         scale, d in the lower half): 32 weights

// The table holds four magnitudes a word, as f16 times 2^-5. These differ in the bits of IQ2_XXS_VARYING only, so a word has room for two
// of them in place and for the other two rotated left by 8.
const IQ2_XXS_VARYING: u32 = 0x0fe00fe0u;
const IQ2_XXS_COMMON: u32 = 0x30003000u;

// Gathers from workgroup memory are faster than from a cache.
var<workgroup> iq2_xxs_table: array<vec2<u32>, 256>;

fn iq2_xxs_packed(magnitudes: u32) -> u32 {
    let four = bytes_of(magnitudes) * 0.03125;
    let last = pack2x16float(four.zw) & IQ2_XXS_VARYING;
    return (pack2x16float(four.xy) & IQ2_XXS_VARYING) | (last << 8u) | (last >> 24u);
}

fn prepare_codewords(lid: u32) {
    for (var i = lid; i < 256u; i += WG) {
        let codeword = iq2_xxs_grid[i];
        iq2_xxs_table[i] = vec2<u32>(iq2_xxs_packed(codeword.x), iq2_xxs_packed(codeword.y));
    }
}

fn iq2_xxs_halves(codes: u32, word: u32, scale: u32) -> Halves32 {
    // d is multiplied by 2^5 to make up for the magnitudes' 2^-5. That also keeps small scales normal numbers.
    let d = vec4<f16>(f16(unpack2x16float(scale).x * f32((word >> 28u) * 8u + 4u)));
    let signs = iq2_xxs_signs(word);
    var out: Halves32;
#for K 4
    let eight$K = iq2_xxs_table[(codes >> (8u * $Ku)) & 255u];
    // The first sign of these eight weights is at bit 0, 8, 1 or 9 of `signs`.
    let first$K = 8u * ($Ku & 1u) + ($Ku >> 1u);
    out[2 * $K] = d * iq2_xxs_four(eight$K.x, signs << (13u - first$K));
    out[2 * $K + 1] = d * iq2_xxs_four(eight$K.y, signs << (9u - first$K));
#end
    return out;
}

// All signs of a group. Weights 2 i and 2 i + 1, which share a word as f16, have theirs at bits p and p + 16, with p = 2 i in the first
// half of the group and 2 i - 15 in the second. One shift then moves both signs to the sign bits of the two f16.
fn iq2_xxs_signs(word: u32) -> u32 {
    // Spreads four times 7 bits over four bytes. The highest bit of each byte will be the parity of the others.
    let halves = (word & 0x00003fffu) | ((word << 2u) & 0x3fff0000u);
    let bytes = (halves & 0x007f007fu) | ((halves << 1u) & 0x7f007f00u);
    // The parity of all four bytes at once. countOneBits has a quarter of the throughput of other operations on some GPUs.
    let threes = bytes ^ (bytes << 1u) ^ (bytes << 2u);
    let parity = (bytes << 7u) ^ (threes << 1u) ^ (threes << 4u);
    let signs = bytes | (parity & 0x80808080u);
    return (signs & 0xaaaa5555u) | ((signs >> 15u) & 0x0000aaaau) | ((signs << 15u) & 0x55550000u);
}

// Four weights without scale, from a word of the table. The first two have their signs at bits 13 and 29 of `signs`, the last two at 15 and
// 31.
fn iq2_xxs_four(packed: u32, signs: u32) -> vec4<f16> {
    let own = vec2<u32>(packed, (packed >> 8u) | (packed << 24u)) & vec2<u32>(IQ2_XXS_VARYING);
    let flips = vec2<u32>(signs << 2u, signs) & vec2<u32>(0x80008000u);
    return halves_of((own | vec2<u32>(IQ2_XXS_COMMON)) ^ flips);
}

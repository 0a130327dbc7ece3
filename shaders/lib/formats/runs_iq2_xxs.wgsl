// Runs of IQ2_XXS (groups as in lib/formats/dequant_iq2_xxs) for lib/formats/runs.

// Four magnitudes in a word as f16, times 2^-5. They differ in these bits only, which leaves room for the last two, rotated left by 8.
const IQ2_XXS_OWN: u32 = 0x0fe00fe0u;
const IQ2_XXS_COMMON: u32 = 0x30003000u;

// In workgroup memory: gathers from it do not wait for a cache.
var<workgroup> iq2_xxs_table: array<vec2<u32>, 256>;

fn iq2_xxs_packed(magnitudes: u32) -> u32 {
    let four = bytes_of(magnitudes) * 0.03125;
    let last = pack2x16float(four.zw) & IQ2_XXS_OWN;
    return (pack2x16float(four.xy) & IQ2_XXS_OWN) | (last << 8u) | (last >> 24u);
}

fn prepare_codewords(lid: u32) {
    for (var i = lid; i < 256u; i += WG) {
        let codeword = iq2_xxs_grid[i];
        iq2_xxs_table[i] = vec2<u32>(iq2_xxs_packed(codeword.x), iq2_xxs_packed(codeword.y));
    }
}

// A group: codeword numbers, the word behind them, and d in the lower half of `scale`.
fn iq2_xxs_halves(codes: u32, word: u32, scale: u32) -> Halves32 {
    // Times 2^5, for the magnitudes: small scales stay normal numbers.
    let d = vec4<f16>(f16(unpack2x16float(scale).x * f32((word >> 28u) * 8u + 4u)));
    let signs = iq2_xxs_signs(word);
    var out: Halves32;
#for K 4
    let eight$K = iq2_xxs_table[(codes >> (8u * $Ku)) & 255u];
    // Its first sign is at bit 0, 8, 1 or 9 of `signs`.
    let first$K = 8u * ($Ku & 1u) + ($Ku >> 1u);
    out[2 * $K] = d * iq2_xxs_four(eight$K.x, signs << (13u - first$K));
    out[2 * $K + 1] = d * iq2_xxs_four(eight$K.y, signs << (9u - first$K));
#end
    return out;
}

// All signs of a group: those of weights 2 i and 2 i + 1, which share a word as f16, 16 bits apart at bits p and p + 16;
// p = 2 i in the first half of the group, 2 i - 15 in the second. So one shift brings both where f16 have them.
fn iq2_xxs_signs(word: u32) -> u32 {
    // Four times 7 bits to four bytes; the last bit of each is left to parity.
    let halves = (word & 0x00003fffu) | ((word << 2u) & 0x3fff0000u);
    let bytes = (halves & 0x007f007fu) | ((halves << 1u) & 0x7f007f00u);
    // Of all bytes at once, without countOneBits, which takes four times as long as other operations on some GPUs.
    let threes = bytes ^ (bytes << 1u) ^ (bytes << 2u);
    let parity = (bytes << 7u) ^ (threes << 1u) ^ (threes << 4u);
    let signs = bytes | (parity & 0x80808080u);
    return (signs & 0xaaaa5555u) | ((signs >> 15u) & 0x0000aaaau) | ((signs << 15u) & 0x55550000u);
}

// Magnitudes from a word of the table; of `signs` the last two at bits 15 and 31, the first two at 13 and 29.
fn iq2_xxs_four(packed: u32, signs: u32) -> vec4<f16> {
    let own = vec2<u32>(packed, (packed >> 8u) | (packed << 24u)) & vec2<u32>(IQ2_XXS_OWN);
    let flips = vec2<u32>(signs << 2u, signs) & vec2<u32>(0x80008000u);
    return halves_of((own | vec2<u32>(IQ2_XXS_COMMON)) ^ flips);
}

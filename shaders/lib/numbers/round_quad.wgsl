// round_quad: rounds activations to int8: blocks of 32 values with one f32 scale, the largest magnitude / 127.
// needs   subgroups of at least 8
// declares RoundedQuad
// gives   quantized_words(columns): words of a row; round_quad(four values): their codes and the scale of their block
//
// A row of C values takes 9 C / 32 words: C / 4 words of codes, then C / 32 scales. C is a multiple of 256.

fn quantized_words(columns: u32) -> u32 {
    return columns / 32u * 9u;
}

struct RoundedQuad {
    codes: u32,
    scale: f32, // scale of the quad's block
}

// Eight neighbouring invocations of a subgroup hold the quads of a block. Magnitudes are compared as bits, where NaN exceeds every number,
// so that a block with NaN or infinity gets a scale that is not finite.
fn round_quad(value: vec4<f32>) -> RoundedQuad {
    let bits = bitcast<vec4<u32>>(value) & vec4<u32>(0x7fffffffu);
    var most = max(max(bits.x, bits.y), max(bits.z, bits.w));
    most = max(most, subgroupShuffleXor(most, 1u));
    most = max(most, subgroupShuffleXor(most, 2u));
    most = max(most, subgroupShuffleXor(most, 4u));
    let largest = bitcast<f32>(most);
    // For the smallest magnitudes the division would overflow. Below 1e-30 all codes are zero.
    let inverse = select(127.0 / largest, 0.0, largest < 1e-30);
    let codes = pack4xI8(vec4<i32>(clamp(round(value * inverse), vec4<f32>(-127.0), vec4<f32>(127.0))));
    return RoundedQuad(codes, largest * (1.0 / 127.0));
}

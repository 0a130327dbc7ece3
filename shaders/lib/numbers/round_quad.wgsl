// Activations rounded to int8: blocks of 32 with one f32 scale, the largest magnitude / 127.
//
// A row of C values (a multiple of 256) takes 9 C / 32 words: C / 4 words of codes, then C / 32 scales, f32.

fn quantized_words(columns: u32) -> u32 {
    return columns / 32u * 9u;
}

struct RoundedQuad {
    codes: u32,
    scale: f32, // of the block
}

// Eight neighbouring invocations of a subgroup hold the quads of a block. The largest magnitude is found among bits, where NaN beats
// everything: a row that is not finite stays so.
fn round_quad(value: vec4<f32>) -> RoundedQuad {
    let bits = bitcast<vec4<u32>>(value) & vec4<u32>(0x7fffffffu);
    var most = max(max(bits.x, bits.y), max(bits.z, bits.w));
    most = max(most, subgroupShuffleXor(most, 1u));
    most = max(most, subgroupShuffleXor(most, 2u));
    most = max(most, subgroupShuffleXor(most, 4u));
    let largest = bitcast<f32>(most);
    // Blocks of next to nothing would overflow the division.
    let inverse = select(127.0 / largest, 0.0, largest < 1e-30);
    let codes = pack4xI8(vec4<i32>(clamp(round(value * inverse), vec4<f32>(-127.0), vec4<f32>(127.0))));
    return RoundedQuad(codes, largest * (1.0 / 127.0));
}

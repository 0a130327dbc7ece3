// dequant_mxfp4: decodes MXFP4, blocks of 32 weights in 17 bytes (FORMAT_MXFP4).
// needs   lib/formats/bytes, lib/formats/weights8
// gives   dequant8_mxfp4(byte offset of the row, column): eight weights; row_bytes_mxfp4(columns)
//
// A block is the exponent byte e, then 16 bytes with weights 0 to 15 in the low nibbles and 16 to 31 in the high ones; w = code * 2^(e -
// 127). Codes are e2m1: 0, .5, 1, 1.5, 2, 3, 4, 6 and their negatives.

fn e2m1(nibbles: vec4<u32>) -> vec4<f32> {
    let magnitude = nibbles & vec4<u32>(7u);
    // Codes from 2 on are 1, 1.5, 2, ...: their bits shifted are those of an f32. Codes 0 and 1 are 0 and 0.5.
    let normal = bitcast<vec4<f32>>((magnitude << vec4<u32>(22u)) + vec4<u32>(0x3f000000u));
    let value = select(normal, vec4<f32>(magnitude) * 0.5, magnitude < vec4<u32>(2u));
    return select(value, -value, (nibbles & vec4<u32>(8u)) != vec4<u32>(0u));
}

fn mxfp4_codes(word: u32, shift: u32) -> vec4<f32> {
    return e2m1((vec4<u32>(word, word >> 8u, word >> 16u, word >> 24u) >> vec4<u32>(shift)) & vec4<u32>(15u));
}

fn e8m0(e: u32) -> f32 {
    // 2^-127 is a subnormal f32.
    return bitcast<f32>(select(e << 23u, 0x00400000u, e == 0u));
}

fn dequant8_mxfp4(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 5u) * 17u;
    let n = column & 31u;
    let q = block + 1u + (n & 15u);
    let shift = (n >> 4u) * 4u;
    let d = e8m0(byte_at(block));
    return Weights8(d * mxfp4_codes(word_at(q), shift), d * mxfp4_codes(word_at(q + 4u), shift));
}

fn row_bytes_mxfp4(columns: u32) -> u32 {
    return columns / 32u * 17u;
}

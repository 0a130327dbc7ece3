// dequant_fp8: decodes FP8, blocks of 128 weights in 132 bytes (FORMAT_FP8).
// needs   binding w; lib/formats/weights8
// gives   dequant8_fp8(byte offset of the row, column): eight weights; row_bytes_fp8(columns)
//
// A block is the exponent byte e of the checkpoint's 128 x 128 tile, three unused bytes and 128 e4m3 codes; w = code * 2^(e - 127).
// A code is sign, 4 exponent bits (bias 7), 3 mantissa bits. With an exponent of 0 the mantissa counts steps of 2^-9.

fn e4m3(codes: vec4<u32>) -> vec4<f32> {
    let magnitude = codes & vec4<u32>(127u);
    let normal = bitcast<vec4<f32>>((magnitude << vec4<u32>(20u)) + vec4<u32>(120u << 23u));
    let value = select(normal, vec4<f32>(magnitude) * 0.001953125, magnitude < vec4<u32>(8u));
    return select(value, -value, codes > vec4<u32>(127u));
}

fn fp8_codes(word: u32) -> vec4<f32> {
    return e4m3(vec4<u32>(word, word >> 8u, word >> 16u, word >> 24u) & vec4<u32>(255u));
}

fn dequant8_fp8(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 7u) * 132u;
    let e = w[block >> 2u] & 255u;
    let d = bitcast<f32>(select(e << 23u, 0x00400000u, e == 0u));
    let q = (block + 4u + (column & 127u)) >> 2u;
    return Weights8(d * fp8_codes(w[q]), d * fp8_codes(w[q + 1u]));
}

fn row_bytes_fp8(columns: u32) -> u32 {
    return (columns + 127u) / 128u * 132u;
}

// dequant_bf16: decodes BF16, the upper half of an f32 (FORMAT_BF16).
// needs   binding w; lib/formats/weights8
// gives   dequant8_bf16(byte offset of the row, column): eight weights; row_bytes_bf16(columns)

fn bf16_pair(word: u32) -> vec2<f32> {
    return bitcast<vec2<f32>>(vec2<u32>(word << 16u, word & 0xffff0000u));
}

fn dequant8_bf16(row: u32, column: u32) -> Weights8 {
    let i = (row + column * 2u) >> 2u;
    return Weights8(vec4<f32>(bf16_pair(w[i]), bf16_pair(w[i + 1u])), vec4<f32>(bf16_pair(w[i + 2u]), bf16_pair(w[i + 3u])));
}

fn row_bytes_bf16(columns: u32) -> u32 {
    return columns * 2u;
}

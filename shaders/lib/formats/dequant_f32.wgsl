// dequant_f32: decodes F32, 4 bytes a weight (FORMAT_F32).
// needs   binding w; lib/formats/weights8
// gives   dequant8_f32(byte offset of the row, column): eight weights; row_bytes_f32(columns)

fn dequant8_f32(row: u32, column: u32) -> Weights8 {
    let i = (row >> 2u) + column;
    return Weights8(
        bitcast<vec4<f32>>(vec4<u32>(w[i], w[i + 1u], w[i + 2u], w[i + 3u])),
        bitcast<vec4<f32>>(vec4<u32>(w[i + 4u], w[i + 5u], w[i + 6u], w[i + 7u])),
    );
}

fn row_bytes_f32(columns: u32) -> u32 {
    return columns * 4u;
}

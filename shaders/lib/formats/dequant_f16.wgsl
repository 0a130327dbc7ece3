// dequant_f16: decodes F16, 2 bytes a weight (FORMAT_F16).
// needs   binding w; lib/formats/weights8
// gives   dequant8_f16(byte offset of the row, column): eight weights; row_bytes_f16(columns)
//
// Rows start at multiples of 4 bytes, because they have a multiple of 8 weights.

fn dequant8_f16(row: u32, column: u32) -> Weights8 {
    let i = (row + column * 2u) >> 2u;
    return Weights8(
        vec4<f32>(unpack2x16float(w[i]), unpack2x16float(w[i + 1u])),
        vec4<f32>(unpack2x16float(w[i + 2u]), unpack2x16float(w[i + 3u])),
    );
}

fn row_bytes_f16(columns: u32) -> u32 {
    return columns * 2u;
}

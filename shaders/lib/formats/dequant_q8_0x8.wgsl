// dequant_q8_0x8: decodes Q8_0 by eight, 256 weights in 272 bytes (FORMAT_Q8_0X8).
// needs   lib/formats/bytes, lib/formats/weights8
// gives   dequant8_q8_0x8(byte offset of the row, column): eight weights; row_bytes_q8_0x8(columns)
//
// 256 signed bytes q, then the f16 d of every 32 of them (quant/grouped.rs); w = d q. Rows start at multiples of 16 bytes.

fn scale_q8_0x8(row: u32, column: u32) -> f32 {
    return f16_at(row + (column >> 8u) * 272u + 256u + ((column >> 5u) & 7u) * 2u);
}

fn dequant8_q8_0x8(row: u32, column: u32) -> Weights8 {
    let d = scale_q8_0x8(row, column);
    let first = (row + (column >> 8u) * 272u + (column & 255u)) >> 2u;
    return Weights8(d * signed_bytes_of(w[first]), d * signed_bytes_of(w[first + 1u]));
}

fn row_bytes_q8_0x8(columns: u32) -> u32 {
    return columns / 32u * 34u;
}

// dequant_q2_k: decodes Q2_K as files store it (FORMAT_Q2_K).
// needs   lib/formats/bytes, lib/formats/weights8
// gives   dequant8_q2_k(byte offset of the row, column): eight weights; row_bytes_q2_k(columns)

#import lib/formats/q2_k

fn dequant8_q2_k(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 8u) * 84u;
    let scale = byte_at(block + ((column & 255u) >> 4u));
    return q2_k_eight(block + 16u, scale, unpack2x16float(w[(block + 80u) >> 2u]), column);
}

fn row_bytes_q2_k(columns: u32) -> u32 {
    return columns / 256u * 84u;
}

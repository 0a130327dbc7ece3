// Q2_K (FORMAT_Q2_K) as stored, eight weights at a time.
#import lib/formats/q2_k

fn dequant8_q2_k(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 8u) * 84u;
    let scale = byte_at(block + ((column & 255u) >> 4u));
    return q2_k_eight(block + 16u, scale, unpack2x16float(w[(block + 80u) >> 2u]), column);
}

fn row_bytes_q2_k(columns: u32) -> u32 {
    return columns / 256u * 84u;
}

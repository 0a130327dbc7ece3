// dequant_q2_kx4: decodes Q2_K by four (FORMAT_Q2_KX4).
// needs   lib/formats/bytes, lib/formats/weights8
// gives   dequant8_q2_kx4(byte offset of the row, column): eight weights; row_bytes_q2_kx4(columns)
//
// Four blocks together (quant/grouped.rs): their codes; their scales, with those of sub-blocks 2b + c of half a at 8a + 4c + b; d and dmin
// of each. Rows start at multiples of 16 bytes.

#import lib/formats/q2_k

fn dequant8_q2_kx4(row: u32, column: u32) -> Weights8 {
    let four = row + (column >> 10u) * 336u;
    let block = (column >> 8u) & 3u;
    let scale = byte_at(four + 256u + block * 16u + ((column >> 7u) & 1u) * 8u + ((column >> 4u) & 1u) * 4u + ((column >> 5u) & 3u));
    return q2_k_eight(four + block * 64u, scale, unpack2x16float(w[(four >> 2u) + 80u + block]), column);
}

fn row_bytes_q2_kx4(columns: u32) -> u32 {
    return columns / 256u * 84u;
}

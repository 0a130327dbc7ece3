// dequant_q8_0: decodes Q8_0, blocks of 32 weights in 34 bytes (FORMAT_Q8_0).
// needs   lib/formats/bytes, lib/formats/weights8
// gives   dequant8_q8_0(byte offset of the row, column): eight weights; row_bytes_q8_0(columns)
//
// A block is f16 d, then 32 signed bytes q; w = d q (SPEC 10.1).

fn dequant8_q8_0(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 5u) * 34u;
    let d = f16_at(block);
    let q = block + 2u + (column & 31u);
    return Weights8(d * signed_bytes_of(word_at_even(q)), d * signed_bytes_of(word_at_even(q + 4u)));
}

fn row_bytes_q8_0(columns: u32) -> u32 {
    return columns / 32u * 34u;
}

// Q8_0: 32 weights in 34 bytes: f16 d, then 32 signed bytes q; w = d q (SPEC: GGUF block layout q8_0).
fn dequant8_q8_0(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 5u) * 34u;
    let d = f16_at(block);
    let q = block + 2u + (column & 31u);
    return Weights8(d * signed_bytes_of(word_at_even(q)), d * signed_bytes_of(word_at_even(q + 4u)));
}

#ifdef RUN_32
// A whole block: nine words, whichever half of the first one it begins in.
fn dequant32_q8_0(row: u32, column: u32) -> Weights32 {
    let block = row + (column >> 5u) * 34u;
    let first = block >> 2u;
    let late = (block & 2u) != 0u;
#for I 9
    let w$I = w[first + $Iu];
#end
    let d = unpack2x16float(select(w0, w0 >> 16u, late)).x;
    return Weights32(array(
        d * signed_bytes_of(select((w0 >> 16u) | (w1 << 16u), w1, late)),
        d * signed_bytes_of(select((w1 >> 16u) | (w2 << 16u), w2, late)),
        d * signed_bytes_of(select((w2 >> 16u) | (w3 << 16u), w3, late)),
        d * signed_bytes_of(select((w3 >> 16u) | (w4 << 16u), w4, late)),
        d * signed_bytes_of(select((w4 >> 16u) | (w5 << 16u), w5, late)),
        d * signed_bytes_of(select((w5 >> 16u) | (w6 << 16u), w6, late)),
        d * signed_bytes_of(select((w6 >> 16u) | (w7 << 16u), w7, late)),
        d * signed_bytes_of(select((w7 >> 16u) | (w8 << 16u), w8, late)),
    ));
}
#endif

// Q2_K: 256 weights in 84 bytes: 16 bytes of scale and minimum nibbles, 64 bytes of 2-bit codes, f16 d, f16 dmin.
// Weight 128a + 32b + c has code (qs[32a + c] >> 2b) & 3 and sub-block s = 8a + 2b + (c >= 16); w = d (sc[s] & 15) q - dmin (sc[s] >> 4).

// `codes`: where the block's codes are; `scale`: the byte of the column's sub-block; `dm`: d and dmin.
fn q2_k_eight(codes: u32, scale: u32, dm: vec2<f32>, column: u32) -> Weights8 {
    let shift = ((column >> 5u) & 3u) * 2u;
    let d = dm.x * f32(scale & 15u);
    let least = vec4<f32>(-(dm.y * f32(scale >> 4u)));
    let q = (codes + ((column >> 7u) & 1u) * 32u + (column & 31u)) >> 2u;
    let eight = vec2<u32>(w[q], w[q + 1u]) >> vec2<u32>(shift) & vec2<u32>(0x03030303u);
    return Weights8(fma(vec4<f32>(d), bytes_of(eight.x), least), fma(vec4<f32>(d), bytes_of(eight.y), least));
}

#ifdef W_Q2_K
fn dequant8_q2_k(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 8u) * 84u;
    let scale = byte_at(block + ((column & 255u) >> 4u));
    return q2_k_eight(block + 16u, scale, unpack2x16float(w[(block + 80u) >> 2u]), column);
}
#endif

#ifdef W_Q2_KX4
// Four blocks: their codes; their scales, those of sub-blocks 2b + c of half a at 8a + 4c + b; d and dmin of each (quant/grouped.rs). Rows
// start at multiples of 16.
fn dequant8_q2_kx4(row: u32, column: u32) -> Weights8 {
    let four = row + (column >> 10u) * 336u;
    let block = (column >> 8u) & 3u;
    let scale = byte_at(four + 256u + block * 16u + ((column >> 7u) & 1u) * 8u + ((column >> 4u) & 1u) * 4u + ((column >> 5u) & 3u));
    return q2_k_eight(four + block * 64u, scale, unpack2x16float(w[(four >> 2u) + 80u + block]), column);
}
#endif

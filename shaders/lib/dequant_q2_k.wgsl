// Q2_K: 256 weights in 84 bytes: 16 bytes of scale and minimum nibbles, 64 bytes of 2-bit codes, f16 d, f16 dmin.
// Weight 128a + 32b + c has code (qs[32a + c] >> 2b) & 3 and sub-block s = 8a + 2b + (c >= 16); w = d (sc[s] & 15) q - dmin (sc[s] >> 4).
fn dequant8_q2_k(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 8u) * 84u;
    let n = column & 255u;
    let shift = ((n >> 5u) & 3u) * 2u;
    let scale = byte_at(block + (n >> 4u));
    let dm = unpack2x16float(w[(block + 80u) >> 2u]);
    let d = dm.x * f32(scale & 15u);
    let least = vec4<f32>(-(dm.y * f32(scale >> 4u)));
    let q = (block + 16u + (n >> 7u) * 32u + (n & 31u)) >> 2u;
    let codes = vec2<u32>(w[q], w[q + 1u]) >> vec2<u32>(shift) & vec2<u32>(0x03030303u);
    return Weights8(fma(vec4<f32>(d), bytes_of(codes.x), least), fma(vec4<f32>(d), bytes_of(codes.y), least));
}

// q2_k: eight neighbouring weights of Q2_K, blocks of 256 weights in 84 bytes.
// needs   binding w; lib/formats/bytes, lib/formats/weights8
// gives   q2_k_eight(byte offset of the block's codes, scale byte of the column's sub-block, (d, dmin), column)
//
// A block is 16 bytes sc of scale and minimum nibbles, 64 bytes qs of 2-bit codes, f16 d, f16 dmin. Weight 128a + 32b + c has code q =
// (qs[32a + c] >> 2b) & 3 and sub-block s = 8a + 2b + (c >= 16); w = d (sc[s] & 15) q - dmin (sc[s] >> 4).

fn q2_k_eight(codes: u32, scale: u32, dm: vec2<f32>, column: u32) -> Weights8 {
    let shift = ((column >> 5u) & 3u) * 2u;
    let d = dm.x * f32(scale & 15u);
    let least = vec4<f32>(-(dm.y * f32(scale >> 4u)));
    let q = (codes + ((column >> 7u) & 1u) * 32u + (column & 31u)) >> 2u;
    let eight = vec2<u32>(w[q], w[q + 1u]) >> vec2<u32>(shift) & vec2<u32>(0x03030303u);
    return Weights8(fma(vec4<f32>(d), bytes_of(eight.x), least), fma(vec4<f32>(d), bytes_of(eight.y), least));
}

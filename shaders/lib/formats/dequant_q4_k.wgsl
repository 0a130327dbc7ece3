// dequant_q4_k: decodes Q4_K, blocks of 256 weights in 144 bytes (FORMAT_Q4_K).
// needs   lib/formats/bytes, lib/formats/weights8
// gives   dequant8_q4_k(byte offset of the row, column): eight weights; row_bytes_q4_k(columns)
//
// A block is f16 d, f16 dmin, 12 bytes of eight 6-bit scales SC and minima MN, 128 bytes qs of 4-bit codes q.
// Weight 64a + 32b + c is the low (b = 0) or high nibble of qs[32a + c]; sub-block j = 2a + b; w = d SC[j] q - dmin MN[j].

fn dequant8_q4_k(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 8u) * 144u;
    let n = column & 255u;
    let j = n >> 5u;
    let s = block + 4u;
    var scale: u32;
    var least: u32;
    if (j < 4u) {
        scale = byte_at(s + j) & 63u;
        least = byte_at(s + j + 4u) & 63u;
    } else {
        let both = byte_at(s + j + 4u);
        scale = (both & 15u) | ((byte_at(s + j - 4u) >> 6u) << 4u);
        least = (both >> 4u) | ((byte_at(s + j) >> 6u) << 4u);
    }
    let dm = unpack2x16float(w[block >> 2u]);
    let d = vec4<f32>(dm.x * f32(scale));
    let m = vec4<f32>(-(dm.y * f32(least)));
    let q = (block + 16u + (n >> 6u) * 32u + (n & 31u)) >> 2u;
    let codes = vec2<u32>(w[q], w[q + 1u]) >> vec2<u32>((j & 1u) * 4u) & vec2<u32>(0x0f0f0f0fu);
    return Weights8(fma(d, bytes_of(codes.x), m), fma(d, bytes_of(codes.y), m));
}

fn row_bytes_q4_k(columns: u32) -> u32 {
    return columns / 256u * 144u;
}

// bytes: reads of the weight buffer at any byte offset, little-endian, and conversions of packed bytes.
// needs   binding w as array<u32>
// gives   byte_at(offset), word_at(offset); half_at, word_at_even, f16_at(even offset); bytes_of, signed_bytes_of(word): its four bytes as
//         f32

fn byte_at(i: u32) -> u32 {
    return (w[i >> 2u] >> ((i & 3u) * 8u)) & 0xffu;
}

// 16 bits at an even offset.
fn half_at(i: u32) -> u32 {
    return (w[i >> 2u] >> ((i & 2u) * 8u)) & 0xffffu;
}

// 32 bits at an even offset.
fn word_at_even(i: u32) -> u32 {
    let low = w[i >> 2u];
    if ((i & 2u) == 0u) {
        return low;
    }
    return (low >> 16u) | (w[(i >> 2u) + 1u] << 16u);
}

// 32 bits at any offset.
fn word_at(i: u32) -> u32 {
    let low = w[i >> 2u];
    let shift = (i & 3u) * 8u;
    if (shift == 0u) {
        return low;
    }
    return (low >> shift) | (w[(i >> 2u) + 1u] << (32u - shift));
}

fn f16_at(i: u32) -> f32 {
    return unpack2x16float(half_at(i)).x;
}

fn bytes_of(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4<u32>(word, word >> 8u, word >> 16u, word >> 24u) & vec4<u32>(255u));
}

fn signed_bytes_of(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}

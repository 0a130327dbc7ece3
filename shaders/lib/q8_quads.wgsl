// Rows of Q8_0 by quads of words, times x rounded to int8 (lib/quantize). Two blocks are 17 words: the first one's scale is the low half of
// word 0, the second one's the high half of word 8. As the packed x has zeros there, no word needs a mask. Rows start at multiples of 16.
// Declare w (array<u32>), w_quads (the same, array<vec4<u32>>) and x_int8 (array<vec4<u32>>) first.

struct Quad {
    words: vec4<u32>,
    scales: vec2<f32>, // of the block of the first word, and of the one that follows
    block: u32,        // of the first word
    border: u32,       // the first word of the following block; 4: there is none
}

// `row`: byte offset in w; a quad behind the row's end counts as the last one with scales of zero.
fn load_quad(row: u32, quad: u32, quads: u32) -> Quad {
    let at = min(quad, quads - 1u);
    let pair = at * 4u / 17u;
    let word = at * 4u - pair * 17u;
    let is_second = word >= 9u;
    let words = w_quads[(row >> 4u) + at];
    let own = w[(row >> 2u) + pair * 17u + select(0u, 8u, is_second)] >> select(0u, 16u, is_second);
    let border = min(select(9u, 17u, is_second) - word, 4u);
    // The following block's scale is in this quad: in its first word, or in the high half of the word before.
    let next = select(words[max(border, 1u) - 1u] >> 16u, words[min(border, 3u)], is_second);
    let exists = vec2<bool>(quad < quads, quad < quads && border < 4u);
    let scales = vec2<f32>(unpack2x16float(own).x, unpack2x16float(next).x);
    return Quad(words, select(vec2<f32>(0.0), scales, exists), pair * 2u + u32(is_second), border);
}

// `sum` and the quad's products. `codes`: where the row of x begins, in quads; `scale`: its scales, in words.
fn add_quad(quad: Quad, at: u32, codes: u32, scale: u32, sum: f32) -> f32 {
    let values = x_int8[codes + at];
    let dots = vec4<i32>(
        dot4I8Packed(quad.words.x, values.x),
        dot4I8Packed(quad.words.y, values.y),
        dot4I8Packed(quad.words.z, values.z),
        dot4I8Packed(quad.words.w, values.w),
    );
    let all = dots.x + dots.y + dots.z + dots.w;
    let mine = select(vec3<i32>(0), dots.yzw, vec3<u32>(quad.border) > vec3<u32>(1u, 2u, 3u));
    let own = dots.x + mine.x + mine.y + mine.z;
    let i = scale + quad.block;
    let n = i + u32(quad.border < 4u);
    let scale_own = quad.scales.x * bitcast<f32>(x_int8[i >> 2u][i & 3u]);
    let scale_next = quad.scales.y * bitcast<f32>(x_int8[n >> 2u][n & 3u]);
    return fma(f32(all - own), scale_next, fma(f32(own), scale_own, sum));
}

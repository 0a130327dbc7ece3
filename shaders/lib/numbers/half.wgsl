// f16 has no room beyond 65504; what is larger saturates instead of becoming infinite.
fn to_half(values: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(clamp(values, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
}

// Four f16 as they lie in two words.
fn halves_of(words: vec2<u32>) -> vec4<f16> {
    return vec4<f16>(vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)));
}

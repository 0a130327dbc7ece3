// half: conversions to f16. Values beyond its largest, 65504, saturate and do not become infinite.
// needs   flag F16
// gives   to_half(four values), halves_of(two words with four f16)

fn to_half(values: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(clamp(values, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
}

fn halves_of(words: vec2<u32>) -> vec4<f16> {
    return vec4<f16>(vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)));
}

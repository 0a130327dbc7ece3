// f16 has no room beyond 65504; what is larger saturates instead of becoming infinite.
fn to_half(values: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(clamp(values, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
}

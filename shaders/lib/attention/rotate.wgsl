// RoPE on one pair of neighbouring channels; `angle` is (cos, sin). The inverse turns by the conjugate.

fn rotate(pair: vec2<f32>, angle: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(fma(pair.x, angle.x, -(pair.y * angle.y)), fma(pair.x, angle.y, pair.y * angle.x));
}

fn rotate_back(pair: vec2<f32>, angle: vec2<f32>) -> vec2<f32> {
    return rotate(pair, vec2<f32>(angle.x, -angle.y));
}

// rotate: RoPE on one pair of neighbouring channels, and its inverse, which rotates by the conjugate.
// needs   nothing
// gives   rotate(pair, (cos, sin) of the angle), rotate_back(the same)

fn rotate(pair: vec2<f32>, angle: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(fma(pair.x, angle.x, -(pair.y * angle.y)), fma(pair.x, angle.y, pair.y * angle.x));
}

fn rotate_back(pair: vec2<f32>, angle: vec2<f32>) -> vec2<f32> {
    return rotate(pair, vec2<f32>(angle.x, -angle.y));
}

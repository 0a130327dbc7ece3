//! Rotary positions: pairs of neighbouring channels among the last R are rotated by the angles of a position (SPEC 2.2).

/// Rotates the last channels of one head. `angles`: (cosine, sine) of each pair.
pub fn rotate(head: &mut [f32], angles: &[(f32, f32)]) {
    rotate_pairs(head, angles, 1.0);
}

/// Rotates the last channels of one head by the negative angles, which undoes [`rotate`].
pub fn rotate_back(head: &mut [f32], angles: &[(f32, f32)]) {
    rotate_pairs(head, angles, -1.0);
}

fn rotate_pairs(head: &mut [f32], angles: &[(f32, f32)], direction: f64) {
    let plain = head.len() - 2 * angles.len();
    for (pair, &(cos, sin)) in head[plain..].chunks_exact_mut(2).zip(angles) {
        let (even, odd) = (f64::from(pair[0]), f64::from(pair[1]));
        let (cos, sin) = (f64::from(cos), direction * f64::from(sin));
        pair[0] = (even * cos - odd * sin) as f32;
        pair[1] = (even * sin + odd * cos) as f32;
    }
}

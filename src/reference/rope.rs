//! Rotary positions: neighbouring channels of the last R are turned by their position's angles (SPEC 2.2).

/// Rotates the last channels of one head forwards.
pub fn rotate(head: &mut [f32], angles: &[(f32, f32)]) {
    turn(head, angles, 1.0);
}

/// Rotates them back.
pub fn rotate_back(head: &mut [f32], angles: &[(f32, f32)]) {
    turn(head, angles, -1.0);
}

fn turn(head: &mut [f32], angles: &[(f32, f32)], direction: f64) {
    let plain = head.len() - 2 * angles.len();
    for (pair, &(cos, sin)) in head[plain..].chunks_exact_mut(2).zip(angles) {
        let (even, odd) = (f64::from(pair[0]), f64::from(pair[1]));
        let (cos, sin) = (f64::from(cos), direction * f64::from(sin));
        pair[0] = (even * cos - odd * sin) as f32;
        pair[1] = (even * sin + odd * cos) as f32;
    }
}

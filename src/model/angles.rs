//! Rotation angles, computed in f32 as in the released code (SPEC 2.2).

use super::RopeFrequencies;

/// (cosine, sine) of position * frequency for each of the R/2 pairs. The product is rounded to f32; cosine and sine are computed in f64
/// and rounded once.
pub fn angles(position: u32, frequencies: &RopeFrequencies) -> Vec<(f32, f32)> {
    frequencies
        .iter()
        .map(|&frequency| {
            let angle = f64::from(position as f32 * frequency);
            (angle.cos() as f32, angle.sin() as f32)
        })
        .collect()
}

//! Rotation angles, formed in f32 as the released code forms them (SPEC 2.2).

use super::RopeFrequencies;

/// cos and sin of position * frequency for each pair: (R/2) of each. The product is f32, its cosine and sine are not rounded before.
pub fn angles(position: u32, frequencies: &RopeFrequencies) -> Vec<(f32, f32)> {
    frequencies
        .iter()
        .map(|&frequency| {
            let angle = f64::from(position as f32 * frequency);
            (angle.cos() as f32, angle.sin() as f32)
        })
        .collect()
}

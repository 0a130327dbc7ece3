//! Activations rounded to int8, which is the input of the int8 kernels.

/// Values that share a scale.
const BLOCK: usize = 32;

/// Codes and scales of `x`, in blocks of 32. The scale is the largest magnitude / 127; a value is nearest to its code times the scale.
pub fn quantize(x: &[f32]) -> (Vec<i8>, Vec<f32>) {
    let mut codes = Vec::with_capacity(x.len());
    let mut scales = Vec::with_capacity(x.len() / BLOCK);
    for block in x.chunks(BLOCK) {
        let largest = block.iter().fold(0f32, |most, v| most.max(v.abs()));
        let inverse = if largest < 1e-30 { 0.0 } else { 127.0 / largest };
        codes.extend(block.iter().map(|v| (v * inverse).round_ties_even() as i8));
        scales.push(largest * (1.0 / 127.0));
    }
    (codes, scales)
}

/// `x` rounded to int8 codes and decoded again.
pub fn rounded(x: &[f32]) -> Vec<f32> {
    let (codes, scales) = quantize(x);
    codes.chunks(BLOCK).zip(scales).flat_map(|(codes, scale)| codes.iter().map(move |&code| f32::from(code) * scale)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_keeps_the_largest_value_and_is_off_by_half_a_step_at_most() {
        let x: Vec<f32> = (0..96).map(|i| if i < 64 { (i as f32 * 0.7).sin() * (1 + i / 32) as f32 } else { 0.0 }).collect();
        for (block, decoded) in x.chunks(32).zip(rounded(&x).chunks(32)) {
            let largest = block.iter().fold(0f32, |most, v| most.max(v.abs()));
            for (a, b) in block.iter().zip(decoded) {
                assert!((a - b).abs() <= largest / 127.0 * 0.5001, "{a} became {b}");
                assert!(a.abs() < largest || (a - b).abs() <= largest * 1e-6);
            }
        }
    }
}

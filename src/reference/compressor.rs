//! Compressed rows (SPEC 3.2).

/// The values and gates that one window pools: a row of `dim` channels for each of its tokens.
#[derive(Clone, Debug, Default)]
pub struct Candidates<'a> {
    /// Values.
    pub values: Vec<&'a [f32]>,
    /// Gates with the position bias `ape` added.
    pub gates: Vec<Vec<f32>>,
}

/// The sum of the values, weighted in each channel by the softmax of the gates. -> (dim).
pub fn pool(candidates: &Candidates<'_>) -> Vec<f32> {
    let dim = candidates.values.first().map_or(0, |v| v.len());
    (0..dim)
        .map(|d| {
            let gates = candidates.gates.iter().map(|g| f64::from(g[d]));
            let most = gates.clone().fold(f64::NEG_INFINITY, f64::max);
            let (mut total, mut sum) = (0.0, 0.0);
            for (gate, value) in gates.zip(&candidates.values) {
                let share = (gate - most).exp();
                total += share;
                sum += share * f64::from(value[d]);
            }
            (sum / total) as f32
        })
        .collect()
}

//! The router: the experts that a row uses, and the weight of each (SPEC 3.5 (steps 1, 2, 3)).

/// How a layer chooses the experts of a row.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'a> {
    /// The experts with the highest score + bias (E). The bias affects the choice and not the weights.
    Scored(&'a [f32]),
    /// The experts that a table names for the token.
    Named(&'a [u32]),
}

/// The experts of one row, and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Routed {
    /// Numbers of the experts, best first.
    pub experts: Vec<u32>,
    /// Weights of the experts, in the same order.
    pub weights: Vec<f32>,
}

/// sqrt(softplus(logit)).
pub fn score(logit: f32) -> f64 {
    let z = f64::from(logit);
    (z.max(0.0) + (-z.abs()).exp().ln_1p()).sqrt()
}

/// The order of selection of indices: higher values first, NaN last, and of equal values the lower index first.
pub fn by_value(values: &[f32]) -> impl Fn(&u32, &u32) -> std::cmp::Ordering + '_ {
    let key = |i: u32| {
        let v = values[i as usize];
        // The same total order as in the shaders: NaN below everything, +0 above -0.
        if v.is_nan() {
            0
        } else if v.is_sign_negative() {
            !v.to_bits()
        } else {
            v.to_bits() | 1 << 31
        }
    };
    move |&a, &b| key(b).cmp(&key(a)).then(a.cmp(&b))
}

/// The `used` experts of one row. `scale` multiplies their weights, whose sum is 1 before. logits (E).
pub fn router(logits: &[f32], choice: Choice<'_>, used: usize, scale: f32) -> Routed {
    let scores: Vec<f64> = logits.iter().map(|&l| score(l)).collect();
    let experts = match choice {
        Choice::Scored(bias) => {
            let keys: Vec<f32> = scores.iter().zip(bias).map(|(&s, &b)| (s + f64::from(b)) as f32).collect();
            let mut order: Vec<u32> = (0..logits.len() as u32).collect();
            order.sort_by(by_value(&keys));
            order.truncate(used);
            order
        }
        Choice::Named(named) => named.to_vec(),
    };
    let total: f64 = experts.iter().map(|&e| scores[e as usize]).sum::<f64>() + 1e-20;
    let weights = experts.iter().map(|&e| (scores[e as usize] / total * f64::from(scale)) as f32).collect();
    Routed { experts, weights }
}

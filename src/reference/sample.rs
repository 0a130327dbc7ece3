//! Sampling: the most likely token, or a seeded draw after temperature, top-k, top-p and min-p, in that order.

use super::router::by_value;
use crate::model::Sampling;

/// Threefry-2x32 with 20 rounds (Salmon et al. 2011).
fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
    let schedule = [key[0], key[1], 0x1bd1_1bda ^ key[0] ^ key[1]];
    let mut x = [counter[0].wrapping_add(key[0]), counter[1].wrapping_add(key[1])];
    for round in 0..20 {
        x[0] = x[0].wrapping_add(x[1]);
        x[1] = x[1].rotate_left(ROTATIONS[round % 8]) ^ x[0];
        if round % 4 == 3 {
            let i = round / 4 + 1;
            x[0] = x[0].wrapping_add(schedule[i % 3]);
            x[1] = x[1].wrapping_add(schedule[(i + 1) % 3]).wrapping_add(i as u32);
        }
    }
    x
}

/// A random number, uniform in [0, 1), that depends on seed and position alone.
pub fn uniform_draw(seed: u64, position: u32) -> f32 {
    let bits = threefry([seed as u32, (seed >> 32) as u32], [position, 0])[0] >> 8;
    bits as f32 / (1 << 24) as f32
}

/// Chooses the token after `position` among those whose bit is set in `allowed`. `None` where no token is allowed.
pub fn sample(logits: &[f32], sampling: &Sampling, position: u32, allowed: Option<&[u32]>) -> Option<u32> {
    let permitted = |i: &u32| allowed.is_none_or(|mask| mask[*i as usize / 32] >> (i % 32) & 1 == 1);
    let mut order: Vec<u32> = (0..logits.len() as u32).filter(permitted).collect();
    order.sort_by(by_value(logits));
    let best = *order.first()?;
    if sampling.temperature == 0.0 {
        return Some(best);
    }
    let likelihood = |&i: &u32| (f64::from(logits[i as usize] - logits[best as usize]) / f64::from(sampling.temperature)).exp();
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k as usize);
    }
    if sampling.top_p < 1.0 {
        let target = order.iter().map(likelihood).sum::<f64>() * f64::from(sampling.top_p);
        let mut mass = 0.0;
        let kept = order.iter().take_while(|i| {
            let more = mass < target;
            mass += likelihood(i);
            more
        });
        order.truncate(kept.count().max(1));
    }
    order.retain(|i| likelihood(i) >= f64::from(sampling.min_p));
    // The kernel sums in the order of token ids.
    order.sort_unstable();
    let goal = f64::from(uniform_draw(sampling.seed, position)) * order.iter().map(likelihood).sum::<f64>();
    let mut sum = 0.0;
    let drawn = order.iter().find(|i| {
        sum += likelihood(i);
        goal < sum
    });
    drawn.or(order.last()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threefry_gives_the_published_answers() {
        // Known-answer vectors of the Random123 library for threefry2x32 with 20 rounds.
        assert_eq!(threefry([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry([u32::MAX; 2], [u32::MAX; 2]), [0x1cb9_96fc, 0xbb00_2be7]);
        assert_eq!(threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]), [0xc492_3a9c, 0x483d_f7a0]);
    }

    #[test]
    fn filters_narrow_the_choice() {
        let logits = [0.0, 3.0, 2.0, 1.0, f32::NEG_INFINITY];
        let drawn = |sampling: Sampling, allowed: Option<&[u32]>| {
            let mut seen: Vec<u32> = (0..4000).filter_map(|p| sample(&logits, &sampling, p, allowed)).collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        let warm = Sampling { temperature: 1.0, ..Sampling::GREEDY };
        assert_eq!(drawn(Sampling::GREEDY, None), [1]);
        assert_eq!(drawn(warm, None), [0, 1, 2, 3]);
        assert_eq!(drawn(Sampling { top_k: 2, ..warm }, None), [1, 2]);
        // The probabilities of tokens 1, 2, 3 and 0 are 0.644, 0.237, 0.087 and 0.032.
        assert_eq!(drawn(Sampling { top_p: 0.64, ..warm }, None), [1]);
        assert_eq!(drawn(Sampling { top_p: 0.9, ..warm }, None), [1, 2, 3]);
        assert_eq!(drawn(Sampling { min_p: 0.2, ..warm }, None), [1, 2]);
        assert_eq!(drawn(warm, Some(&[0b01001])), [0, 3]);
        assert_eq!(sample(&logits, &warm, 0, Some(&[0])), None);
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [0.0, 1.0, 2.0];
        let sampling = Sampling { temperature: 0.5, seed: 7, ..Sampling::GREEDY };
        let mut counts = [0f64; 3];
        for position in 0..20_000 {
            counts[sample(&logits, &sampling, position, None).unwrap() as usize] += 1.0 / 20_000.0;
        }
        let total: f64 = logits.iter().map(|l| (2.0 * f64::from(*l)).exp()).sum();
        for (count, logit) in counts.iter().zip(logits) {
            // Three standard deviations of 20,000 draws are at most 0.011.
            assert!((count - (2.0 * f64::from(logit)).exp() / total).abs() < 0.011, "{counts:?}");
        }
    }
}

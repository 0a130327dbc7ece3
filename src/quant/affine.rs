//! The search that Q2_K and Q4_K share: it finds scale and minimum of each sub-block, and the two f16 scales of those.
//!
//! A value of sub-block j is (d * scale_j) * q - (m * minimum_j) with small integers scale_j, minimum_j and q. Two steps alternate to
//! reduce the weighted squared error. The first keeps d and m, and each sub-block tries the integers next to its present ones. The second
//! keeps the integers and solves for d and m, which is least squares in two unknowns. This descent ends in a local minimum, so it runs
//! from several starting points.

use half::f16;

/// Values of a block of both formats.
pub(super) const VALUES: usize = 256;

/// A quantised block before packing.
pub(super) struct Fit<const SUBS: usize> {
    pub d: f16,
    pub m: f16,
    pub scales: [u8; SUBS],
    pub minima: [u8; SUBS],
    pub codes: [u8; VALUES],
}

/// Weighted sums over a sub-block with values x, weights w and codes q. Both least-squares solutions follow from them.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Sum of w.
    w: f32,
    /// Sum of w q.
    q: f32,
    /// Sum of w q^2.
    qq: f32,
    /// Sum of w x.
    x: f32,
    /// Sum of w x q.
    xq: f32,
}

/// Integers of a sub-block, kept as f32, and the weighted squared error that they lead to.
#[derive(Clone, Copy, Default)]
struct Choice {
    scale: f32,
    minimum: f32,
    error: f32,
}

/// 1.5 * 2^23: adding and subtracting it rounds a small f32 to the nearest integer. Unlike `round`, every CPU can do that in vector
/// registers.
const ROUND: f32 = 12_582_912.0;

/// The code nearest to (x + offset) / step within 0..=TOP, as f32. `inverse` is 1 / step.
#[inline(always)]
fn code<const TOP: u8>(x: f32, offset: f32, inverse: f32) -> f32 {
    // Comparisons instead of `max` and `min`: those handle NaN, which costs as much as the rest of the function.
    let real = (x + offset) * inverse;
    let positive = if real > 0.0 { real } else { 0.0 };
    let within = if positive < f32::from(TOP) { positive } else { f32::from(TOP) };
    (within + ROUND) - ROUND
}

fn inverse(step: f32) -> f32 {
    if step > 0.0 { 1.0 / step } else { 0.0 }
}

/// Sum of the terms, in eight running sums so that the compiler can use vector registers.
#[inline(always)]
fn total<const LEN: usize>(terms: [f32; LEN]) -> f32 {
    let mut s = [0.0f32; 8];
    for terms in terms.as_chunks::<8>().0 {
        s.iter_mut().zip(terms).for_each(|(s, t)| *s += t);
    }
    ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]))
}

/// Weighted squared error of a sub-block with the nearest codes for this step and offset.
#[inline(always)]
fn error<const LEN: usize, const TOP: u8>(values: &[f32; LEN], weights: &[f32; LEN], step: f32, offset: f32) -> f32 {
    let inverse = inverse(step);
    let mut terms = [0.0f32; LEN];
    for i in 0..LEN {
        let off = values[i] + offset - step * code::<TOP>(values[i], offset, inverse);
        terms[i] = weights[i] * off * off;
    }
    total(terms)
}

#[inline(always)]
fn sums<const LEN: usize, const TOP: u8>(values: &[f32; LEN], weights: &[f32; LEN], step: f32, offset: f32) -> Sums {
    let inverse = inverse(step);
    let [mut sw, mut sq, mut sqq, mut sx, mut sxq] = [[0.0f32; 8]; 5];
    for (x, w) in values.as_chunks::<8>().0.iter().zip(weights.as_chunks::<8>().0) {
        for i in 0..8 {
            let q = code::<TOP>(x[i], offset, inverse);
            let (wq, wx) = (w[i] * q, w[i] * x[i]);
            sw[i] += w[i];
            sq[i] += wq;
            sqq[i] += wq * q;
            sx[i] += wx;
            sxq[i] += wx * q;
        }
    }
    Sums { w: total(sw), q: total(sq), qq: total(sqq), x: total(sx), xq: total(sxq) }
}

/// Step and offset of one sub-block that give a small error, before either is rounded to what the format can express.
#[inline(always)]
fn real<const LEN: usize, const TOP: u8>(values: &[f32; LEN], weights: &[f32; LEN]) -> (f32, f32) {
    let low = values.iter().fold(0.0f32, |a, &x| a.min(x));
    let high = values.iter().fold(low, |a, &x| a.max(x));
    let mut best = (0.0, -low, f32::INFINITY);
    for (below, above) in STARTS {
        let (mut step, mut offset) = ((high * above - low * below) / f32::from(TOP), -low * below);
        for _ in 0..2 {
            let found = error::<LEN, TOP>(values, weights, step, offset);
            if found < best.2 {
                best = (step, offset, found);
            }
            let s = sums::<LEN, TOP>(values, weights, step, offset);
            let determinant = s.w * s.qq - s.q * s.q;
            if determinant > 0.0 {
                step = (s.w * s.xq - s.q * s.x) / determinant;
                offset = (step * s.q - s.x) / s.w;
            }
            if offset < 0.0 && s.qq > 0.0 {
                (step, offset) = (s.xq / s.qq, 0.0);
            }
        }
        let found = error::<LEN, TOP>(values, weights, step, offset);
        if found < best.2 {
            best = (step, offset, found);
        }
    }
    (best.0, best.1)
}

/// Starting points of a sub-block: the fractions of its range below and above zero that the codes span at first.
const STARTS: [(f32, f32); 7] = [(1.0, 1.0), (0.9, 0.9), (0.8, 0.8), (0.7, 0.7), (0.9, 0.7), (0.7, 0.9), (0.55, 0.55)];

/// Starting points of a block: the fractions of the largest step and of the largest offset that d and m can express at first.
const SPANS: [(f32, f32); 3] = [(1.0, 1.0), (0.93, 0.93), (0.86, 0.86)];

/// Rounds of the descent from each starting point.
const TURNS: usize = 3;

/// Quantises a block of 256 values in SUBS sub-blocks of LEN; codes are 0..=TOP, scales and minima 0..=MAX.
/// No weight is negative, and at least one is positive.
#[inline(always)]
pub(super) fn fit<const SUBS: usize, const LEN: usize, const TOP: u8, const MAX: u8>(
    values: &[f32; VALUES],
    weights: &[f32; VALUES],
) -> Fit<SUBS> {
    const { assert!(SUBS * LEN == VALUES) }
    let (values, weights) = (values.as_chunks::<LEN>().0, weights.as_chunks::<LEN>().0);
    let sub = |j: usize| (&values[j], &weights[j]);
    let mut reals = [(0.0f32, 0.0f32); SUBS];
    for (j, real_) in reals.iter_mut().enumerate() {
        let (x, w) = sub(j);
        *real_ = real::<LEN, TOP>(x, w);
    }
    let most = |pick: fn(&(f32, f32)) -> f32| reals.iter().map(pick).fold(0.0, f32::max) / f32::from(MAX);
    let (d_most, m_most) = (most(|r| r.0), most(|r| r.1));

    let mut best = (f32::INFINITY, 0.0f32, 0.0f32, [Choice::default(); SUBS]);
    for (d_span, m_span) in SPANS {
        let (mut d, mut m) = (to_half(d_most * d_span), to_half(m_most * m_span));
        let nearest = |x: f32, unit: f32| (x * inverse(unit)).round().min(f32::from(MAX));
        let mut choices = reals.map(|(step, offset)| Choice { scale: nearest(step, d), minimum: nearest(offset, m), error: 0.0 });
        for turn in 0..TURNS {
            let mut total = 0.0;
            for (j, choice) in choices.iter_mut().enumerate() {
                let (x, w) = sub(j);
                *choice = neighbours::<LEN, TOP, MAX>(x, w, d, m, *choice);
                total += choice.error;
            }
            if total < best.0 {
                best = (total, d, m, choices);
            }
            if turn + 1 < TURNS {
                (d, m) = scales::<SUBS, LEN, TOP>(values, weights, d, m, &choices);
            }
        }
    }

    let (_, d, m, choices) = best;
    let mut codes = [0; VALUES];
    for (j, choice) in choices.iter().enumerate() {
        let (step, offset) = (d * choice.scale, m * choice.minimum);
        let inverse = inverse(step);
        for (code_, &x) in codes[j * LEN..(j + 1) * LEN].iter_mut().zip(sub(j).0) {
            *code_ = code::<TOP>(x, offset, inverse) as u8;
        }
    }
    Fit {
        d: f16::from_f32(d),
        m: f16::from_f32(m),
        scales: choices.map(|c| c.scale as u8),
        minima: choices.map(|c| c.minimum as u8),
        codes,
    }
}

/// The best integers of a sub-block for `d` and `m`: moves from `choice` to the best neighbour as long as the error falls.
#[inline(always)]
fn neighbours<const LEN: usize, const TOP: u8, const MAX: u8>(
    values: &[f32; LEN],
    weights: &[f32; LEN],
    d: f32,
    m: f32,
    choice: Choice,
) -> Choice {
    let at = |scale: f32, minimum: f32| Choice { scale, minimum, error: error::<LEN, TOP>(values, weights, d * scale, m * minimum) };
    let mut best = at(choice.scale, choice.minimum);
    loop {
        let centre = best;
        for (ds, dm) in [(-1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (1.0, 0.0), (-1.0, -1.0), (1.0, 1.0)] {
            let (scale, minimum) = (centre.scale + ds, centre.minimum + dm);
            if scale.min(minimum) < 0.0 || scale.max(minimum) > f32::from(MAX) {
                continue;
            }
            let found = at(scale, minimum);
            if found.error < best.error {
                best = found;
            }
        }
        if best.error >= centre.error {
            return best;
        }
    }
}

/// New d and m by least squares, for the integers in `choices` and the codes that the present `d` and `m` give with them.
#[inline(always)]
fn scales<const SUBS: usize, const LEN: usize, const TOP: u8>(
    values: &[[f32; LEN]],
    weights: &[[f32; LEN]],
    d: f32,
    m: f32,
    choices: &[Choice; SUBS],
) -> (f32, f32) {
    let (mut aa, mut ac, mut cc, mut xa, mut xc) = (0.0f64, 0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for (j, choice) in choices.iter().enumerate() {
        let s = sums::<LEN, TOP>(&values[j], &weights[j], d * choice.scale, m * choice.minimum);
        let (scale, minimum) = (f64::from(choice.scale), f64::from(choice.minimum));
        aa += scale * scale * f64::from(s.qq);
        ac += scale * minimum * f64::from(s.q);
        cc += minimum * minimum * f64::from(s.w);
        xa += scale * f64::from(s.xq);
        xc += minimum * f64::from(s.x);
    }
    let determinant = aa * cc - ac * ac;
    let (d_new, m_new) = if determinant > 1e-9 * aa * cc {
        ((xa * cc - ac * xc) / determinant, (ac * xa - aa * xc) / determinant)
    } else if aa > 0.0 {
        (xa / aa, f64::from(m))
    } else {
        (f64::from(d), f64::from(m))
    };
    (to_half(d_new.max(0.0) as f32), to_half(m_new.max(0.0) as f32))
}

/// The f16 value nearest to `value`. Values above the largest f16 become the largest f16.
pub(super) fn to_half(value: f32) -> f32 {
    f16::from_f32(value.min(65504.0)).to_f32()
}

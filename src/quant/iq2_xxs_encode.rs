//! Quantising to IQ2_XXS: the search for codewords, signs and scales with a small weighted squared error.
//!
//! Eight values x with weights w get a codeword g and an even number of minus signs. For group scale s the weighted squared error is
//! sum w x^2 - s I + s^2 B with I = 2 sum w |x| g and B = sum w g^2. Where x has an odd number of minus signs, one sign must be wrong;
//! the cheapest choice makes I smaller by 4 min w |x| g. I and B do not depend on s, so they are computed once for all 256 codewords, and
//! any group scale then costs two operations a codeword.
//!
//! The search first keeps the best codewords at a few scales ([`LADDER`]). With these candidates alone it finds the scale d of the block
//! and the four-bit scales of the groups, then it chooses among all codewords for these scales.

use super::GRID;
use super::affine::to_half;
use super::iq2_xxs::{BYTES, VALUES};
use half::f16;
use multiversion::multiversion;

/// Magnitudes of all codewords, by place within the codeword.
static MAGNITUDES: [[f32; 256]; 8] = {
    let mut out = [[0.0; 256]; 8];
    let mut c = 0;
    while c < 256 {
        let word = GRID[c].to_le_bytes();
        let mut i = 0;
        while i < 8 {
            out[i][c] = word[i] as f32;
            i += 1;
        }
        c += 1;
    }
    out
};

/// Group scales whose best codewords become candidates, as multiples of the scale at which typical codewords are as large as the values.
const LADDER: [f32; 8] = [0.6, 0.7, 0.8, 0.9, 1.0, 1.13, 1.28, 1.5];

/// Typical magnitude in a codeword, between the mean of the table (18.9) and its root mean square (23.1).
const TYPICAL: f32 = 21.0;

/// Number of values that are tried for d. The first one puts the four-bit scale of the largest group at 15.75, slightly above what it can
/// be, the last one at 10.875.
const D_STEPS: usize = 14;

/// I and B of each codeword for eight values: the error at any group scale is a line in I and B.
struct Lines {
    i: [f32; 256],
    b: [f32; 256],
}

impl Lines {
    #[inline(always)]
    fn new(values: &[f32; 8], weights: &[f32; 8]) -> Self {
        let mut out = Self { i: [0.0; 256], b: [0.0; 256] };
        let mut least = [f32::INFINITY; 256];
        for (place, (x, &w)) in MAGNITUDES.iter().zip(values.iter().zip(weights)) {
            let wx = w * x.abs();
            for c in 0..256 {
                let g = place[c];
                let product = wx * g;
                out.i[c] += product;
                out.b[c] += w * (g * g);
                least[c] = if product < least[c] { product } else { least[c] };
            }
        }
        let odd = values.iter().filter(|x| **x < 0.0).count() % 2 == 1;
        let penalty = if odd { 4.0 } else { 0.0 };
        for (i, least) in out.i.iter_mut().zip(least) {
            *i = 2.0 * *i - penalty * least;
        }
        out
    }

    /// The codeword with the least s B - I for the group scale s.
    ///
    /// The number of a codeword replaces the lowest eight bits of its cost, so that the minimum of the costs also names the codeword. Costs
    /// that differ by less than a relative 2^-15 count as equal.
    #[inline(always)]
    fn best(&self, scale: f32) -> usize {
        let mut costs = [0.0f32; 256];
        for (c, (cost, (b, i))) in costs.iter_mut().zip(self.b.iter().zip(&self.i)).enumerate() {
            *cost = f32::from_bits(((scale * b - i).to_bits() & !255) | c as u32);
        }
        let mut least = [f32::INFINITY; 16];
        for costs in costs.as_chunks::<16>().0 {
            for (least, &cost) in least.iter_mut().zip(costs) {
                *least = if cost < *least { cost } else { *least };
            }
        }
        (least.into_iter().fold(f32::INFINITY, f32::min).to_bits() & 255) as usize
    }
}

/// Candidates of a group: for each of its four codewords, I and B of the best codeword at each scale of [`LADDER`].
type Candidates = [[(f32, f32); LADDER.len()]; 4];

/// Error of a group at a group scale, without the constant sum w x^2.
#[inline(always)]
fn cost(candidates: &Candidates, scale: f32) -> f32 {
    let least = |codewords: &[(f32, f32); LADDER.len()]| codewords.iter().fold(f32::INFINITY, |a, &(i, b)| a.min(scale * b - i));
    scale * candidates.iter().map(least).sum::<f32>()
}

/// Quantises whole blocks so that the weighted squared error is small. No weight is negative, and each block has a positive one.
pub(super) fn encode(values: &[f32], weights: &[f32], out: &mut [u8]) {
    let rows = values.as_chunks::<VALUES>().0.iter().zip(weights.as_chunks::<VALUES>().0);
    for (block, (values, weights)) in out.as_chunks_mut::<BYTES>().0.iter_mut().zip(rows) {
        encode_block(values, weights, block);
    }
}

#[multiversion(targets("x86_64+avx+avx2"))]
fn encode_block(values: &[f32; VALUES], weights: &[f32; VALUES], block: &mut [u8; BYTES]) {
    let mut lines = Vec::with_capacity(32);
    let mut groups = [[[(0.0, 0.0); LADDER.len()]; 4]; 8];
    let mut centres = [0.0f32; 8];
    for (j, (x, w)) in values.as_chunks::<32>().0.iter().zip(weights.as_chunks::<32>().0).enumerate() {
        let (power, weight) = x.iter().zip(w).fold((0.0, 0.0), |(p, s), (x, w)| (p + w * x * x, s + w));
        let reference = if weight > 0.0 { (power / weight).sqrt() / TYPICAL } else { 0.0 };
        for (k, (x, w)) in x.as_chunks::<8>().0.iter().zip(w.as_chunks::<8>().0).enumerate() {
            let eight = Lines::new(x, w);
            groups[j][k] = LADDER.map(|step| {
                let c = eight.best(reference * step);
                (eight.i[c], eight.b[c])
            });
            lines.push(eight);
        }
        let at = |step: &f32| cost(&groups[j], reference * step);
        centres[j] = reference * LADDER.iter().copied().min_by(|a, b| at(a).total_cmp(&at(b))).unwrap_or(1.0);
    }

    let largest = centres.iter().fold(0.0f32, |a, &b| a.max(b));
    let mut best = (0.0f32, 0.0f32, [0u8; 8]);
    for step in 0..D_STEPS {
        let d = to_half(largest * 8.0 / (32.5 - 0.75 * step as f32));
        let found = scales(&groups, &centres, d);
        if found.0 < best.0 {
            best = (found.0, d, found.1);
        }
    }
    let mut chosen = choose(&lines, best.1, &best.2);
    let mut d = best.1;
    // Least squares give a better d for the chosen codes, and that d other codes.
    for _ in 0..2 {
        let (i, b) = sums(&lines, &chosen, &best.2);
        let refined = to_half(if b > 0.0 { 0.5 * i / b } else { 0.0 });
        let found = scales(&groups, &centres, refined);
        let codes = choose(&lines, refined, &found.1);
        let (i, b) = sums(&lines, &codes, &found.1);
        let error = refined * (refined * b - i);
        if error < best.0 {
            best = (error, refined, found.1);
            (d, chosen) = (refined, codes);
        }
    }

    block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    for (j, group) in block[2..].as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mut word = u32::from(best.2[j]) << 28;
        let (codes, high) = group.split_at_mut(4);
        for (k, code) in codes.iter_mut().enumerate() {
            let at = 4 * j + k;
            *code = chosen[at];
            word |= signs(&values[8 * at..8 * at + 8], &weights[8 * at..8 * at + 8], chosen[at]) << (7 * k);
        }
        high.copy_from_slice(&word.to_le_bytes());
    }
}

/// The group scale that the block's scale d and a four-bit scale s express.
fn group_scale(d: f32, s: u8) -> f32 {
    d * (2 * u32::from(s) + 1) as f32 / 8.0
}

/// The error of the block at the scale d, without the constant term, and the best four-bit scales of its groups.
#[inline(always)]
fn scales(groups: &[Candidates; 8], centres: &[f32; 8], d: f32) -> (f32, [u8; 8]) {
    let mut total = 0.0;
    let mut out = [0; 8];
    for ((candidates, centre), out) in groups.iter().zip(centres).zip(&mut out) {
        let nearest = if d > 0.0 { ((centre * 8.0 / d - 1.0) / 2.0).round().clamp(0.0, 15.0) as u8 } else { 0 };
        let mut least = f32::INFINITY;
        for s in nearest.saturating_sub(1)..=(nearest + 1).min(15) {
            let found = cost(candidates, group_scale(d, s));
            if found < least {
                (least, *out) = (found, s);
            }
        }
        total += least;
    }
    (total, out)
}

/// The best of all codewords for each eight values.
#[inline(always)]
fn choose(lines: &[Lines], d: f32, scales: &[u8; 8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (at, (out, lines)) in out.iter_mut().zip(lines).enumerate() {
        *out = lines.best(group_scale(d, scales[at / 4])) as u8;
    }
    out
}

/// I and B of the block for the chosen codewords and scales: its error is d^2 B - d I, without the constant term.
#[inline(always)]
fn sums(lines: &[Lines], codes: &[u8; 32], scales: &[u8; 8]) -> (f32, f32) {
    let (mut i, mut b) = (0.0, 0.0);
    for (at, (lines, &code)) in lines.iter().zip(codes).enumerate() {
        let unit = group_scale(1.0, scales[at / 4]);
        i += unit * lines.i[usize::from(code)];
        b += unit * unit * lines.b[usize::from(code)];
    }
    (i, b)
}

/// The seven stored sign bits of eight values; the eighth follows, because the number of minus signs is even. Where the values have an odd
/// number of them, the value whose wrong sign costs least gets it.
fn signs(values: &[f32], weights: &[f32], code: u8) -> u32 {
    let mut bits = values.iter().enumerate().fold(0, |bits, (i, x)| bits | u32::from(*x < 0.0) << i);
    if bits.count_ones() % 2 == 1 {
        let magnitudes = GRID[usize::from(code)].to_le_bytes();
        let penalty = |&i: &usize| weights[i] * values[i].abs() * f32::from(magnitudes[i]);
        bits ^= 1 << (0..8).min_by(|a, b| penalty(a).total_cmp(&penalty(b))).unwrap_or(0);
    }
    bits & 127
}

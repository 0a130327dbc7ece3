//! Quantising to IQ2_XXS: which codewords, signs and scales come nearest.
//!
//! Eight values x with weights w take a codeword g and an even number of minuses. For group scale s the weighted squared error is
//! sum w x^2 - s I + s^2 B, with I = 2 sum w |x| g, less 4 min w |x| g where the signs of x are odd in number and one must be wrong, and
//! B = sum w g^2. I and B belong to the codeword alone, so they are computed once for all 256, and any group scale then costs two
//! operations a codeword. The best codewords at a ladder of scales are remembered; with them the scale d of the block and the four-bit
//! scales are searched, and at last the codewords are chosen exactly.

use super::GRID;
use super::affine::to_half;
use super::iq2_xxs::{BYTES, VALUES};
use half::f16;
use multiversion::multiversion;

/// Magnitudes of all codewords, for each of the eight places.
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

/// Scales of a group that are looked at first, as parts of the one at which codewords are as large as the values.
const LADDER: [f32; 8] = [0.6, 0.7, 0.8, 0.9, 1.0, 1.13, 1.28, 1.5];

/// Root mean square of the magnitudes in the table.
const TYPICAL: f32 = 21.0;

/// Steps of the largest group's four-bit scale that are tried for d, from 15 down.
const D_STEPS: usize = 14;

/// I and B of the codewords for eight values.
struct Lines {
    i: [f32; 256],
    b: [f32; 256],
}

impl Lines {
    #[inline(always)]
    fn of(values: &[f32; 8], weights: &[f32; 8]) -> Self {
        let mut out = Self { i: [0.0; 256], b: [0.0; 256] };
        let mut least = [f32::INFINITY; 256];
        for (place, (x, &w)) in MAGNITUDES.iter().zip(values.iter().zip(weights)) {
            let wx = w * x.abs();
            for c in 0..256 {
                let g = place[c];
                let matters = wx * g;
                out.i[c] += matters;
                out.b[c] += w * (g * g);
                least[c] = if matters < least[c] { matters } else { least[c] };
            }
        }
        let odd = values.iter().filter(|x| **x < 0.0).count() % 2 == 1;
        let penalty = if odd { 4.0 } else { 0.0 };
        for (i, least) in out.i.iter_mut().zip(least) {
            *i = 2.0 * *i - penalty * least;
        }
        out
    }

    /// The codeword with the least s B - I.
    ///
    /// Its number takes the place of the last eight bits of its cost, so that the least cost brings it along; costs that differ by less
    /// than 2^-15 of themselves count as equal.
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

/// Candidates of a group: for each of its four codewords, I and B of the best along the ladder.
type Candidates = [[(f32, f32); LADDER.len()]; 4];

/// Error of a group at a scale, less sum w x^2.
#[inline(always)]
fn cost(candidates: &Candidates, scale: f32) -> f32 {
    let least = |own: &[(f32, f32); LADDER.len()]| own.iter().fold(f32::INFINITY, |a, &(i, b)| a.min(scale * b - i));
    scale * candidates.iter().map(least).sum::<f32>()
}

/// Quantises whole blocks, weighing squared errors. `weights` are at least zero, and not all zero in a block.
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
            let own = Lines::of(x, w);
            groups[j][k] = LADDER.map(|step| {
                let c = own.best(reference * step);
                (own.i[c], own.b[c])
            });
            lines.push(own);
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
    // Least squares for d, and the integers once more with what it gives.
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

/// Scale of a group for a four-bit scale.
fn group_scale(d: f32, s: u8) -> f32 {
    d * (2 * u32::from(s) + 1) as f32 / 8.0
}

/// The best four-bit scales of the groups for d, and what they cost.
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

/// The best codeword for each eight values.
#[inline(always)]
fn choose(lines: &[Lines], d: f32, scales: &[u8; 8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (at, (out, lines)) in out.iter_mut().zip(lines).enumerate() {
        *out = lines.best(group_scale(d, scales[at / 4])) as u8;
    }
    out
}

/// I and B of the block in units of d.
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

/// Seven sign bits; the eighth follows from an even number of minuses. Where the values have an odd number, the one that matters least
/// takes the wrong sign.
fn signs(values: &[f32], weights: &[f32], code: u8) -> u32 {
    let mut bits = values.iter().enumerate().fold(0, |bits, (i, x)| bits | u32::from(*x < 0.0) << i);
    if bits.count_ones() % 2 == 1 {
        let magnitudes = GRID[usize::from(code)].to_le_bytes();
        let matter = |&i: &usize| weights[i] * values[i].abs() * f32::from(magnitudes[i]);
        bits ^= 1 << (0..8).min_by(|a, b| matter(a).total_cmp(&matter(b))).unwrap_or(0);
    }
    bits & 127
}

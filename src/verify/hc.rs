//! Hyper-connections: the mix of four streams, what enters a sub-layer, and what leaves it.

use super::bench::Bench;
use super::outcome::as_floats;
use super::parts::view;
use crate::Result;
use crate::gpu::Slice;
use crate::kernels::{
    HcPreInput, HcResidual, HcRows, HcWeights, Pass, PrefetchRange, Quantized, Rows, Strided, hc_mix_words, record_hc_mix, record_hc_pre,
    record_hc_sinkhorn,
};
use crate::model::Config;
use crate::quant::BlockFormat;
use crate::reference;

/// Few rows and many, channels that fill no slice, and as many as decode steps have workgroups for.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    for rows in [Rows::Few(2), Rows::Many(1), Rows::Many(5), Rows::Many(41)] {
        hyper_connections(bench, rows, 264)?;
    }
    hyper_connections(bench, Rows::Few(16), 512)?;
    hyper_connections(bench, Rows::Few(1), 4096)
}

/// The streams of V4 Flash.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let dim = Config::flash().dim as usize;
    for rows in [Rows::Few(1), Rows::Few(8), Rows::Many(bench.piece().min(512))] {
        hyper_connections(bench, rows, dim)?;
    }
    Ok(())
}

/// What hc_mix left for each slice of a row's channels, added up. -> (T, outputs + 1).
fn mixed(words: &[u32], row_words: usize, outputs: usize) -> Vec<f32> {
    let output = |row: &[f32], o: usize| row.iter().skip(o).step_by(32).sum::<f32>();
    as_floats(words).chunks_exact(row_words).flat_map(|row| (0..=outputs).map(|o| output(row, o)).collect::<Vec<_>>()).collect()
}

/// What hc_pre reads and leaves.
fn input_of<'a>(
    weights: &'a HcWeights,
    [mix, x, prefetch_sink]: [&'a Slice; 3],
    normed: &'a Strided,
    normed_int8: Option<&'a Quantized>,
) -> HcPreInput<'a> {
    HcPreInput { weights, mix, x, normed, normed_int8, hc_eps: 1e-6, norm_eps: 1e-6, prefetch_sink }
}

fn hyper_connections(bench: &mut Bench<'_>, step: Rows, dim: usize) -> Result<()> {
    let (tokens, t) = (step.count(), step.count() as usize);
    let case = format!("{step:?} of 4x{dim}");
    let constants = reference::HcConstants { iterations: 20, hc_eps: 1e-6, norm_eps: 1e-6 };
    let x = bench.floats(t * 4 * dim);
    let norm = bench.floats_around(1.0, 0.1, dim);
    let x_gpu = bench.upload(&x)?;
    for (outputs, scales) in [(24usize, 3usize), (4, 1)] {
        let (bytes, matrix) = bench.matrix(BlockFormat::F16, outputs, 4 * dim, 1)?;
        let (base, scale) = (bench.floats(outputs), bench.floats_around(0.2, 0.05, scales));
        let weights =
            HcWeights { mix: matrix.clone(), base_scale: bench.upload(&[&base[..], &scale].concat())?, norm: bench.upload(&norm)? };
        let row_words = hc_mix_words(&bench.kernels.profile, dim as u32, step) as usize;
        let mix = bench.output(t * row_words)?;
        let hc = reference::Hc { mix: view(&matrix, &bytes), base: &base, scale: &scale };
        let record = |pass: &mut Pass<'_>| record_hc_mix(pass, &weights, &x_gpu, None, &mix.slice());
        if let Some(made) = bench.run(&case, &[&mix], step, record)? {
            let got = mixed(&made[0].words, row_words, outputs);
            bench.compare(&made[0], &case, &got, &reference::hc_mix(&hc.mix, &x), made[0].limit());
        }
        let int8 = bench.output_int8(step, dim)?;
        let normed_int8 = int8.as_ref().map(|(_, quantized)| quantized);
        let (mix_slice, prefetch_sink) = (mix.slice(), bench.output(1)?.slice());
        let before = [&mix_slice, &x_gpu, &prefetch_sink];
        // Decode steps prefetch the weights that follow.
        let ahead = if step.are_few() { [PrefetchRange::of(&[&matrix]), PrefetchRange::of(&[&matrix])].concat() } else { Vec::new() };
        if outputs == 4 {
            // Of a long step's rows few are wanted as a rule: here one of up to five, two of more.
            let wanted: Vec<u32> = (0..tokens).rev().step_by(if step.are_few() { 1 } else { 29 }).collect();
            let (wanted_gpu, rows) = (bench.upload(&wanted)?, wanted.len() as u32);
            let normed = bench.output(wanted.len() * dim)?;
            let outputs: Vec<_> = [&normed].into_iter().chain(int8.as_ref().map(|(output, _)| output)).collect();
            let made = bench.run(&case, &outputs, step, |pass| {
                let normed = Strided::whole(&normed.slice(), dim as u32);
                record_hc_pre(pass, &input_of(&weights, before, &normed, normed_int8), &ahead, HcRows::Wanted(&wanted_gpu, rows));
            })?;
            let Some(made) = made else { continue };
            if let Some(int8) = made.get(1) {
                bench.compare_int8(int8, &case, &made[0].floats(), dim);
            }
            let rows: Vec<f32> = wanted.iter().flat_map(|&t| &x[t as usize * 4 * dim..(t as usize + 1) * 4 * dim]).copied().collect();
            bench.compare(&made[0], &case, &made[0].floats(), &reference::hc_head(&hc, &norm, &rows, constants), made[0].limit());
            continue;
        }
        let post = bench.output(t * 32)?;
        let mut expected = None;
        for &half in bench.halves() {
            let normed = bench.elements(t * dim, half)?;
            let rows = Strided::whole(&normed.slice(), dim as u32).with_f16(half);
            let int8 = int8.as_ref().filter(|_| !half);
            let outputs: Vec<_> = [&normed].into_iter().chain(int8.map(|(output, _)| output)).collect();
            let made = bench.run(&case, &outputs, step, |pass| {
                let input = input_of(&weights, before, &rows, int8.map(|(_, quantized)| quantized));
                record_hc_pre(pass, &input, &ahead, HcRows::All);
            })?;
            let Some(made) = made else { continue };
            let (want, _) = expected.get_or_insert_with(|| reference::hc_pre(&hc, &norm, &x, constants));
            bench.compare(&made[0], &case, &made[0].elements(half), want, made[0].limit());
            if let Some(int8) = made.get(1) {
                bench.compare_int8(int8, &case, &made[0].floats(), dim);
            }
        }
        let made = bench.run(&case, &[&post], step, |pass| {
            record_hc_sinkhorn(pass, &weights, (&mix.slice(), &post.slice()), (20, 1e-6, 1e-6), &ahead);
        })?;
        if let (Some(made), Some((_, mixes))) = (made, &expected) {
            let got: Vec<f32> = made[0].floats().chunks_exact(32).flat_map(|row| row[..20].to_vec()).collect();
            let want: Vec<f32> = mixes.iter().flat_map(|m| m.post.iter().chain(m.comb.iter().flatten()).map(|&v| v as f32)).collect();
            bench.compare(&made[0], &case, &got, &want, made[0].limit());
        }
        let y = bench.floats(t * dim);
        let (y_gpu, next) = (bench.upload(&y)?, bench.output(t * 4 * dim)?);
        let made = bench.run(&case, &[&next, &mix], step, |pass| {
            let residual = HcResidual { post: &post.slice(), y: &y_gpu, next: &next.slice() };
            record_hc_mix(pass, &weights, &x_gpu, Some(residual), &mix.slice());
        })?;
        let (Some(made), Some((_, mixes))) = (made, &expected) else { continue };
        let want = reference::hc_post(&y, &x, mixes);
        bench.compare(&made[0], &format!("{case}, residual"), &made[0].floats(), &want, made[0].limit());
        let got = mixed(&made[1].words, row_words, outputs);
        bench.compare(&made[1], &format!("{case}, mix of the residual"), &got, &reference::hc_mix(&hc.mix, &want), made[1].limit());
    }
    Ok(())
}

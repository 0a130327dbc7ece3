//! Cases of hyper-connections: the mix of four streams, the input of a sub-layer, and the update of the streams.

use super::bench::{Bench, Output};
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

/// Generated rows and rows of a prompt, with channels that do not fill their last slice, and with one row as wide as a model's.
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

/// Adds up the mix that hc_mix wrote for each slice of a row's channels. -> (T, outputs + 1).
fn mixed(words: &[u32], row_words: usize, outputs: usize) -> Vec<f32> {
    let output = |row: &[f32], o: usize| row.iter().skip(o).step_by(32).sum::<f32>();
    as_floats(words).chunks_exact(row_words).flat_map(|row| (0..=outputs).map(|o| output(row, o)).collect::<Vec<_>>()).collect()
}

/// The arguments of hc_pre.
fn input_of<'a>(
    weights: &'a HcWeights,
    [mix, x, prefetch_sink]: [&'a Slice; 3],
    normed: &'a Strided,
    normed_int8: Option<&'a Quantized>,
) -> HcPreInput<'a> {
    HcPreInput { weights, mix, x, normed, normed_int8, hc_eps: 1e-6, norm_eps: 1e-6, prefetch_sink }
}

/// The constants of the model.
const CONSTANTS: reference::HcConstants = reference::HcConstants { iterations: 20, hc_eps: 1e-6, norm_eps: 1e-6 };

/// One set of hyper-connection weights, on the host and on the device, with the streams that they are for.
struct Set {
    case: String,
    step: Rows,
    dim: usize,
    outputs: usize,
    x: Vec<f32>,
    x_gpu: Slice,
    norm: Vec<f32>,
    bytes: Vec<u8>,
    base: Vec<f32>,
    scale: Vec<f32>,
    weights: HcWeights,
    /// Output: the mix of the streams.
    mix: Output,
    int8: Option<(Output, Quantized)>,
    prefetch_sink: Slice,
}

impl Set {
    fn reference(&self) -> reference::Hc<'_> {
        reference::Hc { mix: view(&self.weights.mix, &self.bytes), base: &self.base, scale: &self.scale }
    }

    fn quantized(&self) -> Option<&Quantized> {
        self.int8.as_ref().map(|(_, quantized)| quantized)
    }

    /// The weights that steps of generated rows prefetch.
    fn ahead(&self) -> Vec<PrefetchRange> {
        let range = || PrefetchRange::of(&[&self.weights.mix]);
        if self.step.are_few() { [range(), range()].concat() } else { Vec::new() }
    }

    /// Size of a row of the mix in words.
    fn row_words(&self, bench: &Bench<'_>) -> usize {
        hc_mix_words(&bench.kernels.profile, self.dim as u32, self.step) as usize
    }

    /// Runs and compares hc_mix without a residual.
    fn check_mix(&self, bench: &mut Bench<'_>) -> Result<()> {
        let record = |pass: &mut Pass<'_>| record_hc_mix(pass, &self.weights, &self.x_gpu, None, &self.mix.slice());
        let Some(made) = bench.run(&self.case, &[&self.mix], self.step, record)? else { return Ok(()) };
        let got = mixed(&made[0].words, self.row_words(bench), self.outputs);
        bench.compare(&made[0], &self.case, &got, &reference::hc_mix(&self.reference().mix, &self.x), made[0].limit());
        Ok(())
    }

    /// Runs and compares the input of the head, for the rows whose logits are wanted.
    fn check_head(&self, bench: &mut Bench<'_>) -> Result<()> {
        let &Self { step, dim, .. } = self;
        // Few rows of a prompt have their logits wanted as a rule: here one of every 29.
        let wanted: Vec<u32> = (0..step.count()).rev().step_by(if step.are_few() { 1 } else { 29 }).collect();
        let (wanted_gpu, rows) = (bench.upload(&wanted)?, wanted.len() as u32);
        let normed = bench.output(wanted.len() * dim)?;
        let outputs: Vec<_> = [&normed].into_iter().chain(self.int8.as_ref().map(|(output, _)| output)).collect();
        let made = bench.run(&self.case, &outputs, step, |pass| {
            let (mix, normed) = (self.mix.slice(), Strided::whole(&normed.slice(), dim as u32));
            let input = input_of(&self.weights, [&mix, &self.x_gpu, &self.prefetch_sink], &normed, self.quantized());
            record_hc_pre(pass, &input, &self.ahead(), HcRows::Wanted(&wanted_gpu, rows));
        })?;
        let Some(made) = made else { return Ok(()) };
        if let Some(int8) = made.get(1) {
            bench.compare_int8(int8, &self.case, &made[0].floats(), dim);
        }
        let rows: Vec<f32> = wanted.iter().flat_map(|&t| &self.x[t as usize * 4 * dim..(t as usize + 1) * 4 * dim]).copied().collect();
        let want = reference::hc_head(&self.reference(), &self.norm, &rows, CONSTANTS);
        bench.compare(&made[0], &self.case, &made[0].floats(), &want, made[0].limit());
        Ok(())
    }

    /// Runs and compares the input of a sub-layer with every type of element.
    fn check_input(&self, bench: &mut Bench<'_>, want: Option<&[f32]>) -> Result<()> {
        let &Self { step, dim, .. } = self;
        for &is_f16 in bench.element_types() {
            let normed = bench.elements(step.count() as usize * dim, is_f16)?;
            let int8 = self.int8.as_ref().filter(|_| !is_f16);
            let outputs: Vec<_> = [&normed].into_iter().chain(int8.map(|(output, _)| output)).collect();
            let made = bench.run(&self.case, &outputs, step, |pass| {
                let (mix, rows) = (self.mix.slice(), Strided::whole(&normed.slice(), dim as u32).with_f16(is_f16));
                let before = [&mix, &self.x_gpu, &self.prefetch_sink];
                let input = input_of(&self.weights, before, &rows, int8.map(|(_, quantized)| quantized));
                record_hc_pre(pass, &input, &self.ahead(), HcRows::All);
            })?;
            let (Some(made), Some(want)) = (made, want) else { continue };
            bench.compare(&made[0], &self.case, &made[0].elements(is_f16), want, made[0].limit());
            if let Some(int8) = made.get(1) {
                bench.compare_int8(int8, &self.case, &made[0].floats(), dim);
            }
        }
        Ok(())
    }

    /// Runs and compares the weights of the residual, the update of the streams, and their mix.
    fn check_residual(&self, bench: &mut Bench<'_>, mixes: Option<&[reference::Mix]>) -> Result<()> {
        let t = self.step.count() as usize;
        let post = bench.output(t * 32)?;
        let made = bench.run(&self.case, &[&post], self.step, |pass| {
            record_hc_sinkhorn(pass, &self.weights, (&self.mix.slice(), &post.slice()), (20, 1e-6, 1e-6), &self.ahead());
        })?;
        if let (Some(made), Some(mixes)) = (made, mixes) {
            let got: Vec<f32> = made[0].floats().chunks_exact(32).flat_map(|row| row[..20].to_vec()).collect();
            let want: Vec<f32> = mixes.iter().flat_map(|m| m.post.iter().chain(m.comb.iter().flatten()).map(|&v| v as f32)).collect();
            bench.compare(&made[0], &self.case, &got, &want, made[0].limit());
        }
        let y = bench.floats(t * self.dim);
        let (y_gpu, next) = (bench.upload(&y)?, bench.output(t * 4 * self.dim)?);
        let made = bench.run(&self.case, &[&next, &self.mix], self.step, |pass| {
            let residual = HcResidual { post: &post.slice(), y: &y_gpu, next: &next.slice() };
            record_hc_mix(pass, &self.weights, &self.x_gpu, Some(residual), &self.mix.slice());
        })?;
        let (Some(made), Some(mixes)) = (made, mixes) else { return Ok(()) };
        let want = reference::hc_post(&y, &self.x, mixes);
        bench.compare(&made[0], &format!("{}, residual", self.case), &made[0].floats(), &want, made[0].limit());
        let got = mixed(&made[1].words, self.row_words(bench), self.outputs);
        let want = reference::hc_mix(&self.reference().mix, &want);
        bench.compare(&made[1], &format!("{}, mix of the residual", self.case), &got, &want, made[1].limit());
        Ok(())
    }
}

/// The kernels of a sub-layer and those of the head, on the same streams.
fn hyper_connections(bench: &mut Bench<'_>, step: Rows, dim: usize) -> Result<()> {
    let t = step.count() as usize;
    let x = bench.floats(t * 4 * dim);
    let norm = bench.floats_around(1.0, 0.1, dim);
    let x_gpu = bench.upload(&x)?;
    for (outputs, scales) in [(24usize, 3usize), (4, 1)] {
        let (bytes, matrix) = bench.matrix(BlockFormat::F16, outputs, 4 * dim, 1)?;
        let (base, scale) = (bench.floats(outputs), bench.floats_around(0.2, 0.05, scales));
        let base_scale = bench.upload(&[&base[..], &scale].concat())?;
        let weights = HcWeights { mix: matrix, base_scale, norm: bench.upload(&norm)? };
        let mix = bench.output(t * hc_mix_words(&bench.kernels.profile, dim as u32, step) as usize)?;
        let (int8, prefetch_sink) = (bench.output_int8(step, dim)?, bench.output(1)?.slice());
        let (case, x, x_gpu, norm) = (format!("{step:?} of 4x{dim}"), x.clone(), x_gpu.clone(), norm.clone());
        let set = Set { case, step, dim, outputs, x, x_gpu, norm, bytes, base, scale, weights, mix, int8, prefetch_sink };
        set.check_mix(bench)?;
        if outputs == 4 {
            set.check_head(bench)?;
            continue;
        }
        let expected = bench.is_check().then(|| reference::hc_pre(&set.reference(), &set.norm, &set.x, CONSTANTS));
        set.check_input(bench, expected.as_ref().map(|(input, _)| &input[..]))?;
        set.check_residual(bench, expected.as_ref().map(|(_, mixes)| &mixes[..]))?;
    }
    Ok(())
}

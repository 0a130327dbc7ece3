//! The GPU as a backend: recordings of a step, submitted in as many pieces as its length asks for.

use super::backend::{Backend, GpuTicket, Ticket};
use super::buffers::Buffers;
use super::cache::Cache;
use super::layout::{GpuModel, Layout};
use super::record::{Recorder, Streams};
use super::sizes::{Capacity, FixedSizes, MASK_ROWS, RowSizes};
use super::step::{Step, StepData, StepOutput, Unsampled, Want};
use super::upload::upload;
use crate::gpu::{self, Gpu, Recording, Slice, Span};
use crate::kernels::{DECODE_ROWS, HcWeights, Kit, NO_MASK, NO_TOKEN, Sampler};
use crate::model::{Config, RopeFrequencies};
use crate::progress::Progress;
use crate::reference::{REWIND, Tap, TapData, Taps};
use crate::{Error, Result};
use std::sync::atomic::AtomicBool;

/// A submission should take no longer than this, seconds: desktops stay responsive and watchdogs quiet.
const SUBMIT_SECONDS: f64 = 0.3;

/// Steps encoded ahead: one runs while the next is encoded and the one after waits in the queue.
const LOOK_AHEAD: usize = 2;

const _: () = assert!(LOOK_AHEAD < REWIND as usize);

/// A model on a GPU.
pub struct GpuBackend {
    gpu: Gpu,
    kit: Kit,
    config: Config,
    capacity: Capacity,
    model: GpuModel,
    cache: Cache,
    buffers: Buffers,
    plain: RopeFrequencies,
    compressed: RopeFrequencies,
    logit_rows: usize,
    /// Measured: seconds that one row takes in one layer of a long step.
    seconds_per_row_layer: Option<f64>,
}

impl GpuBackend {
    /// Takes the memory, and copies the weights.
    ///
    /// # Errors
    /// The device fails or has too little memory.
    pub fn new(
        gpu: Gpu,
        exact: bool,
        config: &Config,
        layout: &Layout,
        capacity: Capacity,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Self> {
        let arenas = layout.allocate(&gpu)?;
        upload(&gpu, layout.copies(), &arenas, progress, cancel)?;
        let model = layout.bind(&gpu, &arenas)?;
        Ok(Self {
            kit: Kit::new(&gpu, capacity.kv, exact)?,
            cache: Cache::new(&gpu, config, &capacity, model.mtp.is_some())?,
            buffers: Buffers::new(&gpu, config, &capacity)?,
            plain: config.plain_frequencies(),
            compressed: config.compressed_frequencies(),
            logit_rows: FixedSizes::new(config, &capacity, gpu.caps()).logit_rows as usize,
            config: config.clone(),
            capacity,
            model,
            gpu,
            seconds_per_row_layer: None,
        })
    }

    /// Writes what the host knows of the step.
    fn upload(&mut self, step: &Step, data: &StepData) -> Result<()> {
        for row in &step.rows {
            self.cache.reserve(&self.gpu, row.slot, row.position + 1)?;
        }
        let (gpu, b) = (&self.gpu, &self.buffers);
        gpu.write(&b.rows, &data.rows);
        gpu.write(&b.angles, &data.angles);
        gpu.write(&b.windows, &data.windows);
        gpu.write(&b.window_angles, &data.window_angles);
        if !step.draft.is_empty() {
            let mut rows = data.rows.clone();
            rows.iter_mut().enumerate().for_each(|(t, row)| row.token = step.draft.get(t).copied().unwrap_or(0));
            gpu.write(&b.draft_rows, &rows);
        }
        let samplers = self.samplers(step)?;
        gpu.write(&b.samplers, &samplers);
        Ok(())
    }

    fn samplers(&self, step: &Step) -> Result<Vec<Sampler>> {
        let mut masks = 0;
        let mut samplers = Vec::new();
        for (row, want) in &step.wants {
            let Want::Sample(request) = want else { continue };
            let mut mask = NO_MASK;
            if let Some(words) = &request.mask {
                if masks == MASK_ROWS {
                    return Err(Error::Refused(format!("a step has more than {MASK_ROWS} masked rows")));
                }
                let bytes = words.len() as u64 * 4;
                self.gpu.write(&self.buffers.masks.part(masks * bytes, bytes), words);
                mask = masks as u32;
                masks += 1;
            }
            let (own, sampling) = (step.rows[*row as usize], request.sampling);
            let stop = |i: usize| request.stops.get(i).copied().unwrap_or(NO_TOKEN);
            samplers.push(Sampler {
                slot: own.slot,
                position: own.position,
                seed: [sampling.seed as u32, (sampling.seed >> 32) as u32],
                temperature: sampling.temperature,
                top_p: sampling.top_p,
                min_p: sampling.min_p,
                top_k: sampling.top_k,
                mask,
                is_last: u32::from(request.is_last),
                stops: [stop(0), stop(1)],
            });
        }
        Ok(samplers)
    }

    /// Copies what `taps` want after half a layer out of the buffers that the next half reuses.
    fn tap(&self, rec: Recording, wanted: &[(Tap, Slice)], taps: &mut dyn Taps) -> Result<Recording> {
        let wanted: Vec<&(Tap, Slice)> = wanted.iter().filter(|(tap, _)| taps.wants(*tap)).collect();
        if wanted.is_empty() {
            return Ok(rec);
        }
        let mut rec = rec;
        wanted.iter().for_each(|(_, slice)| rec.download(slice.clone()));
        for (bytes, (tap, _)) in self.gpu.run(&rec)?.iter().zip(wanted) {
            let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
            match tap {
                Tap::Selected(_) | Tap::Chosen(_) => taps.see(*tap, TapData::Ids(&words)),
                _ => taps.see(*tap, TapData::Floats(&words.iter().map(|&w| f32::from_bits(w)).collect::<Vec<_>>())),
            }
        }
        Ok(Recording::new())
    }

    /// Whether `taps` want activations that a long step keeps as f16 otherwise.
    fn looks_inside(&self, taps: &dyn Taps) -> bool {
        let inside = [Tap::AttentionIn, Tap::QueryLow, Tap::Heads, Tap::OutLow, Tap::ExpertsIn, Tap::SharedAct, Tap::RoutedAct];
        (0..self.model.layers.len()).any(|l| inside.iter().any(|tap| taps.wants(tap(l))))
    }

    /// All layers. Returns the recording that is not submitted yet and the streams' place, and adds what was submitted to `tickets`.
    fn layers(
        &self,
        recorder: &Recorder<'_>,
        mut rec: Recording,
        pieces: usize,
        tickets: &mut Vec<gpu::Ticket>,
        taps: &mut dyn Taps,
    ) -> Result<Recording> {
        let (b, sizes) = (&self.buffers, RowSizes::new(&self.config, self.capacity.kv));
        let rows = recorder.data.rows.len() as u64 * 4;
        let [a, z] = &b.streams;
        let each = self.model.layers.len().div_ceil(pieces);
        for (l, layer) in self.model.layers.iter().enumerate() {
            if layer.ratio == 4 && taps.wants(Tap::Selected(l)) {
                self.gpu.write(&b.selected, &visible_rows(recorder.data, self.config.index_top_k));
            }
            recorder.attention(&mut rec, (Some(l), layer), &self.cache.layers[l], &Streams { now: a, next: z });
            let mut wanted = vec![
                (Tap::AttentionIn(l), b.normed.part(0, rows * sizes.normed)),
                (Tap::QueryLow(l), b.low.part(0, rows * sizes.low)),
                (Tap::Heads(l), b.heads.part(0, rows * sizes.heads)),
                (Tap::OutLow(l), b.out_low.part(0, rows * sizes.out_low)),
                (Tap::AttentionOut(l), b.y.part(0, rows * sizes.y)),
            ];
            if layer.ratio == 4 {
                wanted.push((Tap::Selected(l), b.selected.part(0, rows * sizes.selected)));
            }
            rec = self.tap(rec, &wanted, taps)?;
            let next = self.model.layers.get(l + 1).map_or(&self.model.head_hc, |next| &next.attn_hc);
            recorder.experts(&mut rec, (Some(l), layer), next, &Streams { now: z, next: a });
            let wanted = [
                (Tap::ExpertsIn(l), b.normed.part(0, rows * sizes.normed)),
                (Tap::Chosen(l), b.chosen.part(0, rows * sizes.routes)),
                (Tap::ChosenWeights(l), b.weights.part(0, rows * sizes.routes)),
                (Tap::SharedAct(l), b.shared.part(0, rows * sizes.shared)),
                (Tap::RoutedAct(l), b.act.part(0, rows * sizes.act)),
                (Tap::ExpertsOut(l), b.y.part(0, rows * sizes.y)),
                (Tap::Hidden(l), a.part(0, rows * sizes.streams)),
            ];
            rec = self.tap(rec, &wanted, taps)?;
            if (l + 1) % each == 0 && l + 1 < self.model.layers.len() {
                tickets.push(self.gpu.submit(&rec)?);
                rec = Recording::new();
            }
        }
        Ok(rec)
    }

    /// Logits of the rows in `rows` of the step, fetched a few at a time.
    fn all_logits(&self, recorder: &Recorder<'_>, mut rec: Recording, hc: &HcWeights, streams: &Slice, rows: &[u32]) -> Result<Vec<f32>> {
        let mut logits = Vec::with_capacity(rows.len() * self.config.vocabulary as usize);
        for some in rows.chunks(self.logit_rows) {
            self.gpu.write(&self.buffers.wanted, some);
            recorder.head(&mut rec, hc, streams, &self.buffers.wanted.part(0, some.len() as u64 * 4), some.len() as u32);
            rec.download(self.buffers.logits.part(0, some.len() as u64 * u64::from(self.config.vocabulary) * 4));
            let parts = self.gpu.run(&rec)?;
            logits.extend(parts.iter().flat_map(|p| p.as_chunks::<4>().0).map(|&b| f32::from_le_bytes(b)));
            rec = Recording::new();
        }
        Ok(logits)
    }
}

/// What the indexer leaves for rows that see no more than `top_k` compressed rows: all of them.
fn visible_rows(data: &StepData, top_k: u32) -> Vec<u32> {
    data.rows.iter().flat_map(|row| (0..top_k).map(|i| if i < (row.position + 1) / 4 { i } else { u32::MAX })).collect()
}

impl Backend for GpuBackend {
    fn open(&mut self) -> Result<u32> {
        let slot = self.cache.open()?;
        self.resume(slot);
        Ok(slot)
    }

    fn close(&mut self, slot: u32) {
        self.cache.close(slot);
    }

    // Everything on the device is found by position, so a cut needs no work there.
    fn rewind(&mut self, _: u32, _: u32) {}

    fn resume(&mut self, slot: u32) {
        self.gpu.write(&self.cache.live.part(u64::from(slot) * 4, 4), &[1u32]);
    }

    fn submit(&mut self, step: &Step, taps: &mut dyn Taps) -> Result<Ticket> {
        let data = StepData::new(&step.rows, &self.plain, &self.compressed);
        self.upload(step, &data)?;
        let layers = self.model.layers.len();
        let predicted = self.seconds_per_row_layer.unwrap_or(0.0) * (step.rows.len() * layers) as f64;
        let pieces = ((predicted / SUBMIT_SECONDS).ceil() as usize).clamp(1, layers);
        let half = step.rows.len() as u32 > DECODE_ROWS && self.kit.dialect.uses_half() && !self.looks_inside(taps);
        let recorder = Recorder {
            kit: &self.kit,
            config: &self.config,
            model: &self.model,
            cache: &self.cache,
            buffers: &self.buffers,
            data: &data,
            half,
        };
        let [streams, other] = &self.buffers.streams;
        let mut ticket = GpuTicket { submissions: Vec::new(), samples: 0, output: StepOutput::default() };
        let mut rec = Recording::new();
        recorder.embed(&mut rec, &self.model.layers[0].attn_hc, streams);
        rec = self.layers(&recorder, rec, pieces, &mut ticket.submissions, taps)?;

        let of = |sampled: bool| {
            let rows = step.wants.iter().filter(move |(_, want)| matches!(want, Want::Sample(_)) == sampled);
            rows.map(|(row, _)| *row).collect::<Vec<u32>>()
        };
        let (sampled, logits) = (of(true), of(false));
        if sampled.len() > self.logit_rows {
            return Err(Error::Refused(format!("a step samples {} rows, at most {} fit", sampled.len(), self.logit_rows)));
        }
        if !logits.is_empty() {
            ticket.output.logits = self.all_logits(&recorder, rec, &self.model.head_hc, streams, &logits)?;
            rec = Recording::new();
        }
        if !sampled.is_empty() {
            self.gpu.write(&self.buffers.wanted, &sampled);
            let count = sampled.len() as u32;
            recorder.head(&mut rec, &self.model.head_hc, streams, &self.buffers.wanted, count);
            recorder.sample(&mut rec, count);
            rec.download(self.buffers.results.part(0, u64::from(count) * 8));
            ticket.samples = sampled.len();
        }
        if let (Some(mtp), Some(cache), false) = (&self.model.mtp, &self.cache.draft, step.draft.is_empty()) {
            // The samples are read first: the draft's logits take the same buffers.
            if !rec.dispatches().is_empty() {
                ticket.submissions.push(self.gpu.submit(&rec)?);
            }
            let mut rec = Recording::new();
            recorder.draft_input(&mut rec, mtp, &Streams { now: streams, next: other });
            recorder.attention(&mut rec, (None, &mtp.layer), cache, &Streams { now: other, next: streams });
            recorder.experts(&mut rec, (None, &mtp.layer), &mtp.head_hc, &Streams { now: streams, next: other });
            let rows: Vec<u32> = (0..step.draft.len().min(step.rows.len()) as u32).collect();
            ticket.output.draft_logits = self.all_logits(&recorder, rec, &mtp.head_hc, other, &rows)?;
        } else {
            ticket.submissions.push(self.gpu.submit(&rec)?);
        }
        Ok(Ticket::Running(ticket))
    }

    fn wait(&mut self, ticket: Ticket) -> Result<StepOutput> {
        let ticket = match ticket {
            Ticket::Done(output) => return Ok(output),
            Ticket::Running(ticket) => ticket,
        };
        let mut output = ticket.output;
        for submission in ticket.submissions {
            let parts = self.gpu.wait(submission)?;
            let Some(part) = parts.first() else { continue };
            let words: Vec<u32> = part.as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
            output.samples.extend(words.as_chunks::<2>().0.iter().take(ticket.samples).map(|&[id, status]| match status {
                0 => Ok(id),
                1 => Err(Unsampled::NotLive),
                2 => Err(Unsampled::NotFinite),
                _ => Err(Unsampled::NothingAllowed),
            }));
        }
        Ok(output)
    }

    fn held_bytes(&self) -> u64 {
        self.gpu.held_bytes()
    }

    fn look_ahead(&self) -> usize {
        LOOK_AHEAD
    }

    fn trace(&mut self, on: bool) -> Result<Vec<Span>> {
        self.gpu.trace(on)
    }

    fn gpu(&self) -> Option<&Gpu> {
        Some(&self.gpu)
    }

    fn compiled(&self) -> usize {
        self.gpu.compiled()
    }

    fn measured(&mut self, rows: usize, seconds: f64) {
        self.seconds_per_row_layer = Some(seconds / (rows * self.model.layers.len()) as f64);
    }
}

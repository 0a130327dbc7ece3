//! The GPU as a backend. It holds weights, caches and activations, records steps, and submits them in parts of limited duration.

mod buffers;
mod cache;
mod layout;
mod place;
mod plan;
mod record;
mod sizes;
mod step_data;
mod upload;

pub use buffers::rows_of_a_step;
pub use layout::Layout;
pub use plan::{MemoryPlan, mib};
pub use sizes::Capacity;

use super::backend::{Backend, GpuTicket, StateData, Ticket};
use super::step::{RowKind, Step, StepOutput, Token, Unsampled, Want};
use super::watch::Watch;
use crate::gpu::{self, Gpu, Recording, Slice};
use crate::kernels::{HcWeights, KernelContext, NO_MASK, NO_TOKEN, Sampler};
use crate::model::{Config, REWIND, RopeFrequencies, Tap, TapData, Taps};
use crate::{Error, Result};
use buffers::Buffers;
use cache::Cache;
use layout::GpuModel;
use record::{Recorder, Segment};
use sizes::{MASK_ROWS, StepCounts};
use std::sync::Arc;
use step_data::StepData;
use upload::upload;

/// The longest planned duration of a submission in seconds. Longer ones make desktops unresponsive and trigger the watchdogs of drivers.
const SUBMIT_SECONDS: f64 = 0.3;

/// Steps in the queue behind the one that runs: the next one, and one more that the host encodes meanwhile.
const LOOK_AHEAD: usize = 2;

const _: () = assert!(LOOK_AHEAD < REWIND as usize);

/// A model on a GPU, with the state of its sessions.
pub struct GpuBackend {
    gpu: Arc<Gpu>,
    kernels: KernelContext,
    config: Config,
    model: GpuModel,
    cache: Cache,
    buffers: Buffers,
    plain: RopeFrequencies,
    compressed: RopeFrequencies,
    logit_rows: usize,
}

impl GpuBackend {
    /// Allocates the memory and copies the weights.
    ///
    /// # Errors
    /// Where the device fails or has too little memory.
    pub fn new(gpu: Arc<Gpu>, exact: bool, config: &Config, layout: &Layout, capacity: Capacity, watch: Watch<'_>) -> Result<Self> {
        let arenas = layout.allocate(&gpu)?;
        upload(&gpu, layout.copies(), &arenas, watch)?;
        let model = layout.bind(&gpu, &arenas)?;
        Ok(Self {
            kernels: KernelContext::new(&gpu, capacity.kv, exact)?,
            cache: Cache::new(&gpu, config, &capacity, model.mtp.is_some())?,
            buffers: Buffers::new(&gpu, config, &capacity)?,
            plain: config.plain_frequencies(),
            compressed: config.compressed_frequencies(),
            logit_rows: StepCounts::new(config, &capacity, gpu.caps()).logit_rows as usize,
            config: config.clone(),
            model,
            gpu,
        })
    }

    /// Writes the inputs of the step, and reserves pages for its rows.
    fn upload(&mut self, step: &Step, data: &StepData) -> Result<()> {
        for run in step.rows.chunk_by(|a, b| a.slot == b.slot) {
            let first = run[0].position;
            self.cache.reserve(&self.gpu, run[0].slot, first..first + run.len() as u32)?;
            if run[0].token != Token::Sampled {
                self.gpu.write(&self.cache.live.part(u64::from(run[0].slot) * 4, 4), &[1u32]);
            }
        }
        let (gpu, b) = (&self.gpu, &self.buffers);
        gpu.write(&b.rows, &data.rows);
        gpu.write(&b.angles, &data.angles);
        gpu.write(&b.windows, &data.windows);
        gpu.write(&b.window_angles, &data.window_angles);
        if step.rows.iter().any(|row| row.draft.is_some()) {
            let mut rows = data.rows.clone();
            rows.iter_mut().zip(&step.rows).for_each(|(row, given)| row.token = given.draft.unwrap_or(0));
            gpu.write(&b.draft_rows, &rows);
        }
        let samplers = self.samplers(step)?;
        gpu.write(&b.samplers, &samplers);
        Ok(())
    }

    /// The sampling parameters of the rows that want a sample. Writes their masks too.
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
            let (row, sampling) = (step.rows[*row as usize], request.sampling);
            let stop = |i: usize| request.stops.get(i).copied().unwrap_or(NO_TOKEN);
            samplers.push(Sampler {
                slot: row.slot,
                position: row.position,
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

    /// Runs `rec` if `taps` want something of its segment, and shows it to them before the next segment reuses the buffers. Returns the
    /// launches that are not submitted yet.
    fn tap(&self, rec: Recording, offered: &[(Tap, Slice)], taps: &mut dyn Taps) -> Result<Recording> {
        let wanted: Vec<&(Tap, Slice)> = offered.iter().filter(|(tap, _)| taps.wants(*tap)).collect();
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

    /// Whether `taps` want activations that prompts otherwise keep in f16.
    fn taps_need_f32(&self, taps: &dyn Taps) -> bool {
        let inside = [Tap::AttentionIn, Tap::QueryLow, Tap::Heads, Tap::OutLow, Tap::ExpertsIn, Tap::SharedAct, Tap::RoutedAct];
        (0..self.model.layers.len()).any(|l| inside.iter().any(|tap| taps.wants(tap(l))))
    }

    /// Submits `segments` in about `submissions` submissions, and in more where taps want something. Returns the launches that are not
    /// submitted yet, and adds the submissions to `tickets`.
    fn layers(
        &self,
        segments: impl Iterator<Item = Segment>,
        data: &StepData,
        submissions: usize,
        tickets: &mut Vec<gpu::Ticket>,
        taps: &mut dyn Taps,
    ) -> Result<Recording> {
        let layers = self.model.layers.len();
        let each = layers.div_ceil(submissions);
        let mut rec = Recording::new();
        for Segment { recording, taps: offered, layer_done } in segments {
            if offered.iter().any(|(tap, _)| matches!(tap, Tap::Selected(_)) && taps.wants(*tap)) {
                self.gpu.write(&self.buffers.selected, &visible_rows(data, self.config.index_top_k));
            }
            rec.append(recording);
            rec = self.tap(rec, &offered, taps)?;
            if layer_done.is_some_and(|l| (l + 1) % each == 0 && l + 1 < layers) {
                tickets.push(self.gpu.submit(&rec)?);
                rec = Recording::new();
            }
        }
        Ok(rec)
    }

    /// The logits of the step's rows with numbers `rows`, downloaded a few rows at a time.
    fn all_logits(&self, recorder: &Recorder<'_>, mut rec: Recording, hc: &HcWeights, streams: &Slice, rows: &[u32]) -> Result<Vec<f32>> {
        let mut logits = Vec::with_capacity(rows.len() * self.config.vocabulary as usize);
        for chunk in rows.chunks(self.logit_rows) {
            self.gpu.write(&self.buffers.wanted, chunk);
            recorder.head(&mut rec, hc, streams, &self.buffers.wanted.part(0, chunk.len() as u64 * 4), chunk.len() as u32);
            rec.download(self.buffers.logits.part(0, chunk.len() as u64 * u64::from(self.config.vocabulary) * 4));
            let parts = self.gpu.run(&rec)?;
            logits.extend(parts.iter().flat_map(|p| p.as_chunks::<4>().0).map(|&b| f32::from_le_bytes(b)));
            rec = Recording::new();
        }
        Ok(logits)
    }
}

/// The choice of the indexer for rows that see no more than `top_k` compressed rows: all of them. No kernel runs for such rows.
fn visible_rows(data: &StepData, top_k: u32) -> Vec<u32> {
    data.rows.iter().flat_map(|row| (0..top_k).map(|i| if i < (row.position + 1) / 4 { i } else { u32::MAX })).collect()
}

impl Backend for GpuBackend {
    fn open(&mut self) -> Result<u32> {
        self.cache.open()
    }

    fn close(&mut self, slot: u32) {
        self.cache.close(slot);
    }

    // Kernels find everything by position, so a cut needs no work on the device.
    fn rewind(&mut self, _: u32, _: u32) {}

    fn submit(&mut self, step: &Step, taps: &mut dyn Taps) -> Result<Ticket> {
        let data = StepData::new(step, &self.plain, &self.compressed);
        self.upload(step, &data)?;
        let submissions = ((step.expected_seconds / SUBMIT_SECONDS).ceil() as usize).clamp(1, self.model.layers.len());
        let recorder = Recorder {
            kernels: &self.kernels,
            config: &self.config,
            model: &self.model,
            cache: &self.cache,
            buffers: &self.buffers,
            data: &data,
            keeps_f16: step.kind == RowKind::Prompt && self.kernels.profile.uses_f16() && !self.taps_need_f32(taps),
        };
        let streams = &self.buffers.streams;
        let mut ticket = GpuTicket { submissions: Vec::new(), samples: 0, output: StepOutput::default() };
        let mut rec = self.layers(recorder.segments(), &data, submissions, &mut ticket.submissions, taps)?;

        let rows_with = |sampled: bool| {
            let rows = step.wants.iter().filter(move |(_, want)| matches!(want, Want::Sample(_)) == sampled);
            rows.map(|(row, _)| *row).collect::<Vec<u32>>()
        };
        let (sampled, logits) = (rows_with(true), rows_with(false));
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
        let drafted: Vec<u32> = (0..).zip(&step.rows).filter(|(_, row)| row.draft.is_some()).map(|(t, _)| t).collect();
        if let (Some(mtp), Some(cache), false) = (&self.model.mtp, &self.cache.draft, drafted.is_empty()) {
            // The samples are submitted first, because the logits of the draft block use the same buffers.
            if !rec.dispatches().is_empty() {
                ticket.submissions.push(self.gpu.submit(&rec)?);
            }
            let (rec, streams) = recorder.draft(mtp, cache);
            ticket.output.draft_logits = self.all_logits(&recorder, rec, &mtp.head_hc, streams, &drafted)?;
        } else {
            ticket.submissions.push(self.gpu.submit(&rec)?);
        }
        Ok(Ticket::Running(ticket))
    }

    fn is_done(&self, ticket: &Ticket) -> Result<bool> {
        match ticket {
            Ticket::Done(_) => Ok(true),
            // Submissions finish in order.
            Ticket::Running(ticket) => ticket.submissions.last().map_or(Ok(true), |last| self.gpu.is_done(last)),
        }
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

    fn snapshot(&mut self, slot: u32, position: u32) -> Result<StateData> {
        let mut rec = Recording::new();
        self.cache.state(slot, position)?.into_iter().for_each(|slice| rec.download(slice));
        Ok(StateData::Pools(self.gpu.run(&rec)?))
    }

    fn restore(&mut self, slot: u32, position: u32, data: &StateData) -> Result<()> {
        let StateData::Pools(parts) = data else { return Err(Error::Refused("the snapshot was made on the CPU".into())) };
        self.cache.reserve(&self.gpu, slot, 0..position)?;
        let slices = self.cache.state(slot, position)?;
        if slices.len() != parts.len() || slices.iter().zip(parts).any(|(slice, part)| slice.bytes != part.len() as u64) {
            return Err(Error::Refused("the snapshot has other parts than this engine's sessions".into()));
        }
        slices.iter().zip(parts).for_each(|(slice, part)| self.gpu.write(slice, part));
        Ok(())
    }

    fn fork(&mut self, slot: u32, position: u32) -> Result<u32> {
        self.cache.fork(&self.gpu, slot, position)
    }

    fn look_ahead(&self) -> usize {
        LOOK_AHEAD
    }
}

//! Where GPU time goes: a timestamp after every launch of a recording, or the time of many launches of one kind.

use super::queue::Stamps;
use super::{Gpu, Recording};
use crate::{Error, Result};

/// One launch and when it ran, in nanoseconds of the device's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The kernel.
    pub kernel: &'static str,
    /// Kernel and variant.
    pub label: String,
    /// When the launch before it ended.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
}

/// Timestamps in one query set at most.
const MOST_QUERIES: usize = 4096;

/// Passes whose median is a measurement, and the seconds that each should take.
const PASSES: usize = 5;
const PASS_SECONDS: f64 = 0.003;

/// Launches in such a pass at most, if there are not more to begin with.
const PASS_LAUNCHES: usize = 4096;

/// Seconds of work after which a device has its clocks up.
const WARM_SECONDS: f64 = 0.05;

/// Timestamps on their way back.
struct Clock {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    count: u32,
}

impl Gpu {
    /// From now on, collects when each launch of every submission ran, which makes submissions slow; `false` ends that. Returns what was
    /// collected.
    ///
    /// # Errors
    /// The device has no timestamps inside a pass.
    pub fn trace(&self, on: bool) -> Result<Vec<Span>> {
        if on {
            self.has_timestamps()?;
        }
        let mut traced = self.traced();
        Ok(std::mem::replace(&mut *traced, on.then(Vec::new)).unwrap_or_default())
    }

    /// From now on, keeps a copy of every launch that is submitted; `false` ends that. Returns what was kept.
    pub fn capture(&self, on: bool) -> Recording {
        std::mem::replace(&mut *self.captured(), on.then(Recording::new)).unwrap_or_default()
    }

    /// Whether time can be measured.
    ///
    /// # Errors
    /// The device has no timestamps inside a pass.
    pub fn has_timestamps(&self) -> Result<()> {
        if self.caps().timestamps { Ok(()) } else { Err(Error::Device(format!("{} has no timestamps inside a pass", self.name()))) }
    }

    /// Seconds that one run of `recording`'s launches takes, one after another and repeated until a pass takes a few milliseconds: the
    /// median of several passes. `before` runs first, untimed, until the device's clocks are up; it is what leaves the buffers as the
    /// launches may find them.
    ///
    /// # Errors
    /// There are no timestamps; the device fails.
    pub fn time(&self, before: &Recording, recording: &Recording) -> Result<f64> {
        self.has_timestamps()?;
        let first = self.passes(before, 1)?.iter().sum::<f64>();
        if first < WARM_SECONDS {
            self.passes(before, (WARM_SECONDS / first.max(1e-4)).ceil() as usize)?;
        }
        let once = self.passes(recording, 1)?.iter().sum::<f64>().max(1e-7);
        let most = (PASS_LAUNCHES / recording.dispatches.len().max(1)).max(1);
        let repeats = ((PASS_SECONDS / once).ceil() as usize).clamp(1, most);
        let repeated = Recording::of((0..repeats).flat_map(|_| &recording.dispatches));
        // The first pass follows a pause.
        let mut seconds = self.passes(&repeated, 1 + PASSES)?.split_off(1);
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[PASSES / 2] / repeats as f64)
    }

    /// Runs `recording` in `count` passes, one right behind the other, and returns the seconds that each took.
    fn passes(&self, recording: &Recording, count: usize) -> Result<Vec<f64>> {
        let clock = self.clock(2 * count as u32)?;
        for pass in 0..count as u32 {
            let mut encoder = self.encoder();
            self.encode_pass(&mut encoder, recording, Stamps::Around(&clock.queries, 2 * pass))?;
            self.raw_queue().submit([encoder.finish()]);
        }
        let stamps = self.read(&clock, self.encoder())?;
        Ok(stamps.as_chunks::<2>().0.iter().map(|[start, end]| end.saturating_sub(*start) as f64 / 1e9).collect())
    }

    /// Runs the launches of `recording` with a timestamp after each, and waits.
    pub(super) fn profile(&self, recording: &Recording) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for part in recording.dispatches.chunks(MOST_QUERIES - 1) {
            spans.extend(self.profile_part(&Recording::of(part))?);
        }
        Ok(spans)
    }

    fn profile_part(&self, recording: &Recording) -> Result<Vec<Span>> {
        if recording.dispatches.is_empty() {
            return Ok(Vec::new());
        }
        let clock = self.clock(recording.dispatches.len() as u32 + 1)?;
        let mut encoder = self.encoder();
        self.encode_pass(&mut encoder, recording, Stamps::Each(&clock.queries))?;
        let stamps = self.read(&clock, encoder)?;
        let spans = recording.dispatches.iter().zip(stamps.windows(2)).map(|(dispatch, stamps)| Span {
            kernel: dispatch.variant.kernel(),
            label: dispatch.variant.to_string(),
            start_ns: stamps[0],
            end_ns: stamps[1],
        });
        Ok(spans.collect())
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("profile") })
    }

    fn clock(&self, count: u32) -> Result<Clock> {
        let bytes = u64::from(count) * 8;
        self.guarded("timestamps", || {
            let device = self.device();
            let buffer = |usage| {
                device.create_buffer(&wgpu::BufferDescriptor { label: Some("timestamps"), size: bytes, usage, mapped_at_creation: false })
            };
            Clock {
                queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count,
                }),
                resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
                staging: buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
                count,
            }
        })
    }

    /// Submits `encoder`, waits, and returns the timestamps in nanoseconds.
    fn read(&self, clock: &Clock, mut encoder: wgpu::CommandEncoder) -> Result<Vec<u64>> {
        encoder.resolve_query_set(&clock.queries, 0..clock.count, &clock.resolved, 0);
        encoder.copy_buffer_to_buffer(&clock.resolved, 0, &clock.staging, 0, Some(u64::from(clock.count) * 8));
        self.arrive(self.send(encoder, Some((wgpu::MapMode::Read, clock.staging.slice(..)))))?;
        let view = clock.staging.slice(..).get_mapped_range().map_err(|e| Error::Device(format!("timestamps: {e:?}")))?;
        let period = f64::from(self.raw_queue().get_timestamp_period());
        Ok(view.as_chunks::<8>().0.iter().map(|&b| (u64::from_le_bytes(b) as f64 * period) as u64).collect())
    }
}

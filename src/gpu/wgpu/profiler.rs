//! Timestamps: after every launch of a recording, or around whole passes.

use super::queue::{Queue, Stamps};
use super::submission::Submission;
use crate::gpu::recording::{Recording, Span};
use crate::{Error, Result};

/// The largest number of timestamps in one query set.
const MOST_QUERIES: usize = 4096;

/// A query set of timestamps, and the buffers through which they reach the host.
struct Clock {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    count: u32,
}

impl Queue {
    /// Runs `recording` in `count` passes one after another, and returns the seconds that each took.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub fn passes(&self, recording: &Recording, count: usize) -> Result<Vec<f64>> {
        let clock = self.clock(2 * count as u32)?;
        for pass in 0..count as u32 {
            let mut encoder = self.device().encoder("profile");
            self.encode_pass(&mut encoder, recording, Stamps::Around(&clock.queries, 2 * pass))?;
            self.device().queue.submit([encoder.finish()]);
        }
        let stamps = self.read(&clock, self.device().encoder("profile"))?;
        Ok(stamps.as_chunks::<2>().0.iter().map(|[start, end]| end.saturating_sub(*start) as f64 / 1e9).collect())
    }

    /// Runs the launches of `recording` with a timestamp after each, and waits.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub fn profile(&self, recording: &Recording) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for part in recording.dispatches().chunks(MOST_QUERIES - 1) {
            spans.extend(self.profile_part(&Recording::of(part))?);
        }
        Ok(spans)
    }

    fn profile_part(&self, recording: &Recording) -> Result<Vec<Span>> {
        if recording.dispatches().is_empty() {
            return Ok(Vec::new());
        }
        let clock = self.clock(recording.dispatches().len() as u32 + 1)?;
        let mut encoder = self.device().encoder("profile");
        self.encode_pass(&mut encoder, recording, Stamps::Each(&clock.queries))?;
        let stamps = self.read(&clock, encoder)?;
        let spans = recording.dispatches().iter().zip(stamps.windows(2)).map(|(dispatch, stamps)| Span {
            kernel: dispatch.variant.kernel(),
            label: dispatch.variant.to_string(),
            start_ns: stamps[0],
            end_ns: stamps[1],
        });
        Ok(spans.collect())
    }

    fn clock(&self, count: u32) -> Result<Clock> {
        let bytes = u64::from(count) * 8;
        self.device().guarded("timestamps", || {
            let device = &self.device().raw;
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
        Submission::send(self.device(), encoder, Some((wgpu::MapMode::Read, clock.staging.slice(..)))).wait(self.device())?;
        let view = clock.staging.slice(..).get_mapped_range().map_err(|e| Error::Device(format!("timestamps: {e:?}")))?;
        let period = f64::from(self.device().queue.get_timestamp_period());
        Ok(view.as_chunks::<8>().0.iter().map(|&b| (u64::from_le_bytes(b) as f64 * period) as u64).collect())
    }
}

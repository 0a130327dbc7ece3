//! Where GPU time goes: a timestamp after every launch of a recording.

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

impl Gpu {
    /// From now on, collects when each launch of every submission ran, which makes submissions slow; `false` ends that. Returns what was
    /// collected.
    ///
    /// # Errors
    /// The device has no timestamps inside a pass.
    pub fn trace(&self, on: bool) -> Result<Vec<Span>> {
        if on && !self.caps().timestamps {
            return Err(Error::Device(format!("{} has no timestamps inside a pass", self.name())));
        }
        let mut traced = self.traced();
        Ok(std::mem::replace(&mut *traced, on.then(Vec::new)).unwrap_or_default())
    }

    /// Runs the launches of `recording` with a timestamp after each, and waits.
    pub(super) fn profile(&self, recording: &Recording) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for part in recording.dispatches.chunks(MOST_QUERIES - 1) {
            let part = Recording { dispatches: part.to_vec(), downloads: Vec::new() };
            spans.extend(self.profile_part(&part)?);
        }
        Ok(spans)
    }

    fn profile_part(&self, recording: &Recording) -> Result<Vec<Span>> {
        if recording.dispatches.is_empty() {
            return Ok(Vec::new());
        }
        let count = recording.dispatches.len() as u32 + 1;
        let bytes = u64::from(count) * 8;
        let (queries, resolved, staging) = self.guarded("timestamps", || {
            let device = self.device();
            let buffer = |usage| {
                device.create_buffer(&wgpu::BufferDescriptor { label: Some("timestamps"), size: bytes, usage, mapped_at_creation: false })
            };
            (
                device.create_query_set(&wgpu::QuerySetDescriptor { label: Some("timestamps"), ty: wgpu::QueryType::Timestamp, count }),
                buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
                buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
            )
        })?;
        let mut encoder = self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("profile") });
        self.encode_pass(&mut encoder, recording, Some(&queries))?;
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, Some(bytes));
        self.raw_queue().submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| {});
        self.device().poll(wgpu::PollType::wait_indefinitely()).map_err(|e| Error::Device(e.to_string()))?;
        self.healthy()?;
        let view = staging.slice(..).get_mapped_range().map_err(|e| Error::Device(format!("timestamps: {e:?}")))?;
        let period = f64::from(self.raw_queue().get_timestamp_period());
        let stamps: Vec<u64> = view.as_chunks::<8>().0.iter().map(|&b| (u64::from_le_bytes(b) as f64 * period) as u64).collect();
        let spans = recording.dispatches.iter().zip(stamps.windows(2)).map(|(dispatch, stamps)| Span {
            kernel: dispatch.variant.kernel(),
            label: dispatch.variant.to_string(),
            start_ns: stamps[0],
            end_ns: stamps[1],
        });
        Ok(spans.collect())
    }
}

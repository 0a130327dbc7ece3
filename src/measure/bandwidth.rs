//! The speed at which the device reads its memory, which bounds the speed of most kernels.

use crate::Result;
use crate::gpu::{Gpu, Recording};
use crate::kernels::{KernelContext, Pass, Rows, record_stream_read};
use crate::num::KvType;
use std::time::Instant;

/// Measures the bytes per second that the device reads, from a buffer larger than its caches.
///
/// # Errors
/// The device failed, or there is no memory left.
pub fn read_bandwidth(gpu: &Gpu) -> Result<f64> {
    const WORKGROUPS: u32 = 2112;
    const REPEATS: u32 = 10;
    let kernels = KernelContext::new(gpu, KvType::F16, true)?;
    let bytes =
        (if gpu.is_software() { 32 << 20 } else { 1 << 30 }).min(gpu.caps().max_binding_bytes / 16 * 16).min(gpu.caps().max_buffer_bytes);
    let source = gpu.buffer("source", bytes)?.all();
    let sums = gpu.buffer("sums", u64::from(WORKGROUPS) * 4)?.all();
    let mut rec = Recording::new();
    let mut pass = Pass { rec: &mut rec, kernels: &kernels, rows: Rows::Many(1) };
    (0..REPEATS).for_each(|_| record_stream_read(&mut pass, &source, &sums, WORKGROUPS));
    // The first runs compile the kernel, clear the buffer and bring the clocks up, so the best run counts.
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let started = Instant::now();
        gpu.run(&rec)?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(bytes as f64 * f64::from(REPEATS) / best)
}

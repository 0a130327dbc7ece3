//! Copying weights from files into GPU memory, with several threads that each have mapped staging memory.

use super::place::Copy;
use crate::engine::watch::Watch;
use crate::gpu::{Buffer, Gpu, Uploader};
use crate::{Error, Result};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The largest number of threads. Each has two staging buffers. They spend most of their time on page faults of the mapped file.
const MOST_THREADS: usize = 12;

/// The largest number of bytes that are copied at a time.
const CHUNK_BYTES: usize = 16 << 20;

/// Bytes that are repacked at a time, few enough to stay in a CPU's cache. A longer row is repacked as a whole.
const REPACKED_BYTES: usize = 128 << 10;

/// A part of a copy that fits in staging memory.
struct Chunk<'a> {
    copy: &'a Copy,
    /// Number of the first row within the copy.
    first: usize,
    /// Number of rows.
    rows: usize,
}

/// Makes all `copies` into `arenas`. `watch` gets the number of copied bytes. Cancelling stops early and is not an error.
///
/// # Errors
/// Where the device fails.
pub fn upload(gpu: &Gpu, copies: &[Copy], arenas: &[Buffer], watch: Watch<'_>) -> Result<()> {
    let chunks: Vec<Chunk<'_>> = copies.iter().flat_map(chunks).collect();
    let largest = chunks.iter().map(|c| c.rows * c.copy.tensor.row_bytes()).max().unwrap_or(0);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(chunks.len());
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let total = copies.iter().map(Copy::bytes).sum();
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || -> Result<()> {
        let mut uploader = Uploader::new(gpu, (largest as u64).next_multiple_of(4))?;
        let mut scratch = Vec::new();
        while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if watch.is_cancelled() {
                break;
            }
            let Copy { tensor, rows, arena, offset } = chunk.copy;
            let stride = tensor.row_bytes();
            let bytes = chunk.rows * stride;
            let first = rows.start + chunk.first;
            // Every chunk of a copy but the last is a multiple of 4 bytes. The last one is filled up with zeros, which the alignment of the
            // arena leaves room for.
            uploader.write(&arenas[*arena], offset + (chunk.first * stride) as u64, bytes.next_multiple_of(4) as u64, |staging| {
                tensor.read_rows(first..first + chunk.rows, |at, part| {
                    if !chunk.copy.is_rearranged() {
                        return staging.put(at, part);
                    }
                    let each = REPACKED_BYTES.next_multiple_of(stride.max(1));
                    for (i, rows) in part.chunks(each).enumerate() {
                        scratch.resize(rows.len(), 0);
                        tensor.format.repack(tensor.columns, rows, &mut scratch);
                        staging.put(at + i * each, &scratch);
                    }
                });
                staging.put(bytes, &[0; 4][..bytes.next_multiple_of(4) - bytes]);
            })?;
            let before = done.fetch_add(bytes as u64, Ordering::Relaxed);
            (watch.report)(before + bytes as u64, total);
        }
        uploader.finish()
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                if let Err(error) = work() {
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    next.store(chunks.len(), Ordering::Relaxed);
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn chunks(copy: &Copy) -> impl Iterator<Item = Chunk<'_>> {
    // A multiple of four rows is a multiple of 4 bytes in every format.
    let each = (CHUNK_BYTES / copy.tensor.row_bytes().max(1) / 4 * 4).max(4);
    let rows = copy.rows.len();
    (0..rows).step_by(each).map(move |first| Chunk { copy, first, rows: each.min(rows - first) })
}

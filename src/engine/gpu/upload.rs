//! Weights from files into GPU memory: many threads, each with its own mapped staging memory.

use super::place::Copy;
use crate::engine::watch::Watch;
use crate::gpu::{Buffer, Gpu, Uploader};
use crate::{Error, Result};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Threads that copy at most: each takes two pieces of staging memory. What takes them longest is mapping the file's pages.
const MOST_THREADS: usize = 12;

/// Bytes copied at a time at most.
const PIECE_BYTES: usize = 16 << 20;

/// Bytes repacked at a time, unless one row has more.
const REPACKED_BYTES: usize = 128 << 10;

/// A part of a copy that fits in staging memory.
struct Piece<'a> {
    copy: &'a Copy,
    first: usize,
    rows: usize,
}

/// Copies all of `copies` into `arenas`, and tells `watch` how many bytes. Stops early, without an error, when it is cancelled.
///
/// # Errors
/// The device failed.
pub fn upload(gpu: &Gpu, copies: &[Copy], arenas: &[Buffer], watch: Watch<'_>) -> Result<()> {
    let pieces: Vec<Piece<'_>> = copies.iter().flat_map(pieces).collect();
    let largest = pieces.iter().map(|p| p.rows * p.copy.tensor.row_bytes()).max().unwrap_or(0);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(pieces.len());
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let total = copies.iter().map(Copy::bytes).sum();
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || -> Result<()> {
        let mut uploader = Uploader::new(gpu, (largest as u64).next_multiple_of(4))?;
        // Rows that are kept in another order than stored, as many as stay in a processor's cache.
        let mut scratch = Vec::new();
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            if watch.is_cancelled() {
                break;
            }
            let Copy { tensor, rows, arena, offset } = piece.copy;
            let stride = tensor.row_bytes();
            let bytes = piece.rows * stride;
            let first = rows.start + piece.first;
            // Pieces but the last are multiples of 4 bytes; the last is filled up to one, within the arena's alignment.
            uploader.write(&arenas[*arena], offset + (piece.first * stride) as u64, bytes.next_multiple_of(4) as u64, |staging| {
                tensor.read_rows(first..first + piece.rows, |at, part| {
                    if !piece.copy.is_rearranged() {
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
                    next.store(pieces.len(), Ordering::Relaxed);
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn pieces(copy: &Copy) -> impl Iterator<Item = Piece<'_>> {
    // Four rows of any format are a multiple of 4 bytes.
    let each = (PIECE_BYTES / copy.tensor.row_bytes().max(1) / 4 * 4).max(4);
    let rows = copy.rows.len();
    (0..rows).step_by(each).map(move |first| Piece { copy, first, rows: each.min(rows - first) })
}

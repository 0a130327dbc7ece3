//! Work in flight is polled, waited for or dropped, and buffers are dropped while work uses them.

use super::adapters::each;
use dwarfstar::gpu::{Gpu, OpenOptions, Recording, Slice, Variant, adapters};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const COLUMNS: u32 = 1024;

/// Records a read of all of `source`, which writes one word of each workgroup into `sums`.
fn read(recording: &mut Recording, source: Slice, sums: Slice, workgroups: u32) {
    let words = (source.bytes / 16) as u32;
    recording.dispatch(Variant::new("stream_read").constant("WG", 256), &words, vec![source, sums], [workgroups, 1, 1]);
}

/// A recording that takes some time: it reads 16 MiB four times, and downloads the sums of its workgroups if wanted.
fn work(gpu: &Gpu, is_downloaded: bool) -> Recording {
    let (source, sums) = (gpu.buffer("source", 16 << 20).unwrap(), gpu.buffer("sums", 256).unwrap());
    let mut recording = Recording::new();
    for _ in 0..4 {
        read(&mut recording, source.all(), sums.all(), 64);
    }
    if is_downloaded {
        recording.download(sums.all());
    }
    recording
}

fn download(slice: Slice) -> Recording {
    let mut recording = Recording::new();
    recording.download(slice);
    recording
}

#[test]
fn tickets_are_done_without_anybody_blocking() {
    each(OpenOptions::default(), |gpu| {
        for is_downloaded in [false, true] {
            let (called, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let ticket = gpu.submit(&work(gpu, is_downloaded)).unwrap();
            let (early, late) = (called.clone(), seen.clone());
            gpu.when_done(&ticket, move || {
                early.fetch_add(1, Ordering::Relaxed);
            });
            let started = Instant::now();
            while !gpu.is_done(&ticket).unwrap() {
                assert!(started.elapsed() < Duration::from_secs(60), "never done");
                std::thread::yield_now();
            }
            assert_eq!(called.load(Ordering::Relaxed), 1);
            gpu.when_done(&ticket, move || {
                late.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(seen.load(Ordering::Relaxed), 1, "what is done calls at once");
            assert!(gpu.is_done(&ticket).unwrap(), "what is done stays so");
            let results = gpu.wait(ticket).unwrap();
            assert_eq!(results.iter().map(Vec::len).collect::<Vec<_>>(), if is_downloaded { vec![256] } else { Vec::new() });
        }
    });
}

#[test]
fn a_dropped_ticket_leaves_the_results_of_others_alone() {
    each(OpenOptions::default(), |gpu| {
        let first = work(gpu, true);
        for i in 0..64u32 {
            let wanted = gpu.buffer_with("wanted", &[i; 64]).unwrap();
            drop(gpu.submit(&first).unwrap());
            // Both downloads have the same length, so that the staging memory of the dropped ticket would fit.
            assert_eq!(gpu.run(&download(wanted.all())).unwrap(), [bytemuck::cast_slice::<u32, u8>(&[i; 64])]);
        }
    });
}

#[test]
fn memory_goes_back_while_work_that_uses_it_is_in_flight() {
    each(OpenOptions::default(), |gpu| {
        let before = gpu.held_bytes();
        for round in 0..8 {
            let rows = |label, value: f32| gpu.buffer_with(label, &[value; COLUMNS as usize]).unwrap();
            let (x, weight, y) = (rows("x", 3.0), rows("weight", round as f32), rows("y", 0.0));
            assert_eq!(gpu.held_bytes(), before + 3 * u64::from(COLUMNS) * 4);
            let mut recording = Recording::new();
            let norm = Variant::new("rms_norm").constant("WG", 64);
            recording.dispatch(norm, &[COLUMNS, COLUMNS, 0, 0], vec![x.all(), weight.all(), y.all()], [1, 1, 1]);
            recording.download(y.all());
            let ticket = gpu.submit(&recording).unwrap();
            drop((recording, x, weight, y));
            assert_eq!(gpu.held_bytes(), before, "round {round}");
            let results = gpu.wait(ticket).unwrap().concat();
            let wrong = results.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).find(|y| (y - round as f32).abs() > 1e-4);
            assert_eq!(wrong, None, "round {round}");
        }
    });
}

#[test]
fn a_buffer_of_another_device_is_refused() {
    let adapter = &adapters()[0];
    let [here, there] = [(); 2].map(|()| adapter.open(OpenOptions::default()).unwrap());
    let foreign = there.buffer_with("foreign", &[1u32; 64]).unwrap();
    let refused = "GPU: buffer foreign belongs to another device";
    assert_eq!(here.run(&download(foreign.all())).unwrap_err().to_string(), refused);
    let sums = here.buffer("sums", 256).unwrap();
    let mut recording = Recording::new();
    read(&mut recording, foreign.all(), sums.all(), 1);
    assert_eq!(here.run(&recording).unwrap_err().to_string(), refused);
    assert_eq!(here.run(&download(sums.all())).unwrap(), [vec![0; 256]], "the device goes on");
    here.write(&foreign.all(), &[2u32]);
    assert_eq!(here.run(&download(sums.all())).unwrap_err().to_string(), refused, "a write tells with the next call");
}

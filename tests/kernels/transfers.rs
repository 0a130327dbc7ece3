//! Copies to and from the device by several threads at once.

use super::adapters::each;
use dwarfstar::gpu::{Buffer, Gpu, OpenOptions, Recording, Uploader};
use std::thread;

const THREADS: u32 = 8;
const WORDS: u32 = 2048;

/// Writes the words of this thread one by one. The uploader has two staging buffers, so each write waits for the last but one.
fn upload(gpu: &Gpu, buffer: &Buffer, thread: u32) {
    let mut uploader = Uploader::new(gpu, 4).unwrap();
    for word in thread * WORDS..(thread + 1) * WORDS {
        uploader.write(buffer, u64::from(word) * 4, 4, |staging| staging.put(0, &word.to_le_bytes())).unwrap();
    }
    uploader.finish().unwrap();
}

#[test]
fn threads_do_not_take_each_others_turns() {
    each(OpenOptions::default(), |gpu| {
        let (written, still) = (gpu.buffer("written", u64::from(THREADS * WORDS) * 4).unwrap(), gpu.buffer_with("still", &[7u32]).unwrap());
        thread::scope(|scope| {
            for i in 0..THREADS {
                let written = &written;
                scope.spawn(move || upload(gpu, written, i));
            }
            for _ in 0..WORDS {
                let mut recording = Recording::new();
                recording.download(still.all());
                assert_eq!(gpu.run(&recording).unwrap(), [7u32.to_le_bytes()]);
            }
        });
        let mut recording = Recording::new();
        recording.download(written.all());
        let words: Vec<u8> = (0..THREADS * WORDS).flat_map(u32::to_le_bytes).collect();
        assert_eq!(gpu.run(&recording).unwrap(), [words]);
    });
}

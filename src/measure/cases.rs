//! Times the cases of the kernels, on a device without a model.
//!
//! Each kind of launch of a case runs alone and is repeated. The launches write the same output, so each waits for the one before. Weights
//! and cached rows, which a model reads from memory, exist in so many copies that no cache holds them all, and the launches take turns with
//! them. Small inputs are not copied: they are in a cache in a model too.

use super::kinds::{Kind, kinds, label};
use crate::gpu::{Buffer, Cost, Dispatch, Gpu, Recording, Slice};
use crate::verify::{Selection, collect};
use crate::{Error, Result};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};

/// The least size of a buffer of which copies are made, in bytes.
const LARGE_BYTES: u64 = 256 << 10;

/// Number of bytes that launches read before they return to the same copy: more than caches hold.
const COLD_BYTES: u64 = 256 << 20;

/// The largest number of copies of an input.
const MOST_COPIES: u64 = 512;

/// The time of one kind of launch in a case.
pub struct CaseTime {
    /// Shapes and formats.
    case: String,
    kernel: &'static str,
    /// The flags and constants that distinguish the variant from others of the case.
    label: String,
    grid: [u32; 3],
    /// Seconds of one launch.
    seconds: f64,
    cost: Cost,
    /// Bytes per second that the device reads.
    bandwidth: f64,
    /// Number of copies of large inputs. None if there is no large input.
    copies: Option<u64>,
    /// Whether the copies are so few that caches may still hold a copy when its turn comes again.
    is_cached: bool,
}

/// Times the kernels of the selected cases and gives each time to `sink` as soon as it is measured. `bandwidth` is the number of bytes per
/// second that the device reads, `memory` the number of bytes that copies of inputs may take.
///
/// # Errors
/// The device failed or has too little memory, `cancel` was set, or `sink` failed.
pub fn time_cases(
    gpu: &Gpu,
    selection: Selection,
    (bandwidth, memory): (f64, u64),
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(&CaseTime) -> Result<()>,
) -> Result<()> {
    collect(gpu, selection, &mut |case, recording| {
        let kinds = kinds(recording);
        for kind in &kinds {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Refused("stopped".into()));
            }
            let rotation = Rotation::new(gpu, kind, memory)?;
            let seconds = gpu.time(recording, &rotation.recording)? / rotation.recording.dispatches().len() as f64;
            let (all, launches) = (kind.cost(), kind.launches.len() as u64);
            sink(&CaseTime {
                case: case.to_string(),
                kernel: kind.variant.kernel(),
                label: label(kind.variant, &kinds),
                grid: kind.grid,
                seconds,
                cost: Cost { bytes: all.bytes / launches, flops: all.flops / launches },
                bandwidth,
                copies: rotation.copies,
                is_cached: rotation.is_cached,
            })?;
        }
        Ok(())
    })
}

/// The launches of one kind, on several copies of their large inputs.
struct Rotation {
    recording: Recording,
    copies: Option<u64>,
    is_cached: bool,
}

impl Rotation {
    fn new(gpu: &Gpu, kind: &Kind<'_>, memory: u64) -> Result<Self> {
        let inputs = large_inputs(&kind.launches, &gpu.writes(kind.variant)?);
        let size: u64 = inputs.iter().map(Buffer::bytes).sum();
        let once = Recording::of(kind.launches.iter().copied());
        if inputs.is_empty() {
            return Ok(Self { recording: once, copies: None, is_cached: false });
        }
        // A launch of unknown cost is taken to read all of its large inputs.
        let read = match kind.cost().bytes {
            0 => size,
            bytes => bytes.min(size),
        };
        let copies = COLD_BYTES.div_ceil(read).min(MOST_COPIES).min(memory / size + 1);
        let mut launches: Vec<Dispatch> = once.dispatches().to_vec();
        for _ in 1..copies {
            let others = inputs.iter().map(|input| copy_of(gpu, input)).collect::<Result<Vec<_>>>()?;
            launches.extend(once.dispatches().iter().map(|launch| on_copies(launch, &inputs, &others)));
        }
        Ok(Self { recording: Recording::of(&launches), copies: Some(copies), is_cached: copies * read < COLD_BYTES })
    }
}

/// The large buffers that launches of one variant bind where the kernel only reads, and nowhere else. `writes`: of each binding.
fn large_inputs(launches: &[&Dispatch], writes: &[bool]) -> Vec<Buffer> {
    let bound = |written: bool| {
        let of = move |launch: &&Dispatch| -> Vec<Buffer> {
            launch.slices().zip(writes).filter(|(_, writes)| **writes == written).map(|(slice, _)| slice.buffer.clone()).collect()
        };
        launches.iter().flat_map(of).collect::<Vec<_>>()
    };
    let written = bound(true);
    let mut inputs: Vec<Buffer> = Vec::new();
    for buffer in bound(false) {
        if buffer.bytes() >= LARGE_BYTES && written.iter().chain(&inputs).all(|other| !other.same(&buffer)) {
            inputs.push(buffer);
        }
    }
    inputs
}

fn copy_of(gpu: &Gpu, buffer: &Buffer) -> Result<Buffer> {
    let copy = gpu.buffer("copy", buffer.bytes())?;
    gpu.copy(&[(buffer.all(), copy.all())])?;
    Ok(copy)
}

/// `launch` with each of `inputs` replaced by the buffer of `others` in its place.
fn on_copies(launch: &Dispatch, inputs: &[Buffer], others: &[Buffer]) -> Dispatch {
    let copy = |slice: &Slice| {
        let other = inputs.iter().zip(others).find(|(input, _)| input.same(&slice.buffer)).map(|(_, other)| other);
        other.unwrap_or(&slice.buffer).slice(slice.offset, slice.bytes)
    };
    Dispatch { bindings: launch.bindings.iter().map(|binding| binding.map(copy)).collect(), ..launch.clone() }
}

impl CaseTime {
    /// The header of a text table.
    pub fn header() -> String {
        format!(
            "{:<16} {:>10} {:>8} {:>7} {:>8} {:>6} {:>12}  variant; case\n",
            "kernel", "us", "GB/s", "of peak", "TFLOP/s", "copies", "grid"
        )
    }

    /// A line of the text table.
    pub fn text(&self) -> String {
        let number = |value: Option<f64>, digits: usize| value.map_or("-".into(), |v| format!("{v:.digits$}"));
        let copies = self.copies.map_or("-".into(), |copies| format!("{copies}{}", if self.is_cached { "*" } else { "" }));
        let [x, y, z] = self.grid;
        format!(
            "{:<16} {:>10.2} {:>8} {:>7} {:>8} {copies:>6} {:>12}  {}; {}\n",
            self.kernel,
            self.seconds * 1e6,
            number(self.gigabytes(), 1),
            number(self.share(), 2),
            number(self.teraflops(), 3),
            format!("{x}x{y}x{z}"),
            self.label,
            self.case
        )
    }

    /// The same line as JSON.
    pub fn json(&self) -> String {
        let row = json!({
            "kernel": self.kernel, "variant": self.label, "case": self.case, "grid": self.grid, "us": self.seconds * 1e6,
            "gb_per_s": self.gigabytes(), "share_of_bandwidth": self.share(), "tflops": self.teraflops(), "copies": self.copies,
            "cached": self.is_cached,
        });
        format!("{row}\n")
    }

    /// The explanation below the text table.
    pub fn footer() -> &'static str {
        "copies: of large inputs, of which launches take turns; * too few to be sure that no cache serves them; - no input is large"
    }

    /// 10^9 bytes per second.
    fn gigabytes(&self) -> Option<f64> {
        (self.cost.bytes > 0).then(|| self.cost.bytes as f64 / self.seconds / 1e9)
    }

    fn share(&self) -> Option<f64> {
        self.gigabytes().map(|rate| rate * 1e9 / self.bandwidth)
    }

    /// 10^12 operations per second.
    fn teraflops(&self) -> Option<f64> {
        (self.cost.flops > 0).then(|| self.cost.flops as f64 / self.seconds / 1e12)
    }
}

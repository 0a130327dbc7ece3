//! Recordings as JSON, to be kept, read and run again: the launches, the buffers that they bind, and the contents of some of them.

use super::binding::Binding;
use super::buffer::{Buffer, Slice};
use super::executor::Gpu;
use super::recording::{Cost, Dispatch, GRID_LIMIT, PARAMS_BYTES, Recording};
use super::variant::Variant;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fmt::Display;

/// The name and version of the format, which a file must name.
const FORMAT: &str = "dwarfstar recording 2";

/// A recording that belongs to no device. Sizes and offsets are in bytes; parameters and contents are words of 32 bits.
///
/// It names kernels and variants of this program, which are looked up when it is loaded. Kernels trust its parameters and contents, so load
/// a recording that somebody else made only on a device that was opened with `checks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedRecording {
    format: String,
    buffers: Vec<SavedBuffer>,
    launches: Vec<SavedLaunch>,
    downloads: Vec<SavedSlice>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedBuffer {
    id: u64,
    label: String,
    bytes: u64,
    /// The contents. None for a buffer that starts as zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contents: Option<Vec<u32>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedLaunch {
    kernel: String,
    flags: Vec<String>,
    constants: Vec<(String, u32)>,
    params: Vec<u32>,
    bindings: Vec<SavedBinding>,
    grid: [u32; 3],
    cost: Cost,
    by_position: bool,
}

/// The same as [`Binding`], with saved slices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum SavedBinding {
    One(SavedSlice),
    Twice(SavedSlice),
    Pool(Vec<SavedSlice>),
    Merged(SavedSlice),
    Unused(SavedSlice),
    Prefetch { ranges: Vec<SavedSlice>, sink: Option<SavedSlice> },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSlice {
    buffer: u64,
    offset: u64,
    bytes: u64,
}

impl SavedRecording {
    /// Saves `recording` without the contents of its buffers.
    pub fn new(recording: &Recording) -> Self {
        let mut saved = Self { format: FORMAT.into(), buffers: Vec::new(), launches: Vec::new(), downloads: Vec::new() };
        let slices = recording.dispatches().iter().flat_map(Dispatch::slices).chain(recording.downloads());
        let mut seen = HashSet::new();
        for buffer in slices.map(|slice| &slice.buffer) {
            if seen.insert(buffer.id()) {
                saved.buffers.push(SavedBuffer { id: buffer.id(), label: buffer.label().into(), bytes: buffer.bytes(), contents: None });
            }
        }
        saved.launches = recording.dispatches().iter().map(SavedLaunch::of).collect();
        saved.downloads = recording.downloads().iter().map(SavedSlice::of).collect();
        saved
    }

    /// Adds the contents of those of `buffers` that the recording binds, as they are after everything that was submitted to `gpu`. Call it
    /// before the recording runs, if it is to run again on the same inputs.
    ///
    /// # Errors
    /// The device fails.
    pub fn with_contents(mut self, gpu: &Gpu, buffers: &[&Buffer]) -> Result<Self> {
        for saved in &mut self.buffers {
            let Some(buffer) = buffers.iter().find(|buffer| buffer.id() == saved.id) else { continue };
            let mut recording = Recording::new();
            recording.download(buffer.all());
            let contents = gpu.run(&recording)?.concat();
            saved.contents = Some(contents.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect());
        }
        Ok(self)
    }

    /// The recording as JSON.
    ///
    /// # Errors
    /// The serialiser fails, which it does for no recording that is known.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(wrong)
    }

    /// Reads what [`SavedRecording::to_json`] wrote.
    ///
    /// # Errors
    /// The text is no recording of this version.
    pub fn from_json(text: &str) -> Result<Self> {
        let saved: Self = serde_json::from_str(text).map_err(wrong)?;
        if saved.format == FORMAT { Ok(saved) } else { Err(wrong(format!("the format is {:?}, expected {FORMAT:?}", saved.format))) }
    }

    /// Makes the recording on new buffers of `gpu`, with the saved contents where there are any and zeros elsewhere.
    ///
    /// # Errors
    /// A kernel, flag or constant does not exist, a launch is impossible, or a slice lies outside its buffer; all of this is checked before
    /// memory is taken. Or there is no memory left.
    pub fn load(&self, gpu: &Gpu) -> Result<Recording> {
        let variants = self.check()?;
        let mut buffers = HashMap::new();
        for saved in &self.buffers {
            let buffer = gpu.buffer(&saved.label, saved.bytes)?;
            if let Some(contents) = &saved.contents {
                gpu.write(&buffer.all(), contents);
            }
            buffers.insert(saved.id, buffer);
        }
        let slice = |saved: &SavedSlice| Ok(find(&buffers, saved.buffer)?.slice(saved.offset, saved.bytes));
        let mut recording = Recording::new();
        for (launch, variant) in self.launches.iter().zip(variants) {
            let bindings = launch.bindings.iter().map(|binding| binding.load(slice)).collect::<Result<_>>()?;
            let params = bytemuck::cast_slice(&launch.params).to_vec();
            let &SavedLaunch { grid, cost, by_position, .. } = launch;
            recording.push(Dispatch { variant, params, bindings, grid, cost, by_position });
        }
        for saved in &self.downloads {
            recording.download(slice(saved)?);
        }
        Ok(recording)
    }

    /// Checks everything that does not depend on the device. Returns the variant of each launch.
    fn check(&self) -> Result<Vec<Variant>> {
        let mut sizes = HashMap::new();
        for SavedBuffer { id, label, bytes, contents } in &self.buffers {
            if let Some(have) = contents.as_ref().map(|words| words.len() as u64 * 4).filter(|have| have != bytes) {
                return Err(wrong(format!("buffer {id} ({label}) of {bytes} bytes has contents of {have} bytes")));
            }
            if sizes.insert(*id, *bytes).is_some() {
                return Err(wrong(format!("two buffers have the id {id}")));
            }
        }
        self.downloads.iter().try_for_each(|slice| slice.check(&sizes)).map_err(|error| wrong(format!("a download: {error}")))?;
        let launches = self.launches.iter().enumerate();
        launches.map(|(i, launch)| launch.check(&sizes).map_err(|error| wrong(format!("launch {i}: {error}")))).collect()
    }
}

impl SavedLaunch {
    fn of(launch: &Dispatch) -> Self {
        let variant = &launch.variant;
        Self {
            kernel: variant.kernel().into(),
            flags: variant.flags().iter().map(ToString::to_string).collect(),
            constants: variant.constants().iter().map(|(name, value)| (name.to_string(), *value)).collect(),
            params: launch.param_words().collect(),
            bindings: launch.bindings.iter().map(SavedBinding::of).collect(),
            grid: launch.grid,
            cost: launch.cost,
            by_position: launch.by_position,
        }
    }

    fn check(&self, sizes: &HashMap<u64, u64>) -> Result<Variant> {
        let params = self.params.len() * 4;
        if params > PARAMS_BYTES {
            return Err(Error::Text(format!("{params} bytes of parameters, at most {PARAMS_BYTES} are allowed")));
        }
        if let Some(wrong) = self.grid.iter().find(|size| !(1..=GRID_LIMIT).contains(*size)) {
            return Err(Error::Text(format!("a grid of {wrong} workgroups in one dimension, expected 1 to {GRID_LIMIT}")));
        }
        self.bindings.iter().flat_map(SavedBinding::slices).try_for_each(|slice| slice.check(sizes))?;
        Variant::known(&self.kernel, &self.flags, &self.constants)
    }
}

impl SavedBinding {
    fn of(binding: &Binding) -> Self {
        let of = SavedSlice::of;
        match binding {
            Binding::One(slice) => Self::One(of(slice)),
            Binding::Twice(slice) => Self::Twice(of(slice)),
            Binding::Pool(segments) => Self::Pool(segments.iter().map(of).collect()),
            Binding::Merged(slice) => Self::Merged(of(slice)),
            Binding::Unused(slice) => Self::Unused(of(slice)),
            Binding::Prefetch { ranges, sink } => Self::Prefetch { ranges: ranges.iter().map(of).collect(), sink: sink.as_ref().map(of) },
        }
    }

    fn load(&self, of: impl Fn(&SavedSlice) -> Result<Slice>) -> Result<Binding> {
        let all = |slices: &[SavedSlice]| slices.iter().map(&of).collect::<Result<_>>();
        Ok(match self {
            Self::One(slice) => Binding::One(of(slice)?),
            Self::Twice(slice) => Binding::Twice(of(slice)?),
            Self::Pool(segments) => Binding::Pool(all(segments)?),
            Self::Merged(slice) => Binding::Merged(of(slice)?),
            Self::Unused(slice) => Binding::Unused(of(slice)?),
            Self::Prefetch { ranges, sink } => Binding::Prefetch { ranges: all(ranges)?, sink: sink.as_ref().map(&of).transpose()? },
        })
    }

    fn slices(&self) -> impl Iterator<Item = &SavedSlice> {
        let (first, rest) = match self {
            Self::One(slice) | Self::Twice(slice) | Self::Merged(slice) | Self::Unused(slice) => (Some(slice), &[][..]),
            Self::Pool(segments) => (None, &segments[..]),
            Self::Prefetch { ranges, sink } => (sink.as_ref(), &ranges[..]),
        };
        first.into_iter().chain(rest)
    }
}

impl SavedSlice {
    fn of(slice: &Slice) -> Self {
        Self { buffer: slice.buffer.id(), offset: slice.offset, bytes: slice.bytes }
    }

    fn check(&self, sizes: &HashMap<u64, u64>) -> Result<()> {
        let (Self { buffer, offset, bytes }, size) = (self, *find(sizes, self.buffer)?);
        if offset.checked_add(*bytes).is_none_or(|end| end > size) {
            return Err(Error::Text(format!("{bytes} bytes at {offset} of buffer {buffer}, which has {size}")));
        }
        if *bytes == 0 || !offset.is_multiple_of(4) {
            return Err(Error::Text(format!("{bytes} bytes at {offset} of buffer {buffer}, expected some at a multiple of 4")));
        }
        Ok(())
    }
}

fn find<T>(buffers: &HashMap<u64, T>, id: u64) -> Result<&T> {
    buffers.get(&id).ok_or_else(|| Error::Text(format!("there is no buffer {id}")))
}

fn wrong(what: impl Display) -> Error {
    Error::Text(format!("saved recording: {what}"))
}

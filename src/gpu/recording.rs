//! Work described as plain data: what to run, with which parameters, on which buffers, over which grid.

use super::binding::Binding;
use super::buffer::Slice;
use super::variant::Variant;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of parameters of a launch at most.
pub(super) const PARAMS_BYTES: usize = 128;

/// Workgroups in each dimension of a grid at most.
pub(super) const GRID_LIMIT: u32 = 65_535;

/// What a launch has to move and compute, as far as the host can tell: measurements divide it by the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Bytes that it reads and writes at least once; 0: not known.
    pub bytes: u64,
    /// Multiplications and additions of matrix products; 0: there are none, or not known.
    pub flops: u64,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, flops: self.flops + other.flops }
    }
}

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

/// One kernel launch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Which kernel, in which variant.
    pub variant: Variant,
    /// The bytes of the kernel's `Params`, at most 128.
    pub params: Vec<u8>,
    /// What the kernel is given, in the order in which its shader declares it.
    pub bindings: Vec<Binding>,
    /// Workgroups in x, y, z.
    pub grid: [u32; 3],
    /// What it moves and computes.
    pub cost: Cost,
    /// Its variant, parameters or grid follow from the positions of the step's rows: a later step of as many rows may have another one in
    /// its place, or none. The launches that are not marked are the same in both, so that an executor may prepare them once.
    pub by_position: bool,
}

/// `rms_norm[WG=256] grid 4x1x1 x[0..256] y[0..256] params 00000010 358637bd`: bindings in bytes, parameters in words.
impl fmt::Display for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.grid;
        write!(f, "{} grid {x}x{y}x{z}", self.variant)?;
        self.bindings.iter().try_for_each(|binding| write!(f, " {binding}"))?;
        f.write_str(" params")?;
        self.param_words().try_for_each(|word| write!(f, " {word:08x}"))
    }
}

impl Dispatch {
    /// The ranges that its shader declares, in order.
    pub fn slices(&self) -> impl Iterator<Item = &Slice> {
        self.bindings.iter().flat_map(Binding::slices)
    }

    /// The parameters as words, the last one filled up with zeros.
    pub(super) fn param_words(&self) -> impl Iterator<Item = u32> {
        self.params.chunks(4).map(|bytes| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte)))
    }
}

/// A list of launches that run in order, and what to fetch when they are done.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    dispatches: Vec<Dispatch>,
    downloads: Vec<Slice>,
    /// The newest launch had an empty grid.
    dropped: bool,
}

impl Recording {
    /// An empty recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a launch. A grid with a zero dimension is dropped: ragged steps produce them.
    pub fn dispatch<P: bytemuck::NoUninit>(&mut self, variant: Variant, params: &P, bindings: Vec<impl Into<Binding>>, grid: [u32; 3]) {
        self.dropped = grid.contains(&0);
        if self.dropped {
            return;
        }
        let (params, cost) = (bytemuck::bytes_of(params).to_vec(), Cost::default());
        let bindings = bindings.into_iter().map(Into::into).collect();
        self.dispatches.push(Dispatch { variant, params, bindings, grid, cost, by_position: false });
    }

    /// Notes what the newest launch costs, for those who measure it.
    pub fn cost(&mut self, cost: Cost) {
        if let Some(newest) = self.dispatches.last_mut().filter(|_| !self.dropped) {
            newest.cost = cost;
        }
    }

    /// Marks the newest launch as one that follows from the positions of the step's rows.
    pub fn by_position(&mut self) {
        if let Some(newest) = self.dispatches.last_mut().filter(|_| !self.dropped) {
            newest.by_position = true;
        }
    }

    /// Fetches `slice` after the last launch.
    pub fn download(&mut self, slice: Slice) {
        self.downloads.push(slice);
    }

    /// What is fetched, in order.
    pub fn downloads(&self) -> &[Slice] {
        &self.downloads
    }

    /// The launches, in order.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Appends a launch as it is.
    pub(super) fn push(&mut self, dispatch: Dispatch) {
        self.dispatches.push(dispatch);
    }

    /// Some launches as a recording that downloads nothing.
    pub fn of<'a>(dispatches: impl IntoIterator<Item = &'a Dispatch>) -> Self {
        Self { dispatches: dispatches.into_iter().cloned().collect(), ..Self::default() }
    }

    /// A recording that launches nothing and fetches what this one fetches.
    pub(super) fn only_downloads(&self) -> Self {
        Self { downloads: self.downloads.clone(), ..Self::default() }
    }

    /// Appends all of `other`.
    pub fn append(&mut self, other: Recording) {
        self.dispatches.extend(other.dispatches);
        self.downloads.extend(other.downloads);
    }
}

/// A line for each launch, numbered, and one for each download.
impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, dispatch) in self.dispatches.iter().enumerate() {
            writeln!(f, "{i:4} {dispatch}")?;
        }
        self.downloads.iter().try_for_each(|slice| writeln!(f, "     download {slice}"))
    }
}

/// A grid of at least `workgroups` workgroups within the limit of 65,535 a dimension. Shaders number themselves
/// `id.x + id.y * num_workgroups.x` and skip what is beyond their size.
pub fn grid_1d(workgroups: u32) -> [u32; 3] {
    if workgroups <= GRID_LIMIT {
        return [workgroups, 1, 1];
    }
    let rows = workgroups.div_ceil(GRID_LIMIT);
    [workgroups.div_ceil(rows), rows, 1]
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Buffer;
    use super::super::buffer::tests::Notes;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_recording_prints_a_line_for_each_launch_and_download() {
        let [x, y] = ["x", "y"].map(|label| Buffer::new(label, 512, Arc::new(Notes::default())));
        let mut rec = Recording::new();
        let variant = Variant::new("rms_norm").flag("Y_F16").constant("WG", 64);
        rec.dispatch(
            variant,
            &[16u32, 1.0f32.to_bits()],
            vec![x.all().into(), Binding::Twice(x.slice(256, 64)), Binding::Pool(vec![y.all(), x.all()])],
            [2, 3, 1],
        );
        rec.dispatch(Variant::new("plain"), &[7u8, 1], Vec::<Binding>::new(), [1, 1, 1]);
        rec.download(y.slice(4, 8));
        let lines = [
            "   0 rms_norm[Y_F16 WG=64] grid 2x3x1 x[0..512] twice(x[256..320]) pool(y[0..512] x[0..512]) params 00000010 3f800000",
            "   1 plain[] grid 1x1x1 params 00000107",
            "     download y[4..12]",
        ];
        assert_eq!(rec.to_string().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn a_cost_belongs_to_the_launch_before_it_and_to_no_other() {
        let cost = Cost { bytes: 3, flops: 4 };
        let mut rec = Recording::new();
        rec.dispatch(Variant::new("x"), &0u32, Vec::<Binding>::new(), [1, 1, 1]);
        rec.dispatch(Variant::new("x"), &0u32, Vec::<Binding>::new(), [1, 0, 1]);
        rec.cost(cost);
        assert_eq!(rec.dispatches()[0].cost, Cost::default(), "the launch that was dropped cost nothing");
        rec.dispatch(Variant::new("x"), &0u32, Vec::<Binding>::new(), [1, 1, 1]);
        rec.cost(cost);
        assert_eq!((rec.dispatches().len(), rec.dispatches()[1].cost), (2, cost));
    }
}

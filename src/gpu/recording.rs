//! Work described as plain data: which kernels to launch, with which parameters, buffers and grids, and what to download.

use super::binding::Binding;
use super::buffer::Slice;
use super::variant::Variant;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest size of a launch's parameters, in bytes.
pub(super) const PARAMS_BYTES: usize = 128;

/// The largest number of workgroups in one dimension of a grid.
pub(super) const GRID_LIMIT: u32 = 65_535;

/// The bytes and operations of a launch, as far as the host knows them. Measurements divide them by the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Number of different bytes that it reads or writes; 0 if that is unknown.
    pub bytes: u64,
    /// Number of multiplications and additions of matrix products; 0 if there are none, or if that is unknown.
    pub flops: u64,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, flops: self.flops + other.flops }
    }
}

/// When one launch ran, in nanoseconds of the device's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Name of the kernel and its variant.
    pub label: String,
    /// End of the launch before it.
    pub start_ns: u64,
    /// End of this launch.
    pub end_ns: u64,
}

/// One kernel launch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The kernel and its variant.
    pub variant: Variant,
    /// The bytes of the kernel's `Params`, at most 128.
    pub params: Vec<u8>,
    /// The memory arguments, in the order in which the shader declares them.
    pub bindings: Vec<Binding>,
    /// Workgroups in x, y, z.
    pub grid: [u32; 3],
    /// The bytes and operations of the launch.
    pub cost: Cost,
    /// Whether variant, parameters or grid depend on the positions of the step's rows. A later step with the same number of rows may have
    /// another launch in its place, or none. All other launches are the same in both steps, so an executor may prepare them once.
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
    /// The ranges that the shader declares, in order.
    pub fn slices(&self) -> impl Iterator<Item = &Slice> {
        self.bindings.iter().flat_map(Binding::slices)
    }

    /// The parameters as words. The last one is filled up with zeros.
    pub(super) fn param_words(&self) -> impl Iterator<Item = u32> {
        self.params.chunks(4).map(|bytes| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte)))
    }
}

/// A list of launches that run in order, and the ranges to download when they are done.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    dispatches: Vec<Dispatch>,
    downloads: Vec<Slice>,
    /// Whether the newest launch was left out because of its empty grid.
    dropped: bool,
}

impl Recording {
    /// An empty recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a launch. A launch whose grid has a dimension of 0 is left out; some steps produce them.
    pub fn dispatch<P: bytemuck::NoUninit>(&mut self, variant: Variant, params: &P, bindings: Vec<impl Into<Binding>>, grid: [u32; 3]) {
        self.dropped = grid.contains(&0);
        if self.dropped {
            return;
        }
        let (params, cost) = (bytemuck::bytes_of(params).to_vec(), Cost::default());
        let bindings = bindings.into_iter().map(Into::into).collect();
        self.dispatches.push(Dispatch { variant, params, bindings, grid, cost, by_position: false });
    }

    /// Sets the cost of the newest launch.
    pub fn cost(&mut self, cost: Cost) {
        if let Some(newest) = self.dispatches.last_mut().filter(|_| !self.dropped) {
            newest.cost = cost;
        }
    }

    /// Marks the newest launch as one that depends on the positions of the step's rows.
    pub fn by_position(&mut self) {
        if let Some(newest) = self.dispatches.last_mut().filter(|_| !self.dropped) {
            newest.by_position = true;
        }
    }

    /// Downloads `slice` after the last launch.
    pub fn download(&mut self, slice: Slice) {
        self.downloads.push(slice);
    }

    /// The ranges that are downloaded, in order.
    pub fn downloads(&self) -> &[Slice] {
        &self.downloads
    }

    /// The launches, in order.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Appends a complete launch.
    pub(super) fn push(&mut self, dispatch: Dispatch) {
        self.dispatches.push(dispatch);
    }

    /// A recording of these launches that downloads nothing.
    pub fn of<'a>(dispatches: impl IntoIterator<Item = &'a Dispatch>) -> Self {
        Self { dispatches: dispatches.into_iter().cloned().collect(), ..Self::default() }
    }

    /// A recording with the downloads of this one and no launches.
    pub(super) fn only_downloads(&self) -> Self {
        Self { downloads: self.downloads.clone(), ..Self::default() }
    }

    /// Appends the launches and downloads of `other`.
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

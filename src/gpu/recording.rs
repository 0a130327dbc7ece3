//! Work described as plain data: what to run, with which parameters, on which buffers, over which grid.

use super::buffer::Slice;
use super::shader::Variant;

/// One kernel launch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Which kernel, in which variant.
    pub variant: Variant,
    /// The bytes of the kernel's `Params`, at most 128.
    pub params: Vec<u8>,
    /// What is bound, in the order in which the shader declares its bindings.
    pub bindings: Vec<Slice>,
    /// Workgroups in x, y, z.
    pub grid: [u32; 3],
}

/// A list of launches that run in order, and what to fetch when they are done.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    pub(super) dispatches: Vec<Dispatch>,
    pub(super) downloads: Vec<Slice>,
}

impl Recording {
    /// An empty recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a launch. A grid with a zero dimension is dropped: ragged steps produce them.
    pub fn dispatch<P: bytemuck::NoUninit>(&mut self, variant: Variant, params: &P, bindings: Vec<Slice>, grid: [u32; 3]) {
        if grid.contains(&0) {
            return;
        }
        self.dispatches.push(Dispatch { variant, params: bytemuck::bytes_of(params).to_vec(), bindings, grid });
    }

    /// Fetches `slice` after the last launch.
    pub fn download(&mut self, slice: Slice) {
        self.downloads.push(slice);
    }

    /// The launches, in order.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Appends all of `other`.
    pub fn append(&mut self, other: Recording) {
        self.dispatches.extend(other.dispatches);
        self.downloads.extend(other.downloads);
    }
}

/// A grid of at least `workgroups` workgroups within the limit of 65,535 a dimension. Shaders number themselves
/// `id.x + id.y * num_workgroups.x` and skip what is beyond their size.
pub fn grid_1d(workgroups: u32) -> [u32; 3] {
    const LIMIT: u32 = 65_535;
    if workgroups <= LIMIT {
        return [workgroups, 1, 1];
    }
    let rows = workgroups.div_ceil(LIMIT);
    [workgroups.div_ceil(rows), rows, 1]
}

//! Work described as plain data: what to run, with which parameters, on which buffers, over which grid.

use super::buffer::Slice;
use super::shader::Variant;

/// What a launch has to move and compute, as far as the host can tell: measurements divide it by the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// What it moves and computes.
    pub cost: Cost,
}

/// A list of launches that run in order, and what to fetch when they are done.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    pub(super) dispatches: Vec<Dispatch>,
    pub(super) downloads: Vec<Slice>,
    /// The newest launch had an empty grid.
    dropped: bool,
}

impl Recording {
    /// An empty recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a launch. A grid with a zero dimension is dropped: ragged steps produce them.
    pub fn dispatch<P: bytemuck::NoUninit>(&mut self, variant: Variant, params: &P, bindings: Vec<Slice>, grid: [u32; 3]) {
        self.dropped = grid.contains(&0);
        if self.dropped {
            return;
        }
        let (params, cost) = (bytemuck::bytes_of(params).to_vec(), Cost::default());
        self.dispatches.push(Dispatch { variant, params, bindings, grid, cost });
    }

    /// Notes what the newest launch costs, for those who measure it.
    pub fn cost(&mut self, cost: Cost) {
        if let Some(newest) = self.dispatches.last_mut().filter(|_| !self.dropped) {
            newest.cost = cost;
        }
    }

    /// Fetches `slice` after the last launch.
    pub fn download(&mut self, slice: Slice) {
        self.downloads.push(slice);
    }

    /// The launches, in order.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Some launches as a recording that downloads nothing.
    pub fn of<'a>(dispatches: impl IntoIterator<Item = &'a Dispatch>) -> Self {
        Self { dispatches: dispatches.into_iter().cloned().collect(), ..Self::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_belongs_to_the_launch_before_it_and_to_no_other() {
        let cost = Cost { bytes: 3, flops: 4 };
        let mut rec = Recording::new();
        rec.dispatch(Variant::new("x"), &0u32, Vec::new(), [1, 1, 1]);
        rec.dispatch(Variant::new("x"), &0u32, Vec::new(), [1, 0, 1]);
        rec.cost(cost);
        assert_eq!(rec.dispatches()[0].cost, Cost::default(), "the launch that was dropped cost nothing");
        rec.dispatch(Variant::new("x"), &0u32, Vec::new(), [1, 1, 1]);
        rec.cost(cost);
        assert_eq!((rec.dispatches().len(), rec.dispatches()[1].cost), (2, cost));
    }
}

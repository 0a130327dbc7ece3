//! The memory plan: what a model, a context and a number of sessions take on a device, before anything is taken.

use super::layout::Layout;
use super::sizes::{Capacity, FixedSizes, LayerSizes, RowSizes};
use crate::Result;
use crate::gpu::Caps;
use crate::model::Config;
use std::fmt;

/// Bytes by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// What it is for.
    pub capacity: Capacity,
    /// Weights.
    pub weights: u64,
    /// Window keys of all layers and sessions.
    pub rings: u64,
    /// Compressed rows.
    pub compressed_rows: u64,
    /// Rows of the indexer.
    pub index_rows: u64,
    /// Values and gates of open windows.
    pub frontiers: u64,
    /// Activations of one step, indexer scores, logits.
    pub activations: u64,
}

impl MemoryPlan {
    /// The plan for `config` with weights as `layout` places them.
    ///
    /// # Errors
    /// Something is larger than the device can bind.
    pub fn new(config: &Config, layout: &Layout, capacity: Capacity, caps: &Caps) -> Result<Self> {
        let mut plan = Self {
            capacity,
            weights: layout.bytes(),
            rings: 0,
            compressed_rows: 0,
            index_rows: 0,
            frontiers: 0,
            activations: u64::from(capacity.rows) * RowSizes::new(config, capacity.kv).bytes()
                + FixedSizes::new(config, &capacity, caps).bytes(),
        };
        // The draft block's layer has a window and nothing else.
        let draft = layout.has_draft().then_some(0);
        for ratio in config.layers.iter().map(|l| l.ratio).chain(draft) {
            let sizes = LayerSizes::new(config, ratio, &capacity, caps)?;
            plan.rings += sizes.ring.bytes();
            for (pages, (frontier, own)) in [(&mut plan.compressed_rows, sizes.compressor), (&mut plan.index_rows, sizes.index)]
                .into_iter()
                .filter_map(|(pages, sizes)| sizes.map(|s| (pages, s)))
            {
                *pages += own.bytes();
                plan.frontiers += frontier.bytes();
            }
        }
        Ok(plan)
    }

    /// The same with steps cut in half, down to `fewest` rows, for as long as everything together takes more than `there` bytes. What is
    /// still too large is returned as it is.
    ///
    /// # Errors
    /// As [`MemoryPlan::new`].
    pub fn within(config: &Config, layout: &Layout, mut capacity: Capacity, caps: &Caps, fewest: u32, there: Option<u64>) -> Result<Self> {
        loop {
            let plan = Self::new(config, layout, capacity, caps)?;
            if capacity.rows <= fewest || there.is_none_or(|there| plan.total() <= there) {
                return Ok(plan);
            }
            capacity.rows = (capacity.rows / 2).max(fewest);
        }
    }

    /// What sessions keep between steps.
    pub fn cache(&self) -> u64 {
        self.rings + self.compressed_rows + self.index_rows + self.frontiers
    }

    /// Everything.
    pub fn total(&self) -> u64 {
        self.weights + self.cache() + self.activations
    }
}

/// Bytes for people.
pub fn mib(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 1024.0 * 10.0 { format!("{:.2} GiB", mib / 1024.0) } else { format!("{mib:.1} MiB") }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Capacity { context, sessions, rows, kv } = self.capacity;
        writeln!(f, "memory for {context} tokens x {sessions} session(s), {kv} cache, steps of up to {rows} rows:")?;
        for (what, bytes) in [
            ("weights", self.weights),
            ("compressed rows", self.compressed_rows),
            ("index rows", self.index_rows),
            ("window rings", self.rings),
            ("frontiers", self.frontiers),
            ("activations", self.activations),
        ] {
            writeln!(f, "  {what:<16} {:>12}", mib(bytes))?;
        }
        write!(f, "  {:<16} {:>12}", "total", mib(self.total()))
    }
}

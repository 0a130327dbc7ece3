//! The memory plan: the bytes that a model with its sessions takes on a device, computed before anything is allocated.

use super::buffers::Buffers;
use super::layout::Layout;
use super::sizes::{Capacity, LayerSizes, table_bytes};
use crate::Result;
use crate::gpu::Caps;
use crate::kernels::KernelContext;
use crate::model::Config;
use std::fmt;

/// Bytes of GPU memory by purpose, for all layers and sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The capacity that the plan is for.
    pub capacity: Capacity,
    /// Bytes of weights.
    pub weights: u64,
    /// Bytes of the keys of sliding windows.
    pub rings: u64,
    /// Bytes of compressed rows.
    pub compressed_rows: u64,
    /// Bytes of the compressed rows of the indexers.
    pub index_rows: u64,
    /// Bytes of the values and gates of open windows.
    pub frontiers: u64,
    /// Bytes of the activations of one step, and of tables.
    pub activations: u64,
}

impl MemoryPlan {
    /// The plan for a model of `config` with the weights of `layout`.
    ///
    /// # Errors
    /// Where a cache is larger than the device can bind.
    pub fn new(config: &Config, layout: &Layout, capacity: Capacity, caps: &Caps) -> Result<Self> {
        let mut plan = Self {
            capacity,
            weights: layout.bytes(),
            rings: 0,
            compressed_rows: 0,
            index_rows: 0,
            frontiers: 0,
            activations: Buffers::bytes(config, &capacity, caps) + table_bytes(&capacity) + KernelContext::BYTES,
        };
        // The draft block's layer has the sliding window only.
        let draft = layout.has_draft().then_some(0);
        for ratio in config.layers.iter().map(|l| l.ratio).chain(draft) {
            let sizes = LayerSizes::new(config, ratio, &capacity, caps)?;
            plan.rings += sizes.ring.bytes();
            for (total, (frontier, pages)) in [(&mut plan.compressed_rows, sizes.compressor), (&mut plan.index_rows, sizes.index)]
                .into_iter()
                .filter_map(|(total, sizes)| sizes.map(|s| (total, s)))
            {
                *total += pages.bytes();
                plan.frontiers += frontier.bytes();
            }
        }
        Ok(plan)
    }

    /// Like [`MemoryPlan::new`], with the rows of a step halved until the plan takes no more than `available` bytes or a step has `fewest`
    /// rows. The result may still be too large.
    ///
    /// # Errors
    /// Those of [`MemoryPlan::new`].
    pub fn within(
        config: &Config,
        layout: &Layout,
        mut capacity: Capacity,
        caps: &Caps,
        fewest: u32,
        available: Option<u64>,
    ) -> Result<Self> {
        loop {
            let plan = Self::new(config, layout, capacity, caps)?;
            if capacity.rows <= fewest || available.is_none_or(|available| plan.total() <= available) {
                return Ok(plan);
            }
            capacity.rows = (capacity.rows / 2).max(fewest);
        }
    }

    /// Bytes of the state of all sessions.
    pub fn cache(&self) -> u64 {
        self.rings + self.compressed_rows + self.index_rows + self.frontiers
    }

    /// All bytes.
    pub fn total(&self) -> u64 {
        self.weights + self.cache() + self.activations
    }
}

/// A number of bytes as text, in MiB or GiB.
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

#[cfg(test)]
mod tests {
    use crate::engine::{DeviceChoice, Engine, LoadOptions, Watch};
    use crate::gpu::{OpenOptions, adapters};
    use crate::model::Model;
    use crate::num::KvType;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn an_engine_holds_as_many_bytes_as_the_plan_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let nano = Model::open(&root.join("tests/data/nano-s1-fp")).unwrap();
        let demo = Model::open(&root.join("src/cli/demo/model.gguf")).unwrap();
        let draft = demo.open_mtp(&root.join("src/cli/demo/draft.gguf")).unwrap();
        let count = adapters().len();
        assert!(count > 0, "no adapter found: install a Vulkan driver, software Vulkan (lavapipe) will do");
        for device in (0..count).map(DeviceChoice::Index) {
            let (context, kv) = (1000, Some(KvType::F32));
            let plain = LoadOptions { device, context, ..Default::default() };
            let cut = OpenOptions { binding_cap: Some(256 << 10), ..Default::default() };
            for (model, draft, options) in [
                (&nano, None, plain.clone()),
                (&nano, None, LoadOptions { sessions: 2, open: cut, ..plain.clone() }),
                (&demo, Some(&draft), LoadOptions { sessions: 3, kv, rows: Some(5), ..plain }),
            ] {
                let engine = Engine::load(model, draft, &options, Watch::quiet(&AtomicBool::new(false))).unwrap();
                let (held, plan) = (engine.gpu().unwrap().held_bytes(), engine.plan().unwrap());
                assert_eq!(held, plan.total(), "{}: bytes of GPU memory in use, and those of this plan:\n{plan}", engine.device());
            }
        }
    }
}

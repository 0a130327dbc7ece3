//! The memory plan: what a model, a context and a number of sessions take on a device, before anything is taken.

use super::buffers::Buffers;
use super::layout::Layout;
use super::sizes::{Capacity, LayerSizes, table_bytes};
use crate::Result;
use crate::gpu::Caps;
use crate::kernels::Kit;
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
    /// Activations of one step, scores, logits, tables.
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
            activations: Buffers::bytes(config, &capacity, caps) + table_bytes(&capacity) + Kit::BYTES,
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

//! Activation buffers: one for each role, most of them shared by all layers, sized for the largest step.
//!
//! Never one arena: launches that share a buffer which one of them writes run one after the other.

use super::sizes::{Capacity, FixedSizes, LayerRowSizes, MASK_ROWS, RowSizes, mask_bytes, own_rows};
use crate::Result;
use crate::gpu::{Gpu, Slice};
use crate::kernels::{Row, Rows, Sampler, Window};
use crate::model::Config;

/// What launches of a layer leave for later ones, past others. A launch waits for those before it if one of them used a buffer that it writes;
/// if only launches of earlier steps did, the device may run it beside them. So in decode steps, whose launches leave much of a device idle,
/// each layer has its own.
#[derive(Debug)]
pub struct LayerBuffers {
    pub queries: Slice,
    pub index_queries: Slice,
    pub fresh: Slice,
    /// Of attention and of the experts.
    pub post: [Slice; 2],
}

impl LayerBuffers {
    fn new(gpu: &Gpu, sizes: LayerRowSizes, rows: u32) -> Result<Self> {
        let buffer = |label: &str, floats: u64| Ok::<_, crate::Error>(gpu.buffer(label, u64::from(rows) * floats * 4)?.all());
        Ok(Self {
            queries: buffer("queries", sizes.queries)?,
            index_queries: buffer("index queries", sizes.index_queries)?,
            fresh: buffer("fresh", sizes.fresh)?,
            post: [buffer("post of attention", sizes.post)?, buffer("post of experts", sizes.post)?],
        })
    }
}

/// The buffers of a step.
#[derive(Debug)]
pub struct Buffers {
    /// The four streams before and after a sub-layer, taking turns.
    pub streams: [Slice; 2],
    pub mix: Slice,
    /// A word for kernels that want to have read something.
    pub unread: Slice,
    pub normed: Slice,
    /// Activations of a decode step rounded to int8, each named like the f32 ones.
    pub normed_int8: Slice,
    pub heads_int8: Slice,
    pub out_low_int8: Slice,
    pub shared_int8: Slice,
    pub act_int8: Slice,
    pub inputs: Slice,
    pub low: Slice,
    /// Of a step of any size, for every layer.
    pub shared_by_layers: LayerBuffers,
    /// Of each layer, and the rows that they are for.
    pub of_layers: Vec<LayerBuffers>,
    pub own_rows: u32,
    pub kv: Slice,
    pub selected: Slice,
    pub heads: Slice,
    pub out_low: Slice,
    pub y: Slice,
    pub shared: Slice,
    pub act: Slice,
    pub chosen: Slice,
    pub weights: Slice,
    pub pairs: Slice,
    pub tiles: Slice,
    /// Parts that a decode step's keys are split into at most.
    pub max_parts: u32,
    pub partial: Slice,
    pub stats: Slice,
    pub scores: Slice,
    pub places: Slice,
    pub logits: Slice,
    /// What the host writes before a step.
    pub rows: Slice,
    pub draft_rows: Slice,
    pub angles: Slice,
    pub windows: Slice,
    pub window_angles: Slice,
    pub wanted: Slice,
    pub samplers: Slice,
    pub masks: Slice,
    /// What the sampler leaves for the host.
    pub results: Slice,
}

impl Buffers {
    /// Takes the memory for `capacity`.
    ///
    /// # Errors
    /// No memory left.
    pub fn new(gpu: &Gpu, config: &Config, capacity: &Capacity) -> Result<Self> {
        let rows = u64::from(capacity.rows);
        let sizes = RowSizes::new(config, capacity.kv);
        let fixed = FixedSizes::new(config, capacity, gpu.caps());
        let buffer = |label: &str, bytes: u64| Ok::<_, crate::Error>(gpu.buffer(label, bytes)?.all());
        let per_row = |label: &str, words: u64| buffer(label, rows * words * 4);
        let [normed_int8, heads_int8, out_low_int8, shared_int8, act_int8] = fixed.int8;
        let rope = u64::from(config.rope_dim) * 4;
        let windows = fixed.windows;
        let row_bytes = rows * size_of::<Row>() as u64;
        Ok(Self {
            streams: [per_row("streams a", sizes.streams)?, per_row("streams b", sizes.streams)?],
            mix: buffer("mix", fixed.mix)?,
            unread: buffer("unread", 4)?,
            normed: per_row("normed", sizes.normed)?,
            normed_int8: buffer("normed int8", normed_int8)?,
            heads_int8: buffer("heads int8", heads_int8)?,
            out_low_int8: buffer("out low int8", out_low_int8)?,
            shared_int8: buffer("shared int8", shared_int8)?,
            act_int8: buffer("act int8", act_int8)?,
            inputs: per_row("inputs", sizes.inputs)?,
            low: per_row("low", sizes.low)?,
            shared_by_layers: LayerBuffers::new(gpu, sizes.layer, capacity.rows)?,
            of_layers: config
                .layers
                .iter()
                .map(|l| LayerBuffers::new(gpu, LayerRowSizes::new(config, l.ratio), own_rows(capacity)))
                .collect::<Result<_>>()?,
            own_rows: own_rows(capacity),
            kv: per_row("kv", sizes.kv)?,
            selected: per_row("selected", sizes.selected)?,
            heads: per_row("heads", sizes.heads)?,
            out_low: per_row("out low", sizes.out_low)?,
            y: per_row("y", sizes.y)?,
            shared: per_row("shared", sizes.shared)?,
            act: per_row("act", sizes.act)?,
            chosen: per_row("chosen", sizes.routes)?,
            weights: per_row("weights", sizes.routes)?,
            pairs: per_row("pairs", sizes.routes)?,
            tiles: buffer("tiles", fixed.tiles)?,
            max_parts: fixed.max_parts,
            partial: buffer("partial", fixed.partial)?,
            stats: buffer("stats", fixed.stats)?,
            scores: buffer("scores", fixed.scores)?,
            places: buffer("places", fixed.places)?,
            logits: buffer("logits", fixed.logits)?,
            rows: buffer("rows", row_bytes)?,
            draft_rows: buffer("draft rows", row_bytes)?,
            angles: buffer("angles", rows * 2 * rope)?,
            windows: buffer("windows", windows * size_of::<Window>() as u64)?,
            window_angles: buffer("window angles", windows * rope)?,
            wanted: buffer("wanted", rows * 4)?,
            samplers: buffer("samplers", rows * size_of::<Sampler>() as u64)?,
            masks: buffer("masks", MASK_ROWS * mask_bytes(config))?,
            results: buffer("results", rows * 8)?,
        })
    }

    /// Those for layer number `layer` in a step of `rows`; the draft block's layer has no number.
    pub fn of_layer(&self, layer: Option<usize>, rows: Rows) -> &LayerBuffers {
        let own = layer.filter(|_| rows.are_few() && rows.count() <= self.own_rows).and_then(|l| self.of_layers.get(l));
        own.unwrap_or(&self.shared_by_layers)
    }
}

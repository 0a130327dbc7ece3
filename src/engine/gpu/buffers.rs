//! Activation buffers: one for each role, sized for the largest step.
//!
//! Never one arena: launches that share a buffer which one of them writes run one after the other.

use super::sizes::{Capacity, MASK_ROWS, StepCounts, mask_bytes};
use crate::gpu::{Caps, Gpu, Slice};
use crate::kernels::{MoeScratch, Row, Rows, Sampler, Window};
use crate::model::Config;
use crate::num::KvType;
use crate::{Error, Result};
use std::convert::Infallible;

/// Makes [`Buffers`] from the table of roles. A line of the table is a role and its size: words of each row of a step, words of each row in
/// layers of some ratios, or bytes.
macro_rules! buffers {
    (
        words of a row, with ($config:ident, $kv:ident): { $($(#[$row_doc:meta])* $row:ident: $row_words:expr,)* }
        words of a row of layers, by their ratios: { $($(#[$layer_doc:meta])* $layer:ident: $layer_words:expr,)* }
        bytes, with ($counts:ident): { $($(#[$fixed_doc:meta])* $fixed:ident: $bytes:expr,)* }
    ) => {
        /// The buffers of a step.
        #[derive(Debug)]
        pub struct Buffers<T = Slice> {
            /// What their sizes follow from.
            pub counts: StepCounts,
            $($(#[$row_doc])* pub $row: T,)*
            $($(#[$layer_doc])* pub $layer: PerLayer<T>,)*
            $($(#[$fixed_doc])* pub $fixed: T,)*
        }

        impl<T> Buffers<T> {
            /// Calls `make` with the label and the bytes of every buffer.
            fn with<E>(
                $config: &Config,
                capacity: &Capacity,
                caps: &Caps,
                mut make: impl FnMut(&'static str, u64) -> Result<T, E>,
            ) -> Result<Self, E> {
                let ($counts, $kv) = (StepCounts::new($config, capacity, caps), capacity.kv);
                // As the device rounds.
                let mut make = |label: &'static str, bytes: u64| make(label, bytes.max(4).next_multiple_of(4));
                Ok(Self {
                    $($row: make(stringify!($row), bytes_of($row_words, $counts.rows))?,)*
                    $($layer: PerLayer::with($config, &$counts, $layer_words, |bytes| make(stringify!($layer), bytes))?,)*
                    $($fixed: make(stringify!($fixed), $bytes)?,)*
                    counts: $counts,
                })
            }
        }

        /// Bytes of one row in the buffer where a row has most.
        fn largest_row($config: &Config, $kv: KvType) -> u64 {
            [$($row_words,)* $(most_words($config, $layer_words),)*].into_iter().max().map_or(0, |words| bytes_of(words, 1))
        }
    };
}

buffers! {
    words of a row, with (c, kv): {
        /// The four streams (T, 4, D) before attention and after the experts.
        streams: 4 * c.dim,
        /// The four streams (T, 4, D) between attention and the experts.
        streams_between: 4 * c.dim,
        /// Normed input of a sub-layer (T, D).
        normed: c.dim,
        /// Projections of a sub-layer's input. A row ends at a multiple of 8 floats, so that every kernel can read it as vectors.
        inputs: (c.q_rank + c.head_dim + if has_index(c) { c.index_heads } else { 0 }).max(c.experts + 2 * c.expert_width).next_multiple_of(8),
        /// Low-rank queries (T, q rank).
        low: c.q_rank,
        /// New window keys (T, K) in the type of cached rows.
        kv: kv.words(c.head_dim),
        /// Compressed rows that the indexer chose (T, top k).
        selected: if has_index(c) { c.index_top_k } else { 1 },
        /// Results of the heads (T, H, K); see also [`Buffers::expert_outputs`].
        heads: (c.heads * c.head_dim).max(c.experts_used * c.dim),
        /// Low-rank attention output (T, groups * rank).
        out_low: c.o_groups * c.o_rank,
        /// Result of a sub-layer (T, D).
        y: c.dim,
        /// Activations of the shared expert (T, F).
        shared: c.expert_width,
        /// Activations of the routed experts (T, used, F).
        act: c.experts_used * c.expert_width,
        /// Experts of each row (T, used).
        chosen: c.experts_used,
        /// Weights of the chosen experts (T, used).
        weights: c.experts_used,
        /// Pairs of a row and an expert, by expert (T, used).
        pairs: c.experts_used,
        /// The rows of the step. The host writes these and the next five before a step.
        rows: words_of::<Row>(),
        /// The rows of the draft block.
        draft_rows: words_of::<Row>(),
        /// (cos, sin) of each row for both sets of frequencies (T, 2, R).
        angles: 2 * c.rope_dim,
        /// Rows that the head is wanted for.
        wanted: 1,
        /// How each wanted row is sampled.
        samplers: words_of::<Sampler>(),
        /// Token and status of each sampled row, for the host.
        results: 2,
    }
    words of a row of layers, by their ratios: {
        /// Queries (T, H, K).
        queries: |_| c.heads * c.head_dim,
        /// Queries of the indexer.
        index_queries: |ratios| if ratios.contains(&4) { c.index_heads * c.index_dim } else { 0 },
        /// Values and gates of the compressors. A row ends at a multiple of 8 floats, as one of `inputs` does.
        compressor_inputs: |ratios| ratios.iter().map(|&ratio| compressor_inputs(c, ratio).next_multiple_of(8)).max().unwrap_or(0),
        /// Weights of the residual of attention (T, 32).
        attention_post: |_| 32,
        /// Weights of the residual of the experts (T, 32).
        experts_post: |_| 32,
    }
    bytes, with (n): {
        /// Mix of the hyper-connections (T, slices, 32).
        mix: n.mix,
        /// A word that prefetching kernels may write, so that no compiler drops what they read.
        prefetch_sink: 4,
        /// `normed` of a decode step rounded to int8.
        normed_int8: n.int8(1, c.dim),
        /// `heads` of a decode step rounded to int8.
        heads_int8: n.int8(1, c.heads * c.head_dim),
        /// `out_low` of a decode step rounded to int8.
        out_low_int8: n.int8(1, c.o_groups * c.o_rank),
        /// `shared` of a decode step rounded to int8.
        shared_int8: n.int8(1, c.expert_width),
        /// `act` of a decode step rounded to int8.
        act_int8: n.int8(c.experts_used, c.expert_width),
        /// Tiles of the experts' matmul.
        tiles: u64::from(MoeScratch::most_tiles(n.rows as u32, c.experts_used, c.experts)) * 16,
        /// Parts of a decode step's attention.
        partial: n.partial_heads(c.heads) * u64::from(c.head_dim) * 4,
        /// Maximum and sum of each part, or of each head of a long step.
        stats: (n.partial_heads(c.heads) * 8).max(n.coop_stats),
        /// Scores of the indexer, and of a long step's attention.
        scores: n.index_scores.max(n.attention_scores),
        /// Where the keys of a long step's attention lie.
        places: n.attention_scores / u64::from(c.heads),
        /// Logits of as many rows as are held at a time.
        logits: n.logit_rows * u64::from(c.vocabulary) * 4,
        /// Windows that close in the step. The host writes these, their angles and the masks before a step.
        windows: n.windows * size_of::<Window>() as u64,
        /// (cos, sin) of the first token of each window.
        window_angles: n.windows * u64::from(c.rope_dim) * 4,
        /// Tokens that masked rows may sample, a bit each.
        masks: MASK_ROWS * mask_bytes(c),
    }
}

/// A role whose content is read later than by the next launch. A launch waits for earlier launches of its step that used a buffer that it
/// writes. In decode steps each layer therefore has such a buffer of its own: their launches leave much of a device idle, and so those of
/// different layers may overlap.
#[derive(Debug)]
pub struct PerLayer<T = Slice> {
    /// For steps of any size, and for the draft block.
    shared: T,
    /// For each layer, in steps of few rows.
    separate: Vec<T>,
    overlap_rows: u64,
}

impl<T> PerLayer<T> {
    /// Calls `make` with the bytes of every buffer, where a row in layers of some ratios has `words`.
    fn with<E>(
        config: &Config,
        counts: &StepCounts,
        words: impl Fn(&[u32]) -> u32,
        mut make: impl FnMut(u64) -> Result<T, E>,
    ) -> Result<Self, E> {
        let ratios = ratios(config);
        let separate = ratios.iter().map(|&ratio| make(bytes_of(words(&[ratio]), counts.overlap_rows))).collect::<Result<_, E>>()?;
        Ok(Self { shared: make(bytes_of(words(&ratios), counts.rows))?, separate, overlap_rows: counts.overlap_rows })
    }

    /// The buffer of layer number `layer` in a step of `rows`. The draft block's layer has no number.
    pub fn of(&self, layer: Option<usize>, rows: Rows) -> &T {
        let separate = layer.filter(|_| rows.are_few() && u64::from(rows.count()) <= self.overlap_rows);
        separate.and_then(|layer| self.separate.get(layer)).unwrap_or(&self.shared)
    }
}

impl Buffers {
    /// Takes the memory for `capacity`.
    ///
    /// # Errors
    /// No memory left.
    pub fn new(gpu: &Gpu, config: &Config, capacity: &Capacity) -> Result<Self> {
        Self::with(config, capacity, gpu.caps(), |label, bytes| Ok(gpu.buffer(label, bytes)?.all()))
    }

    /// Bytes of all buffers that [`Buffers::new`] makes on a device of `caps`.
    pub fn bytes(config: &Config, capacity: &Capacity, caps: &Caps) -> u64 {
        let mut total = 0;
        let Ok(_) = Buffers::with(config, capacity, caps, |_, bytes| {
            total += bytes;
            Ok::<_, Infallible>(())
        });
        total
    }

    /// Results of a long step's experts (T * used, D). They take the memory of `heads`, whose content nothing reads any more when the experts
    /// run: of all buffers only it and the queries have so much for each row.
    pub fn expert_outputs(&self) -> &Slice {
        &self.heads
    }

    /// The first `count` rows of `buffer`, whose size is words of a row.
    pub fn first_rows(&self, buffer: &Slice, count: u32) -> Slice {
        buffer.part(0, buffer.bytes / self.counts.rows * u64::from(count))
    }
}

/// Most rows of a step that the device can hold the activations of, `wanted` at most.
///
/// # Errors
/// Not even one.
pub fn rows_of_a_step(config: &Config, kv: KvType, caps: &Caps, wanted: u32) -> Result<u32> {
    let (limit, row) = (caps.max_binding_bytes.min(caps.max_buffer_bytes), largest_row(config, kv));
    let rows = (limit / row).min(u64::from(wanted)) as u32;
    if rows == 0 {
        return Err(Error::Refused(format!("one row of activations takes {row} bytes, this device can bind {limit}")));
    }
    Ok(rows)
}

fn ratios(config: &Config) -> Vec<u32> {
    config.layers.iter().map(|layer| layer.ratio).collect()
}

fn has_index(config: &Config) -> bool {
    ratios(config).contains(&4)
}

/// Floats of the compressors' values and gates for one row in a layer of `ratio`.
fn compressor_inputs(config: &Config, ratio: u32) -> u32 {
    match ratio {
        0 => 0,
        4 => 4 * (config.head_dim + config.index_dim),
        _ => 2 * config.head_dim,
    }
}

/// Words of a row in the layers where it has most.
fn most_words(config: &Config, words: impl Fn(&[u32]) -> u32) -> u32 {
    words(&ratios(config))
}

fn bytes_of(words: u32, rows: u64) -> u64 {
    u64::from(words) * rows * 4
}

fn words_of<T>() -> u32 {
    size_of::<T>() as u32 / 4
}

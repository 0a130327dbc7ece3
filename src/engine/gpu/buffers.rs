//! Activation buffers: one for each role, sized for the largest step.
//!
//! They are separate buffers and not ranges of one arena, because wgpu tracks hazards by buffer: launches that use one buffer run one after
//! the other if one of them writes it.

use super::sizes::{Capacity, MASK_ROWS, StepCounts, mask_bytes};
use crate::gpu::{Caps, Gpu, Slice};
use crate::kernels::{MoeScratch, Row, Rows, Sampler, Window};
use crate::model::Config;
use crate::num::KvType;
use crate::{Error, Result};
use std::convert::Infallible;

/// Makes [`Buffers`] from a table of roles. A line of the table states a role and its size: the words of a row, the words of a row in
/// layers with given ratios, or bytes.
macro_rules! buffers {
    (
        words of a row, with ($config:ident, $kv:ident): { $($(#[$row_doc:meta])* $row:ident: $row_words:expr,)* }
        words of a row of layers, by their ratios: { $($(#[$layer_doc:meta])* $layer:ident: $layer_words:expr,)* }
        bytes, with ($counts:ident): { $($(#[$fixed_doc:meta])* $fixed:ident: $bytes:expr,)* }
    ) => {
        /// The buffers of a step.
        #[derive(Debug)]
        pub struct Buffers<T = Slice> {
            /// The counts from which the sizes follow.
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
                // The device rounds sizes in the same way, so the memory plan counts the bytes that are really taken.
                let mut make = |label: &'static str, bytes: u64| make(label, bytes.max(4).next_multiple_of(4));
                Ok(Self {
                    $($row: make(stringify!($row), bytes_of($row_words, $counts.rows))?,)*
                    $($layer: PerLayer::with($config, &$counts, $layer_words, |bytes| make(stringify!($layer), bytes))?,)*
                    $($fixed: make(stringify!($fixed), $bytes)?,)*
                    counts: $counts,
                })
            }
        }

        /// Bytes of one row in the buffer with the longest rows.
        fn largest_row($config: &Config, $kv: KvType) -> u64 {
            [$($row_words,)* $(most_words($config, $layer_words),)*].into_iter().max().map_or(0, |words| bytes_of(words, 1))
        }
    };
}

buffers! {
    words of a row, with (c, kv): {
        /// The four residual streams (T, 4, D) before attention and after the experts.
        streams: 4 * c.dim,
        /// The four residual streams (T, 4, D) between attention and the experts.
        streams_between: 4 * c.dim,
        /// Normed input of a sub-layer (T, D).
        normed: c.dim,
        /// Projections of a sub-layer's input. A row has a multiple of 8 floats, so that every kernel can read it as vectors.
        inputs: (c.q_rank + c.head_dim + if has_index(c) { c.index_heads } else { 0 }).max(c.experts + 2 * c.expert_width).next_multiple_of(8),
        /// Low-rank queries (T, q rank).
        low: c.q_rank,
        /// New window keys (T, K) in the number format of the cache.
        kv: kv.words(c.head_dim),
        /// Numbers of the compressed rows that the indexer chose (T, top k).
        selected: if has_index(c) { c.index_top_k } else { 1 },
        /// Outputs of the attention heads (T, H, K). [`Buffers::expert_outputs`] shares this memory.
        heads: (c.heads * c.head_dim).max(c.experts_used * c.dim),
        /// Low-rank attention output (T, groups * rank).
        out_low: c.o_groups * c.o_rank,
        /// Result of a sub-layer (T, D).
        y: c.dim,
        /// Activations of the shared expert (T, F).
        shared: c.expert_width,
        /// Activations of the routed experts (T, used, F).
        act: c.experts_used * c.expert_width,
        /// Numbers of the experts of each row (T, used).
        chosen: c.experts_used,
        /// Weights of the chosen experts (T, used).
        weights: c.experts_used,
        /// Pairs of a row and an expert, sorted by expert (T, used).
        pairs: c.experts_used,
        /// The rows of the step, written by the host.
        rows: words_of::<Row>(),
        /// The rows of the draft block, written by the host.
        draft_rows: words_of::<Row>(),
        /// (cos, sin) of each row for both sets of frequencies (T, 2, R), written by the host.
        angles: 2 * c.rope_dim,
        /// Numbers of the rows that run through the output head, written by the host.
        wanted: 1,
        /// Sampling parameters of each sampled row, written by the host.
        samplers: words_of::<Sampler>(),
        /// Token and status of each sampled row, downloaded by the host.
        results: 2,
    }
    words of a row of layers, by their ratios: {
        /// Queries (T, H, K).
        queries: |_| c.heads * c.head_dim,
        /// Queries of the indexer.
        index_queries: |ratios| if ratios.contains(&4) { c.index_heads * c.index_dim } else { 0 },
        /// Values and gates of the compressors. A row has a multiple of 8 floats, like one of `inputs`.
        compressor_inputs: |ratios| ratios.iter().map(|&ratio| compressor_inputs(c, ratio).next_multiple_of(8)).max().unwrap_or(0),
        /// Weights of the streams and of the result of attention in the new streams (T, 32).
        attention_post: |_| 32,
        /// Weights of the streams and of the result of the experts in the new streams (T, 32).
        experts_post: |_| 32,
    }
    bytes, with (n): {
        /// Products of the streams with the mixing matrix of the hyper-connections (T, slices, 32).
        mix: n.mix,
        /// The sink of the prefetch: kernels write it under a condition that never holds, so that compilers keep the prefetching loads.
        prefetch_sink: 4,
        /// `normed` of a generated step rounded to int8.
        normed_int8: n.int8(1, c.dim),
        /// `heads` of a generated step rounded to int8.
        heads_int8: n.int8(1, c.heads * c.head_dim),
        /// `out_low` of a generated step rounded to int8.
        out_low_int8: n.int8(1, c.o_groups * c.o_rank),
        /// `shared` of a generated step rounded to int8.
        shared_int8: n.int8(1, c.expert_width),
        /// `act` of a generated step rounded to int8.
        act_int8: n.int8(c.experts_used, c.expert_width),
        /// Tiles of the experts' matrix products.
        tiles: u64::from(MoeScratch::most_tiles(n.rows as u32, c.experts_used, c.experts)) * 16,
        /// Attention outputs over each part of the keys, in a generated step.
        partial: n.partial_heads(c.heads) * u64::from(c.head_dim) * 4,
        /// Maximum and sum of the softmax: of each part of a generated step, or of each head of a prompt.
        stats: (n.partial_heads(c.heads) * 8).max(n.coop_stats),
        /// Scores of the indexer, and of a prompt's attention.
        scores: n.index_scores.max(n.attention_scores),
        /// Offsets of the keys of a prompt's attention.
        places: n.attention_scores / u64::from(c.heads),
        /// Logits of the rows that run through the output head together.
        logits: n.logit_rows * u64::from(c.vocabulary) * 4,
        /// Windows that close in the step, written by the host.
        windows: n.windows * size_of::<Window>() as u64,
        /// (cos, sin) of the first token of each window, written by the host.
        window_angles: n.windows * u64::from(c.rope_dim) * 4,
        /// Tokens that masked rows may sample, one bit for each, written by the host.
        masks: MASK_ROWS * mask_bytes(c),
    }
}

/// Buffers of a role whose content is read later than by the next launch. A launch that writes a buffer waits for all earlier launches that
/// used it. Launches of a generated step leave much of a large device idle and should overlap, so there each layer has a separate buffer.
#[derive(Debug)]
pub struct PerLayer<T = Slice> {
    /// The buffer for steps of any size and for the draft block.
    shared: T,
    /// The buffer of each layer, for generated steps of at most `overlap_rows` rows.
    separate: Vec<T>,
    overlap_rows: u64,
}

impl<T> PerLayer<T> {
    /// Calls `make` with the bytes of every buffer. `words` gives the words of a row that suffice for layers with these ratios.
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
    /// Allocates the buffers for `capacity`.
    ///
    /// # Errors
    /// Where no memory is left.
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

    /// Results of the routed experts of a prompt (T * used, D). They share the memory of `heads`, which nothing reads any more when the
    /// experts run and whose rows are long enough.
    pub fn expert_outputs(&self) -> &Slice {
        &self.heads
    }

    /// The first `count` rows of `buffer`, whose size is stated as words of a row.
    pub fn first_rows(&self, buffer: &Slice, count: u32) -> Slice {
        buffer.part(0, buffer.bytes / self.counts.rows * u64::from(count))
    }
}

/// The largest number of rows in a step whose activations the device can bind, at most `wanted`.
///
/// # Errors
/// Where the device cannot bind the activations of a single row.
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

/// Floats of a row of values and gates of all compressors in a layer of `ratio`.
fn compressor_inputs(config: &Config, ratio: u32) -> u32 {
    match ratio {
        0 => 0,
        4 => 4 * (config.head_dim + config.index_dim),
        _ => 2 * config.head_dim,
    }
}

/// Words of a row that suffice for every layer.
fn most_words(config: &Config, words: impl Fn(&[u32]) -> u32) -> u32 {
    words(&ratios(config))
}

fn bytes_of(words: u32, rows: u64) -> u64 {
    u64::from(words) * rows * 4
}

fn words_of<T>() -> u32 {
    size_of::<T>() as u32 / 4
}

//! Sizes of everything a session and a step need in GPU memory: one formula each, for allocation and for the printed plan.

use crate::gpu::Caps;
use crate::kernels::{DECODE_ROWS, Dialect, MAX_PARTS, MoeScratch, Quantized, Row, Rows, Sampler, Window, hc_mix_words, score_bytes};
use crate::model::{Config, REWIND, frontier_rows};
use crate::num::KvType;
use crate::{Error, Result};

/// Tokens in a page of compressed rows.
pub const PAGE_TOKENS: u32 = 512;

/// Rows that a step may write into a ring before the window is read: the largest decode step.
const RING_MARGIN: u32 = DECODE_ROWS;

/// Bindings that one pool may be spread over: what leaves a kernel within 16 bindings.
const MAX_SEGMENTS: u64 = 4;

/// Scores of the indexer that are held at a time.
const SCORE_BYTES: u64 = 64 << 20;

/// Logits that are held at a time.
const LOGIT_BYTES: u64 = 64 << 20;

const _: () = assert!(RING_MARGIN >= REWIND);

/// What the engine was asked to make room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Longest session, in tokens.
    pub context: u32,
    /// Sessions at a time.
    pub sessions: u32,
    /// Most rows of a step.
    pub rows: u32,
    /// How cached rows are stored.
    pub kv: KvType,
}

/// Equal units in as many buffers as their size needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSize {
    /// Bytes of one unit: a row of a ring, or a page.
    pub unit: u64,
    /// How many there are.
    pub units: u64,
    /// How many one buffer holds.
    pub held: u64,
}

impl PoolSize {
    fn new(what: &str, unit: u64, units: u64, caps: &Caps) -> Result<Self> {
        let limit = caps.max_binding_bytes.min(caps.max_buffer_bytes);
        let held = (limit / unit.max(1)).min(units);
        if held * MAX_SEGMENTS < units {
            let (mib, most) = ((unit * units) >> 20, (MAX_SEGMENTS * limit) >> 20);
            return Err(Error::Refused(format!("{what}: {mib} MiB for one layer, this device can bind {most} MiB; ask for less context")));
        }
        Ok(Self { unit, units, held })
    }

    /// Bytes of all units.
    pub fn bytes(&self) -> u64 {
        self.unit * self.units
    }
}

/// The caches of one layer, for all sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSizes {
    /// Window keys.
    pub ring: PoolSize,
    /// Values and gates of the layer's compressor, and its pages.
    pub compressor: Option<(PoolSize, PoolSize)>,
    /// Those of the indexer's.
    pub index: Option<(PoolSize, PoolSize)>,
}

/// Rows of a session's ring of window keys.
pub fn ring_rows(config: &Config) -> u32 {
    config.window + RING_MARGIN
}

/// Pages of a session of `context` tokens.
pub fn pages(context: u32) -> u32 {
    context.div_ceil(PAGE_TOKENS)
}

impl LayerSizes {
    /// For a layer of ratio `ratio`.
    ///
    /// # Errors
    /// More than the device can bind.
    pub fn new(config: &Config, ratio: u32, capacity: &Capacity, caps: &Caps) -> Result<Self> {
        let sessions = u64::from(capacity.sessions);
        let row = |dim: u32| u64::from(dim) * capacity.kv.bytes();
        let compressor = |dim: u32| {
            let width = u64::from(if ratio == 4 { 2 * dim } else { dim });
            let slots = sessions * u64::from(frontier_rows(ratio));
            let page_rows = u64::from(PAGE_TOKENS / ratio);
            let frontier = PoolSize::new("open windows", 2 * width * 4, slots, caps)?;
            let all_pages = sessions * u64::from(pages(capacity.context));
            Ok((frontier, PoolSize::new("compressed rows", page_rows * row(dim), all_pages, caps)?))
        };
        Ok(Self {
            ring: PoolSize::new("window keys", row(config.head_dim), sessions * u64::from(ring_rows(config)), caps)?,
            compressor: if ratio > 0 { Some(compressor(config.head_dim)?) } else { None },
            index: if ratio == 4 { Some(compressor(config.index_dim)?) } else { None },
        })
    }
}

/// Floats of one row of what launches of a layer leave for later ones, past others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerRowSizes {
    /// Queries.
    pub queries: u64,
    /// The indexer's.
    pub index_queries: u64,
    /// Values and gates of the compressors.
    pub fresh: u64,
    /// Residual weights of the hyper-connections, of each half.
    pub post: u64,
}

impl LayerRowSizes {
    /// In a layer of ratio `ratio`.
    pub fn new(config: &Config, ratio: u32) -> Self {
        let c = config;
        let (index_queries, fresh) = match ratio {
            0 => (0, 0),
            4 => (c.index_heads * c.index_dim, 4 * (c.head_dim + c.index_dim)),
            _ => (0, 2 * c.head_dim),
        };
        // A row of `fresh` ends at a multiple of 8 floats, as one of `inputs` does.
        let [queries, index_queries, fresh] = [c.heads * c.head_dim, index_queries, fresh.next_multiple_of(8)].map(u64::from);
        Self { queries, index_queries, fresh, post: 32 }
    }

    /// The largest of all layers of `config`.
    fn largest(config: &Config) -> Self {
        let all = config.layers.iter().map(|l| Self::new(config, l.ratio));
        all.fold(Self::default(), |a, b| Self {
            queries: a.queries.max(b.queries),
            index_queries: a.index_queries.max(b.index_queries),
            fresh: a.fresh.max(b.fresh),
            post: a.post.max(b.post),
        })
    }

    fn floats(&self) -> u64 {
        self.queries + self.index_queries + self.fresh + 2 * self.post
    }
}

/// Rows of a decode step for which each layer has such buffers of its own: one of each session.
pub fn own_rows(capacity: &Capacity) -> u32 {
    capacity.sessions.min(capacity.rows).min(DECODE_ROWS)
}

/// Floats (or words) of one row of a step, by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSizes {
    /// The four streams; there are two such buffers.
    pub streams: u64,
    /// Normed input of a sub-layer.
    pub normed: u64,
    /// Projections of a sub-layer's input.
    pub inputs: u64,
    /// Low-rank queries.
    pub low: u64,
    /// What launches of a layer leave for later ones.
    pub layer: LayerRowSizes,
    /// New window keys.
    pub kv: u64,
    /// Compressed rows that the indexer chose.
    pub selected: u64,
    /// Results of the heads; of the routed experts afterwards.
    pub heads: u64,
    /// Low-rank attention output.
    pub out_low: u64,
    /// Result of a sub-layer.
    pub y: u64,
    /// Activations of the shared expert.
    pub shared: u64,
    /// Activations of the routed experts.
    pub act: u64,
    /// Experts, weights, pairs: each this many.
    pub routes: u64,
}

impl RowSizes {
    /// For `config`, cached rows of type `kv`.
    pub fn new(config: &Config, kv: KvType) -> Self {
        let c = config;
        let has = |ratio: u32| c.layers.iter().any(|l| l.ratio == ratio);
        let dim = u64::from(c.dim);
        let layer = LayerRowSizes::largest(c);
        let index_heads = if has(4) { c.index_heads } else { 0 };
        let used = u64::from(c.experts_used);
        Self {
            streams: 4 * dim,
            normed: dim,
            // A row's projections end at a multiple of 8 floats.
            inputs: u64::from((c.q_rank + c.head_dim + index_heads).max(c.experts + 2 * c.expert_width).next_multiple_of(8)),
            low: u64::from(c.q_rank),
            layer,
            kv: u64::from(kv.words(c.head_dim)),
            selected: if has(4) { u64::from(c.index_top_k) } else { 1 },
            heads: layer.queries.max(used * dim),
            out_low: u64::from(c.o_groups * c.o_rank),
            y: dim,
            shared: u64::from(c.expert_width),
            act: used * u64::from(c.expert_width),
            routes: used,
        }
    }

    /// Bytes of all activations of one row.
    pub fn bytes(&self) -> u64 {
        let words = 2 * self.streams
            + self.normed
            + self.inputs
            + self.low
            + self.layer.floats()
            + self.kv
            + self.selected
            + self.heads
            + self.out_low
            + self.y
            + self.shared
            + self.act
            + 3 * self.routes;
        4 * words
    }

    /// Bytes of the largest buffer's share of one row.
    pub fn largest(&self) -> u64 {
        let LayerRowSizes { queries, index_queries, fresh, .. } = self.layer;
        4 * [self.streams, queries, index_queries, fresh, self.heads, self.act, self.inputs].into_iter().max().unwrap_or(0)
    }
}

/// Sizes that do not grow with the rows of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedSizes {
    /// Parts that a decode step's keys are split into at most.
    pub max_parts: u32,
    /// Parts of a decode step's attention, f32.
    pub partial: u64,
    /// Their maxima and sums.
    pub stats: u64,
    /// Scores of the indexer, and of attention where cooperative matrices make them.
    pub scores: u64,
    /// Where attention's keys lie, there.
    pub places: u64,
    /// Activations of a decode step rounded to int8: normed, heads, out_low, shared, act.
    pub int8: [u64; 5],
    /// What launches of a layer leave for later ones in a decode step, of all layers.
    pub own: u64,
    /// Mix of the hyper-connections: a row of a decode step has more of it than one of a long step.
    pub mix: u64,
    /// Rows of logits held at a time.
    pub logit_rows: u64,
    /// Bytes of those.
    pub logits: u64,
    /// Tiles of the experts' matmul.
    pub tiles: u64,
    /// Closing windows of a step.
    pub windows: u64,
    /// What the host writes before a step and reads after it.
    pub inputs: u64,
    /// Tables of session pages and of block formats, live words, sampled ids.
    pub tables: u64,
}

impl FixedSizes {
    /// For `config` and `capacity` on a device of `caps`; bytes.
    pub fn new(config: &Config, capacity: &Capacity, caps: &Caps) -> Self {
        let c = config;
        let decode = u64::from(capacity.rows.min(DECODE_ROWS));
        let part = decode * u64::from(c.heads * c.head_dim) * 4;
        let max_parts = (caps.max_binding_bytes / part.max(1)).clamp(1, u64::from(MAX_PARTS)) as u32;
        let partial = decode * u64::from(max_parts * c.heads);
        let score_row = u64::from((capacity.context / 4).max(1)) * 4;
        let has_index = c.layers.iter().any(|l| l.ratio == 4);
        let score_limit = SCORE_BYTES.min(caps.max_binding_bytes).max(score_row);
        let index_scores = if has_index { (score_row * u64::from(capacity.rows)).min(score_limit / score_row * score_row) } else { 4 };
        // What a row of a long step sees at most, in the layer where it sees most.
        let compressed = |ratio: u32| capacity.context.checked_div(ratio).unwrap_or(0).min(c.most_rows(ratio));
        let keys = c.window.min(capacity.context) + c.layers.iter().map(|l| compressed(l.ratio)).max().unwrap_or(0);
        let dialect = Dialect { caps: caps.clone(), kv: capacity.kv, exact: false };
        let attention_row = score_bytes(&dialect, c.heads, keys, 1);
        let attention_scores = (attention_row * u64::from(capacity.rows)).min((SCORE_BYTES / attention_row.max(1)).max(1) * attention_row);
        let coop_stats = if dialect.uses_half() { rows_of_stats(c.heads, capacity.rows) } else { 0 };
        let logit_row = u64::from(c.vocabulary) * 4;
        let (rows, rope) = (u64::from(capacity.rows), u64::from(c.rope_dim) * 4);
        // A window of 4 closes at most once in four rows of a session, and every session may add one.
        let windows = rows / 4 + rows / 128 + 2 * u64::from(capacity.sessions) + 2;
        let logit_rows = (LOGIT_BYTES.min(caps.max_binding_bytes) / logit_row).clamp(1, u64::from(capacity.rows));
        Self {
            max_parts,
            partial: partial * u64::from(c.head_dim) * 4,
            stats: (partial * 8).max(coop_stats),
            scores: index_scores.max(attention_scores),
            places: (attention_scores / u64::from(c.heads)).max(4),
            int8: [
                (1, c.dim),
                (1, c.heads * c.head_dim),
                (1, c.o_groups * c.o_rank),
                (1, c.expert_width),
                (c.experts_used, c.expert_width),
            ]
            .map(|(rows, columns)| decode * u64::from(rows * Quantized::words(columns)) * 4),
            own: c.layers.iter().map(|l| LayerRowSizes::new(c, l.ratio).floats()).sum::<u64>() * u64::from(own_rows(capacity)) * 4,
            mix: [Rows::Few(capacity.rows.min(DECODE_ROWS)), Rows::Many(capacity.rows)]
                .map(|step| u64::from(step.count()) * u64::from(hc_mix_words(&dialect, c.dim, step)) * 4)
                .into_iter()
                .max()
                .unwrap_or(0),
            logit_rows,
            logits: logit_rows * logit_row,
            tiles: u64::from(MoeScratch::most_tiles(capacity.rows, c.experts_used, c.experts)) * 16,
            windows,
            inputs: rows * (2 * size_of::<Row>() as u64 + 2 * rope + 4 + size_of::<Sampler>() as u64 + 8)
                + windows * (size_of::<Window>() as u64 + rope)
                + MASK_ROWS * mask_bytes(config),
            tables: u64::from(capacity.sessions) * (u64::from(pages(capacity.context)) + 2) * 4 + 2048 + 64,
        }
    }

    /// All of them.
    pub fn bytes(&self) -> u64 {
        let own =
            [self.own, self.mix, self.partial, self.stats, self.scores, self.places, self.logits, self.tiles, self.inputs, self.tables];
        own.into_iter().chain(self.int8).sum()
    }
}

/// Bytes of (maximum, sum) of every head of `rows` rows, heads rounded up to any cooperative tile.
fn rows_of_stats(heads: u32, rows: u32) -> u64 {
    u64::from(heads.next_multiple_of(64)) * u64::from(rows) * 8
}

/// Rows of masks: as many as a decode step has rows.
pub const MASK_ROWS: u64 = DECODE_ROWS as u64;

/// Bytes of a mask: a bit a token.
pub fn mask_bytes(config: &Config) -> u64 {
    u64::from(config.vocabulary.div_ceil(32)) * 4
}

/// Most rows of a step that the device can hold the activations of, `wanted` at most.
///
/// # Errors
/// Not even one.
pub fn rows_of_a_step(config: &Config, kv: KvType, caps: &Caps, wanted: u32) -> Result<u32> {
    let sizes = RowSizes::new(config, kv);
    let limit = caps.max_binding_bytes.min(caps.max_buffer_bytes);
    let rows = (limit / sizes.largest()).min(u64::from(wanted)) as u32;
    if rows == 0 {
        return Err(Error::Refused(format!("one row of activations takes {} bytes, this device can bind {limit}", sizes.largest())));
    }
    Ok(rows)
}

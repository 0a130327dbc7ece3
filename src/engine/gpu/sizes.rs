//! What the sizes of caches and of a step's buffers follow from: one formula each, for allocation and for the printed plan.

use crate::gpu::Caps;
use crate::kernels::{DECODE_ROWS, Dialect, MAX_PARTS, Quantized, Rows, hc_mix_words, score_bytes};
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

/// Bytes of the tables of all sessions: pages, and whether each is live and what it sampled last.
pub fn table_bytes(capacity: &Capacity) -> u64 {
    u64::from(capacity.sessions) * (u64::from(pages(capacity.context)) + 2) * 4
}

/// Counts and bytes that the sizes of a step's buffers follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepCounts {
    /// Most rows of a step.
    pub rows: u64,
    /// Most rows of a decode step.
    pub decode_rows: u64,
    /// Rows of a decode step up to which each layer has buffers of its own: one for each session.
    pub overlap_rows: u64,
    /// Most parts that a decode step's keys are split into.
    pub max_parts: u32,
    /// Bytes of the indexer's scores that are held at a time.
    pub index_scores: u64,
    /// Bytes of attention's scores that are held at a time, where cooperative matrices make them.
    pub attention_scores: u64,
    /// Bytes of (maximum, sum) of every head of a long step, where cooperative matrices make them.
    pub coop_stats: u64,
    /// Bytes of the mix of the hyper-connections. A row has more of it in a decode step than in a long one.
    pub mix: u64,
    /// Most windows that close in a step.
    pub windows: u64,
    /// Rows of logits that are held at a time.
    pub logit_rows: u64,
}

impl StepCounts {
    /// For `config` and `capacity` on a device of `caps`.
    pub fn new(config: &Config, capacity: &Capacity, caps: &Caps) -> Self {
        let c = config;
        let dialect = Dialect { caps: caps.clone(), kv: capacity.kv, exact: false };
        let (rows, few) = (u64::from(capacity.rows), capacity.rows.min(DECODE_ROWS));
        let part = u64::from(few) * u64::from(c.heads * c.head_dim) * 4;
        let score_row = u64::from((capacity.context / 4).max(1)) * 4;
        let has_index = c.layers.iter().any(|l| l.ratio == 4);
        let score_limit = SCORE_BYTES.min(caps.max_binding_bytes).max(score_row);
        let index_scores = if has_index { (score_row * rows).min(score_limit / score_row * score_row) } else { 4 };
        // The keys that a row of a long step sees at most, in the layer where it sees most.
        let compressed = |ratio: u32| capacity.context.checked_div(ratio).unwrap_or(0).min(c.most_rows(ratio));
        let keys = c.window.min(capacity.context) + c.layers.iter().map(|l| compressed(l.ratio)).max().unwrap_or(0);
        let attention_row = score_bytes(&dialect, c.heads, keys, 1);
        let mix = |step: Rows| u64::from(step.count()) * u64::from(hc_mix_words(&dialect, c.dim, step)) * 4;
        Self {
            rows,
            decode_rows: u64::from(few),
            overlap_rows: u64::from(capacity.sessions.min(few)),
            max_parts: (caps.max_binding_bytes / part.max(1)).clamp(1, u64::from(MAX_PARTS)) as u32,
            index_scores,
            attention_scores: (attention_row * rows).min((SCORE_BYTES / attention_row.max(1)).max(1) * attention_row),
            // Heads are rounded up to any cooperative tile.
            coop_stats: if dialect.uses_half() { u64::from(c.heads.next_multiple_of(64)) * rows * 8 } else { 0 },
            mix: mix(Rows::Few(few)).max(mix(Rows::Many(capacity.rows))),
            // A window of 4 closes at most once in four rows of a session, and every session may add one.
            windows: rows / 4 + rows / 128 + 2 * u64::from(capacity.sessions) + 2,
            logit_rows: (LOGIT_BYTES.min(caps.max_binding_bytes) / (u64::from(c.vocabulary) * 4)).clamp(1, rows),
        }
    }

    /// Heads of all rows and parts of a decode step's attention.
    pub fn partial_heads(&self, heads: u32) -> u64 {
        self.decode_rows * u64::from(self.max_parts * heads)
    }

    /// Bytes of a decode step's activations rounded to int8: each row has `vectors` of `columns` values.
    pub fn int8(&self, vectors: u32, columns: u32) -> u64 {
        self.decode_rows * u64::from(vectors * Quantized::words(columns)) * 4
    }
}

/// Rows of masks: as many as a decode step has rows.
pub const MASK_ROWS: u64 = DECODE_ROWS as u64;

/// Bytes of a mask: a bit a token.
pub fn mask_bytes(config: &Config) -> u64 {
    u64::from(config.vocabulary.div_ceil(32)) * 4
}

//! The formulas for the sizes of caches and buffers. Allocation and the memory plan use the same formula for each.

use crate::gpu::Caps;
use crate::kernels::{DECODE_ROWS, KernelProfile, MAX_PARTS, Quantized, Rows, hc_mix_words, score_bytes};
use crate::model::{Config, REWIND, frontier_rows};
use crate::num::KvType;
use crate::{Error, Result};

/// Tokens in a page of compressed rows.
pub const PAGE_TOKENS: u32 = 512;

/// Rows of a ring beyond the sliding window. A generated step may write that many rows before the window is read.
const RING_MARGIN: u32 = DECODE_ROWS;

/// The largest number of segments of a pool. With more, kernels would need more than 16 bindings.
const MAX_SEGMENTS: u64 = 4;

/// Bytes for the scores of the indexer or of attention that exist at a time.
const SCORE_BYTES: u64 = 64 << 20;

/// Bytes for the logits that exist at a time.
const LOGIT_BYTES: u64 = 64 << 20;

const _: () = assert!(RING_MARGIN >= REWIND);

/// The numbers of tokens, sessions and rows that an engine has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The largest number of tokens in a session.
    pub context: u32,
    /// The largest number of sessions at a time.
    pub sessions: u32,
    /// The largest number of rows in a step.
    pub rows: u32,
    /// Number format of cached rows.
    pub kv: KvType,
}

/// The size of a pool: units of equal size, in as many buffers (segments) as the largest binding demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSize {
    /// Bytes of one unit: a row of a ring, or a page.
    pub unit: u64,
    /// Number of units.
    pub units: u64,
    /// Number of units in each segment but the last.
    pub units_per_segment: u64,
}

impl PoolSize {
    fn new(what: &str, unit: u64, units: u64, caps: &Caps) -> Result<Self> {
        let limit = caps.max_binding_bytes.min(caps.max_buffer_bytes);
        let units_per_segment = (limit / unit.max(1)).min(units);
        if units_per_segment * MAX_SEGMENTS < units {
            let (mib, most) = ((unit * units) >> 20, (MAX_SEGMENTS * limit) >> 20);
            return Err(Error::Refused(format!("{what}: {mib} MiB for one layer, this device can bind {most} MiB; ask for less context")));
        }
        Ok(Self { unit, units, units_per_segment })
    }

    /// Bytes of all units.
    pub fn bytes(&self) -> u64 {
        self.unit * self.units
    }
}

/// The sizes of one layer's caches, for all sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSizes {
    /// Keys of the sliding windows.
    pub ring: PoolSize,
    /// Frontier and pages of the layer's compressor.
    pub compressor: Option<(PoolSize, PoolSize)>,
    /// Frontier and pages of the indexer's compressor.
    pub index: Option<(PoolSize, PoolSize)>,
}

/// Rows of a session's ring.
pub fn ring_rows(config: &Config) -> u32 {
    config.window + RING_MARGIN
}

/// Number of pages of a session of `context` tokens.
pub fn pages(context: u32) -> u32 {
    context.div_ceil(PAGE_TOKENS)
}

impl LayerSizes {
    /// The sizes for a layer of ratio `ratio`.
    ///
    /// # Errors
    /// Where a cache is larger than the device can bind.
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

/// Bytes of the tables of all sessions: the page table, `live` and `sampled`.
pub fn table_bytes(capacity: &Capacity) -> u64 {
    u64::from(capacity.sessions) * (u64::from(pages(capacity.context)) + 2) * 4
}

/// Counts and bytes from which the sizes of a step's buffers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepCounts {
    /// The largest number of rows in a step.
    pub rows: u64,
    /// The largest number of rows in a generated step.
    pub decode_rows: u64,
    /// The largest number of rows for which layers have separate buffers: one row for each session.
    pub overlap_rows: u64,
    /// The largest number of parts that the keys of a generated row are split into.
    pub max_parts: u32,
    /// Bytes of the indexer's scores that exist at a time.
    pub index_scores: u64,
    /// Bytes of attention's scores that exist at a time. Only kernels with cooperative matrices store them.
    pub attention_scores: u64,
    /// Bytes of (maximum, sum) of every head of a prompt. Only kernels with cooperative matrices store them.
    pub coop_stats: u64,
    /// Bytes of the buffer `mix`. A row takes more of it in a generated step than in a prompt.
    pub mix: u64,
    /// The largest number of windows that close in a step.
    pub windows: u64,
    /// Number of rows whose logits exist at a time.
    pub logit_rows: u64,
}

impl StepCounts {
    /// The counts for `config` and `capacity` on a device with `caps`.
    pub fn new(config: &Config, capacity: &Capacity, caps: &Caps) -> Self {
        let c = config;
        let profile = KernelProfile { caps: caps.clone(), kv: capacity.kv, exact: false };
        let (rows, few) = (u64::from(capacity.rows), capacity.rows.min(DECODE_ROWS));
        let part = u64::from(few) * u64::from(c.heads * c.head_dim) * 4;
        let score_row = u64::from((capacity.context / 4).max(1)) * 4;
        let has_index = c.layers.iter().any(|l| l.ratio == 4);
        let score_limit = SCORE_BYTES.min(caps.max_binding_bytes).max(score_row);
        let index_scores = if has_index { (score_row * rows).min(score_limit / score_row * score_row) } else { 4 };
        // The largest number of keys that a row of a prompt attends to in any layer.
        let compressed = |ratio: u32| capacity.context.checked_div(ratio).unwrap_or(0).min(c.most_rows(ratio));
        let keys = c.window.min(capacity.context) + c.layers.iter().map(|l| compressed(l.ratio)).max().unwrap_or(0);
        let attention_row = score_bytes(&profile, c.heads, keys, 1);
        let mix = |step: Rows| u64::from(step.count()) * u64::from(hc_mix_words(&profile, c.dim, step)) * 4;
        Self {
            rows,
            decode_rows: u64::from(few),
            overlap_rows: u64::from(capacity.sessions.min(few)),
            max_parts: (caps.max_binding_bytes / part.max(1)).clamp(1, u64::from(MAX_PARTS)) as u32,
            index_scores,
            attention_scores: (attention_row * rows).min((SCORE_BYTES / attention_row.max(1)).max(1) * attention_row),
            // 64 heads are a multiple of every tile of cooperative matrices.
            coop_stats: if profile.uses_f16() { u64::from(c.heads.next_multiple_of(64)) * rows * 8 } else { 0 },
            mix: mix(Rows::Few(few)).max(mix(Rows::Many(capacity.rows))),
            // Every 4th row of a session closes a window of 4, every 128th row one of 128. Each session may start just before such a row.
            windows: rows / 4 + rows / 128 + 2 * u64::from(capacity.sessions) + 2,
            logit_rows: (LOGIT_BYTES.min(caps.max_binding_bytes) / (u64::from(c.vocabulary) * 4)).clamp(1, rows),
        }
    }

    /// Number of partial attention outputs of a generated step: one for each row, head and part of the keys.
    pub fn partial_heads(&self, heads: u32) -> u64 {
        self.decode_rows * u64::from(self.max_parts * heads)
    }

    /// Bytes of activations of a generated step rounded to int8. A row has `vectors` vectors of `columns` values.
    pub fn int8(&self, vectors: u32, columns: u32) -> u64 {
        self.decode_rows * u64::from(vectors * Quantized::words(columns)) * 4
    }
}

/// The largest number of masked rows in a step.
pub const MASK_ROWS: u64 = DECODE_ROWS as u64;

/// Bytes of a mask, which has one bit for each token.
pub fn mask_bytes(config: &Config) -> u64 {
    u64::from(config.vocabulary.div_ceil(32)) * 4
}

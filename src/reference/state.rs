//! What a session remembers between steps (SPEC 5): newest keys, compressed rows, and the values and gates of open windows.

use crate::model::{Config, REWIND, frontier_rows};
use crate::num::KvType;
use std::collections::VecDeque;

/// The newest rows of a sequence, by position.
#[derive(Clone, Debug)]
pub struct Tail {
    /// How many are kept.
    keep: usize,
    /// Position after the newest row.
    end: u32,
    rows: VecDeque<Vec<f32>>,
}

impl Tail {
    fn new(keep: u32) -> Self {
        Self { keep: keep as usize, end: 0, rows: VecDeque::new() }
    }

    /// Appends the row of position `end`.
    pub fn push(&mut self, row: Vec<f32>) {
        self.rows.push_back(row);
        self.end += 1;
    }

    /// Forgets what is older than the rows to keep.
    pub fn trim(&mut self) {
        self.rows.drain(..self.rows.len().saturating_sub(self.keep));
    }

    /// The row of a position that is still kept.
    pub fn row(&self, position: u32) -> &[f32] {
        &self.rows[self.rows.len() - (self.end - position) as usize]
    }

    /// Drops the rows from `end` on, if there are any.
    fn truncate(&mut self, end: u32) {
        let dropped = self.end.saturating_sub(end);
        self.rows.truncate(self.rows.len() - dropped as usize);
        self.end -= dropped;
    }
}

/// A compressor's memory.
#[derive(Clone, Debug)]
pub struct CompressorState {
    /// Values then gates (2 width) of the newest tokens, without ape.
    pub frontier: Tail,
    /// Rows of closed windows.
    pub rows: Vec<Vec<f32>>,
}

/// A layer's memory.
#[derive(Clone, Debug)]
pub struct LayerState {
    /// Window keys.
    pub ring: Tail,
    /// The layer's compressor, where it has one.
    pub compressor: Option<CompressorState>,
    /// The indexer's compressor, where it has one.
    pub index: Option<CompressorState>,
}

/// A session's memory.
#[derive(Clone, Debug)]
pub struct State {
    /// Tokens so far.
    pub position: u32,
    /// How cached rows are rounded.
    pub kv: KvType,
    /// Of each layer.
    pub layers: Vec<LayerState>,
    /// Of the draft block's layer.
    pub draft: LayerState,
}

impl LayerState {
    /// An empty layer of ratio `ratio`.
    pub fn new(ratio: u32, window: u32) -> Self {
        let compressor = || CompressorState { frontier: Tail::new(frontier_rows(ratio)), rows: Vec::new() };
        Self { ring: Tail::new(window + REWIND), compressor: (ratio > 0).then(compressor), index: (ratio == 4).then(compressor) }
    }

    /// Drops the tokens from `end` on.
    fn truncate(&mut self, end: u32, ratio: u32) {
        self.ring.truncate(end);
        for compressor in [&mut self.compressor, &mut self.index].into_iter().flatten() {
            compressor.frontier.truncate(end);
            compressor.rows.truncate((end / ratio) as usize);
        }
    }
}

impl State {
    /// A session without tokens.
    pub fn new(config: &Config, kv: KvType) -> Self {
        let layers = config.layers.iter().map(|l| LayerState::new(l.ratio, config.window)).collect();
        Self { position: 0, kv, layers, draft: LayerState::new(0, config.window) }
    }

    /// Drops the last `count` tokens, at most [`REWIND`] and no more than there are.
    pub fn drop_last(&mut self, config: &Config, count: u32) {
        debug_assert!(count <= REWIND.min(self.position));
        self.position -= count;
        for (state, layer) in self.layers.iter_mut().zip(&config.layers) {
            state.truncate(self.position, layer.ratio);
        }
        self.draft.truncate(self.position, 0);
    }
}

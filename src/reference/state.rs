//! The state of a session between steps (SPEC 5): the newest keys, the compressed rows, and the values and gates of open windows.

use crate::model::{Config, REWIND, frontier_rows};
use crate::num::KvType;
use std::collections::VecDeque;

/// The newest rows of a sequence, addressed by position.
#[derive(Clone, Debug)]
pub struct Tail {
    /// Number of rows that [`Tail::trim`] keeps.
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

    /// Forgets all but the newest rows.
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

/// The state of a compressor.
#[derive(Clone, Debug)]
pub struct CompressorState {
    /// Rows (2 * width) of the newest tokens: values, then gates without the position bias `ape`.
    pub frontier: Tail,
    /// Compressed rows of the closed windows.
    pub rows: Vec<Vec<f32>>,
}

/// The state of a layer.
#[derive(Clone, Debug)]
pub struct LayerState {
    /// Keys of the sliding window.
    pub ring: Tail,
    /// The compressor of the layer's keys, where the layer has one.
    pub compressor: Option<CompressorState>,
    /// The compressor of the indexer's keys, where the layer has one.
    pub index: Option<CompressorState>,
}

/// The state of a session.
#[derive(Clone, Debug)]
pub struct State {
    /// Number of tokens so far, which is the position of the next one.
    pub position: u32,
    /// Number format to which cached rows are rounded.
    pub kv: KvType,
    /// The state of each layer.
    pub layers: Vec<LayerState>,
    /// The state of the draft block's layer.
    pub draft: LayerState,
}

impl LayerState {
    /// The state of a layer without tokens.
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
    /// The state of a session without tokens.
    pub fn new(config: &Config, kv: KvType) -> Self {
        let layers = config.layers.iter().map(|l| LayerState::new(l.ratio, config.window)).collect();
        Self { position: 0, kv, layers, draft: LayerState::new(0, config.window) }
    }

    /// Drops the last `count` tokens. `count` is at most [`REWIND`] and at most the number of tokens.
    pub fn drop_last(&mut self, config: &Config, count: u32) {
        debug_assert!(count <= REWIND.min(self.position));
        self.position -= count;
        for (state, layer) in self.layers.iter_mut().zip(&config.layers) {
            state.truncate(self.position, layer.ratio);
        }
        self.draft.truncate(self.position, 0);
    }
}

//! A step: rows of one or more sessions that go through the model together, and what is wanted of them.

use crate::kernels::{Row, SAMPLED, Window};
use crate::model::{Config, RopeFrequencies};
use crate::reference::{Sampling, angles};

/// A token id.
pub type TokenId = u32;

/// The token of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// This one.
    Id(TokenId),
    /// The one that the step before sampled for the session, wherever it is by now.
    Sampled,
}

/// One row of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// The session.
    pub slot: u32,
    /// Position in it.
    pub position: u32,
    /// Its token.
    pub token: Token,
}

/// How a row's next token is chosen and when its session stops.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRequest {
    /// The choice.
    pub sampling: Sampling,
    /// Ids that end the turn; at most two.
    pub stops: Vec<TokenId>,
    /// The session stops after this token.
    pub is_last: bool,
    /// Allowed tokens, a bit each; `None` allows all.
    pub mask: Option<Vec<u32>>,
}

/// What is wanted of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// All its logits.
    Logits,
    /// The next token.
    Sample(SampleRequest),
}

/// Rows that go through the model together. A session's rows are neighbours with ascending positions.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The rows.
    pub rows: Vec<StepRow>,
    /// What is wanted: row number and what. Rows that nobody wants anything of skip the output head.
    pub wants: Vec<(u32, Want)>,
    /// The tokens after the first rows of the step, for the draft block's logits; empty: no drafts.
    pub draft: Vec<TokenId>,
}

/// Why a row has no next token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsampled {
    /// The session had stopped before.
    NotLive,
    /// A logit is not a finite number.
    NotFinite,
    /// The mask allows nothing.
    NothingAllowed,
}

/// What a step gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutput {
    /// Logits of the rows that want them, in order: (n, vocabulary).
    pub logits: Vec<f32>,
    /// Next tokens of the rows that want one, in order.
    pub samples: Vec<Result<TokenId, Unsampled>>,
    /// The draft block's logits: (drafts, vocabulary).
    pub draft_logits: Vec<f32>,
}

/// The row list as kernels read it, with rotations and closing windows: everything about a step that the host knows in advance.
pub struct StepData {
    /// Rows (T).
    pub rows: Vec<Row>,
    /// (cos, sin) (T, 2, R/2): plain set, compressed set.
    pub angles: Vec<[f32; 2]>,
    /// Windows of 4 that close, then windows of 128.
    pub windows: Vec<Window>,
    /// How many of them are windows of 4.
    pub fours: u32,
    /// (cos, sin) of their first tokens (n, R/2).
    pub window_angles: Vec<[f32; 2]>,
    /// The highest position of any row.
    pub last_position: u32,
}

impl StepData {
    /// For `rows`, with the model's frequencies.
    pub fn new(rows: &[StepRow], plain: &RopeFrequencies, compressed: &RopeFrequencies) -> Self {
        let mut data = Self {
            rows: Vec::with_capacity(rows.len()),
            angles: Vec::new(),
            windows: Vec::new(),
            fours: 0,
            window_angles: Vec::new(),
            last_position: rows.iter().map(|r| r.position).max().unwrap_or(0),
        };
        let push = |list: &mut Vec<[f32; 2]>, position: u32, frequencies: &RopeFrequencies| {
            list.extend(angles(position, frequencies).into_iter().map(|(cos, sin)| [cos, sin]));
        };
        for run in rows.chunk_by(|a, b| a.slot == b.slot) {
            let first_row = data.rows.len() as u32;
            let last_row = first_row + run.len() as u32 - 1;
            for row in run {
                let token = match row.token {
                    Token::Id(id) => id,
                    Token::Sampled => SAMPLED,
                };
                data.rows.push(Row {
                    slot: row.slot,
                    position: row.position,
                    token,
                    first_row,
                    first_position: run[0].position,
                    last_row,
                    ..Row::default()
                });
                push(&mut data.angles, row.position, plain);
                push(&mut data.angles, row.position, compressed);
            }
        }
        for ratio in [4, 128] {
            for (t, row) in rows.iter().enumerate().filter(|(_, row)| (row.position + 1).is_multiple_of(ratio)) {
                data.windows.push(Window { last_row: t as u32, index: row.position / ratio });
                push(&mut data.window_angles, row.position + 1 - ratio, compressed);
            }
            if ratio == 4 {
                data.fours = data.windows.len() as u32;
            }
        }
        data
    }

    /// The windows of `ratio` in `windows`: first and how many.
    pub fn windows_of(&self, ratio: u32) -> (u32, u32) {
        if ratio == 4 { (0, self.fours) } else { (self.fours, self.windows.len() as u32 - self.fours) }
    }

    /// How many keys each row attends to in a layer of `ratio`.
    pub fn keys(&self, config: &Config, ratio: u32) -> Vec<u32> {
        let compressed = |position: u32| (position + 1).checked_div(ratio).unwrap_or(0).min(config.most_rows(ratio));
        self.rows.iter().map(|row| (row.position + 1).min(config.window) + compressed(row.position)).collect()
    }
}

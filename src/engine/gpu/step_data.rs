//! The inputs of a step as kernels read them: rows, rotation angles and the windows that close.

use crate::engine::step::{RowKind, Step, Token};
use crate::kernels::{Row, Rows, SAMPLED, Window};
use crate::model::{Config, RopeFrequencies, angles};

/// The inputs that the host uploads for a step, and the facts that decide how it is recorded.
pub struct StepData {
    /// Kind and number (T) of the rows.
    pub step: Rows,
    /// The rows (T).
    pub rows: Vec<Row>,
    /// (cos, sin) of each row (T, 2, R/2) for the plain and for the compressed frequencies.
    pub angles: Vec<[f32; 2]>,
    /// Windows that close in the step: those of 4 tokens, then those of 128.
    pub windows: Vec<Window>,
    /// Number of windows of 4 tokens.
    pub fours: u32,
    /// (cos, sin) of the first token of each window (windows, R/2).
    pub window_angles: Vec<[f32; 2]>,
    /// The highest position of any row.
    pub last_position: u32,
}

impl StepData {
    /// The inputs of `step`, with the model's two sets of frequencies.
    pub fn new(step: &Step, plain: &RopeFrequencies, compressed: &RopeFrequencies) -> Self {
        let count = step.rows.len() as u32;
        let mut data = Self {
            step: match step.kind {
                RowKind::Prompt => Rows::Many(count),
                RowKind::Generated => Rows::Few(count),
            },
            rows: Vec::with_capacity(step.rows.len()),
            angles: Vec::new(),
            windows: Vec::new(),
            fours: 0,
            window_angles: Vec::new(),
            last_position: step.rows.iter().map(|r| r.position).max().unwrap_or(0),
        };
        let push = |list: &mut Vec<[f32; 2]>, position: u32, frequencies: &RopeFrequencies| {
            list.extend(angles(position, frequencies).into_iter().map(|(cos, sin)| [cos, sin]));
        };
        for run in step.rows.chunk_by(|a, b| a.slot == b.slot) {
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
            for (t, row) in step.rows.iter().enumerate().filter(|(_, row)| (row.position + 1).is_multiple_of(ratio)) {
                data.windows.push(Window { last_row: t as u32, index: row.position / ratio });
                push(&mut data.window_angles, row.position + 1 - ratio, compressed);
            }
            if ratio == 4 {
                data.fours = data.windows.len() as u32;
            }
        }
        data
    }

    /// The windows of `ratio` tokens: index of the first one in `windows`, and their number. Layers of ratio 0 have none.
    pub fn windows_of(&self, ratio: u32) -> (u32, u32) {
        match ratio {
            4 => (0, self.fours),
            128 => (self.fours, self.windows.len() as u32 - self.fours),
            _ => (0, 0),
        }
    }

    /// The number of keys that each row attends to in a layer of `ratio`.
    pub fn keys(&self, config: &Config, ratio: u32) -> Vec<u32> {
        let compressed = |position: u32| (position + 1).checked_div(ratio).unwrap_or(0).min(config.most_rows(ratio));
        self.rows.iter().map(|row| (row.position + 1).min(config.window) + compressed(row.position)).collect()
    }
}

//! The row list of a step as kernels read it, with rotations and closing windows: everything about a step that the host knows in advance.

use crate::engine::step::{RowKind, Step, Token};
use crate::kernels::{Row, Rows, SAMPLED, Window};
use crate::model::{Config, RopeFrequencies, angles};

/// What the host uploads for a step, and what recording it needs to know.
pub struct StepData {
    /// Which kernels run it, and how many rows it has (T).
    pub step: Rows,
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
    /// For `step`, with the model's frequencies.
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

    /// The windows of `ratio` in `windows`: first and how many. A layer without compressed rows has ratio 0, and none.
    pub fn windows_of(&self, ratio: u32) -> (u32, u32) {
        match ratio {
            4 => (0, self.fours),
            128 => (self.fours, self.windows.len() as u32 - self.fours),
            _ => (0, 0),
        }
    }

    /// How many keys each row attends to in a layer of `ratio`.
    pub fn keys(&self, config: &Config, ratio: u32) -> Vec<u32> {
        let compressed = |position: u32| (position + 1).checked_div(ratio).unwrap_or(0).min(config.most_rows(ratio));
        self.rows.iter().map(|row| (row.position + 1).min(config.window) + compressed(row.position)).collect()
    }
}

//! Activations rounded to int8, as inputs and as outputs, and their comparison.

use super::bench::{Bench, Output};
use super::outcome::{Limit, Made};
use crate::Result;
use crate::kernels::{Quantized, Rows};
use crate::reference;

/// Words of `x` in rows of `columns`, laid out as `lib/numbers/quantize` says.
fn words_of(x: &[f32], columns: usize) -> Vec<u32> {
    let mut words = Vec::new();
    for row in x.chunks_exact(columns) {
        let (codes, scales) = reference::quantize(row);
        let bytes: Vec<u8> = codes.iter().map(|&c| c as u8).collect();
        words.extend(bytes.as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b)));
        words.extend(scales.iter().map(|s| s.to_bits()));
    }
    words
}

impl Bench<'_> {
    /// `x`, rows of `columns`, rounded on the host.
    pub fn upload_int8(&self, x: &[f32], columns: usize) -> Result<Quantized> {
        Ok(Quantized { slice: self.upload(&words_of(x, columns))?, columns: columns as u32 })
    }

    /// An output for `rows` of `columns` rounded values, if kernels of this device round them.
    pub fn output_int8(&self, rows: Rows, columns: usize) -> Result<Option<(Output, Quantized)>> {
        let output = self.output((rows.count() * Quantized::words(columns as u32)) as usize)?;
        let quantized = Quantized::new(&self.kernels.profile, &output.slice(), columns as u32, rows);
        Ok(quantized.map(|q| (output, q)))
    }

    /// Compares a rounded result with the f32 one. Returns the values that the kernel wrote, because a value halfway between two codes may
    /// get either.
    pub fn compare_int8(&mut self, made: &Made, case: &str, exact: &[f32], columns: usize) -> Vec<f32> {
        let case = format!("{case}, int8");
        let mut got = Vec::new();
        for row in made.words.chunks_exact(Quantized::words(columns as u32) as usize) {
            let (codes, scales) = row.split_at(columns / 4);
            for (block, &scale) in codes.chunks_exact(8).zip(scales) {
                got.extend(block.iter().flat_map(|w| w.to_le_bytes()).map(|code| f32::from(code as i8) * f32::from_bits(scale)));
            }
        }
        self.compare(made, &case, &got, &reference::rounded(exact), Limit::INT8);
        got
    }
}

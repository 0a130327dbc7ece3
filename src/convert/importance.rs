//! Importance matrices, which say how much each input channel of each weight matrix is used, and the GGUF files that store them.
//!
//! For a matrix with inputs x the importance of column c is the mean of x_c^2 over the tokens of a calibration text. It is the factor by
//! which the square of an error in that column adds to the squared error of the output. Each matrix of a stack (experts, groups of an
//! output projection) has inputs of its own and therefore its own importance.
//!
//! The format is llama.cpp's: `general.type` is `imatrix`. Each weight has two F32 tensors, `NAME.in_sum2` [matrices, columns] with sums of
//! squares, and `NAME.counts` [matrices, 1] with the number of rows in each sum.

use crate::gguf::{File, GgmlType, Value, ValueKind, Writer};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const TYPE: &str = "general.type";
const DATASETS: &str = "imatrix.datasets";
const CHUNKS: &str = "imatrix.chunk_count";
const CHUNK_SIZE: &str = "imatrix.chunk_size";
const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// Sums over the inputs of one weight tensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// Sums of squares [matrices, columns].
    pub sums: Vec<f32>,
    /// Number of rows in the sums of each matrix.
    pub counts: Vec<f32>,
}

/// An importance matrix of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Importance {
    /// Sums of each weight tensor, by its name in GGUF files.
    pub inputs: BTreeMap<String, Inputs>,
    /// Names of the calibration texts.
    pub datasets: Vec<String>,
    /// Number of chunks of text that were run.
    pub chunks: u32,
    /// Tokens of a chunk.
    pub chunk_size: u32,
    /// The file, for messages.
    pub path: PathBuf,
}

/// Number of rows by which the mean of a stack counts in the importance of each of its matrices.
const BORROWED_ROWS: f32 = 32.0;

impl Importance {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Where the file is not an importance matrix, or sums or counts are missing, negative or not numbers.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata();
        if metadata.str(TYPE)? != Some("imatrix") {
            return Err(Error::file(path, format!("{TYPE} is {:?}, expected \"imatrix\"", metadata.str(TYPE)?)));
        }
        let mut out = Self {
            chunks: metadata.u32(CHUNKS)?.unwrap_or(0),
            chunk_size: metadata.u32(CHUNK_SIZE)?.unwrap_or(0),
            path: path.to_path_buf(),
            ..Self::default()
        };
        if let Some(datasets) = metadata.strings(DATASETS)? {
            out.datasets = datasets.texts().map(|text| text.map(String::from)).collect::<Result<_>>()?;
        }
        for tensor in file.tensors() {
            let Some(name) = tensor.name.strip_suffix(SUMS) else { continue };
            let counts_name = format!("{name}{COUNTS}");
            let counts = file.tensor(&counts_name).ok_or_else(|| Error::file(path, format!("tensor {counts_name} is missing")))?;
            let floats = |tensor: &crate::gguf::TensorInfo| {
                if tensor.kind != GgmlType::F32 {
                    return Err(Error::file(path, format!("tensor {} has type {}, expected F32", tensor.name, tensor.kind)));
                }
                let values: Vec<f32> = file.bytes(tensor).as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
                match values.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
                    Some(i) => Err(Error::file(path, format!("tensor {}: value {i} is {}", tensor.name, values[i]))),
                    None => Ok(values),
                }
            };
            let inputs = Inputs { sums: floats(tensor)?, counts: floats(counts)? };
            if inputs.counts.is_empty() || !inputs.sums.len().is_multiple_of(inputs.counts.len()) {
                let what = format!("{} sums for {} counts", inputs.sums.len(), inputs.counts.len());
                return Err(Error::file(path, format!("tensor {name}: {what}")));
            }
            out.inputs.insert(name.to_string(), inputs);
        }
        if out.inputs.is_empty() {
            return Err(Error::file(path, "has no importance of any tensor"));
        }
        Ok(out)
    }

    /// Writes the importance matrix to `path`.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let strings = self.datasets.iter().map(|d| Value::String(d.clone())).collect();
        let metadata = vec![
            (TYPE.to_string(), Value::String("imatrix".into())),
            (DATASETS.to_string(), Value::Array(ValueKind::String, strings)),
            (CHUNKS.to_string(), Value::U32(self.chunks)),
            (CHUNK_SIZE.to_string(), Value::U32(self.chunk_size)),
        ];
        let mut tensors = Vec::new();
        for (name, inputs) in &self.inputs {
            let matrices = inputs.counts.len() as u64;
            tensors.push((format!("{name}{SUMS}"), vec![inputs.sums.len() as u64 / matrices, matrices], GgmlType::F32));
            tensors.push((format!("{name}{COUNTS}"), vec![1, matrices], GgmlType::F32));
        }
        let writer = Writer::create(path, metadata, tensors, 32)?;
        for (i, inputs) in self.inputs.values().enumerate() {
            writer.write_at(2 * i, 0, bytemuck::cast_slice(&inputs.sums))?;
            writer.write_at(2 * i + 1, 0, bytemuck::cast_slice(&inputs.counts))?;
        }
        writer.finish()
    }

    /// The weights of squared errors in a tensor: for each of its matrices a row of `columns` numbers with mean 1. `None` where the file
    /// has no such tensor.
    ///
    /// The mean of the whole stack counts as `BORROWED_ROWS` further rows of each matrix, so that a matrix that few tokens used has
    /// sensible weights. A channel that was never used keeps a small weight.
    ///
    /// # Errors
    /// Where the file describes a tensor of another size: `rows` is not a multiple of its matrices, or the number of columns differs.
    pub fn weights(&self, name: &str, rows: usize, columns: usize) -> Result<Option<Vec<Vec<f32>>>> {
        let Some(inputs) = self.inputs.get(name) else { return Ok(None) };
        let matrices = inputs.counts.len();
        let found = inputs.sums.len() / matrices;
        if found != columns || !rows.is_multiple_of(matrices) {
            let what = format!("{name} has {found} columns and {matrices} matrices, the model's has {columns} columns and {rows} rows");
            return Err(Error::file(&self.path, what));
        }
        let mut mean = vec![0f32; columns];
        for sums in inputs.sums.chunks_exact(columns) {
            mean.iter_mut().zip(sums).for_each(|(m, s)| *m += s);
        }
        let all: f32 = inputs.counts.iter().sum();
        mean.iter_mut().for_each(|m| *m /= all.max(1.0));
        let borrowed = if matrices > 1 { BORROWED_ROWS } else { 0.0 };
        let rows = inputs.sums.chunks_exact(columns).zip(&inputs.counts).map(|(sums, count)| {
            let mut row: Vec<f32> = sums.iter().zip(&mean).map(|(s, m)| (s + borrowed * m) / (count + borrowed).max(1.0)).collect();
            let typical = row.iter().sum::<f32>() / columns as f32;
            row.iter_mut().for_each(|w| *w = if typical > 0.0 { (*w / typical).max(1e-4) } else { 1.0 });
            row
        });
        Ok(Some(rows.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_experts() -> Importance {
        let inputs = Inputs { sums: vec![400.0, 100.0, 0.0, 0.0, 0.0, 0.0], counts: vec![100.0, 0.0] };
        Importance {
            inputs: BTreeMap::from([("a.weight".to_string(), inputs)]),
            datasets: vec!["x".into()],
            chunks: 2,
            ..Default::default()
        }
    }

    #[test]
    fn a_written_importance_matrix_is_read_back_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.gguf");
        let written = Importance { path: path.clone(), chunk_size: 512, ..two_experts() };
        written.write(&path).unwrap();
        assert_eq!(Importance::open(&path).unwrap(), written);
    }

    #[test]
    fn unused_experts_get_the_mean_of_all_experts() {
        let weights = two_experts().weights("a.weight", 8, 3).unwrap().unwrap();
        assert_eq!(weights.len(), 2);
        for (weight, expected) in weights.iter().flatten().zip([2.4, 0.6, 1e-4, 2.4, 0.6, 1e-4]) {
            assert!((weight - expected).abs() < 1e-4, "{weights:?}");
        }
        assert_eq!(two_experts().weights("b.weight", 8, 3).unwrap(), None);
        for (rows, columns) in [(8, 4), (7, 3)] {
            assert!(two_experts().weights("a.weight", rows, columns).unwrap_err().to_string().contains("a.weight"));
        }
    }

    #[test]
    fn sums_that_are_not_numbers_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.gguf");
        let mut bad = two_experts();
        bad.inputs.get_mut("a.weight").unwrap().sums[4] = f32::NAN;
        bad.write(&path).unwrap();
        assert!(Importance::open(&path).unwrap_err().to_string().ends_with("tensor a.weight.in_sum2: value 4 is NaN"));
    }
}

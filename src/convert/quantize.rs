//! Quantising: a checkpoint folder or a GGUF file becomes a GGUF file in the formats of a recipe.
//!
//! Tensors are made one after the other, and the rows of a tensor in chunks on all cores, so that memory stays small for a model of any
//! size. A quantised row depends only on the row and its importance, so that the bytes are the same for any number of threads.

use super::directory::{Entry, directory, draft_directory};
use super::metadata;
use super::recipe::Request;
use crate::gguf::{GgmlType, Writer};
use crate::model::{Files, Model, Mtp, Routing, Table, Tensor};
use crate::progress::{Progress, Unit};
use crate::quant::BlockFormat;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A summary of a conversion.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The tensors of each format, by its index in [`BlockFormat::ALL`].
    pub formats: BTreeMap<usize, FormatSummary>,
    /// Number of tensors that an earlier, interrupted attempt had made.
    pub resumed: usize,
}

/// A summary of the tensors in one format.
#[derive(Clone, Copy, Debug, Default)]
pub struct FormatSummary {
    /// Number of tensors.
    pub tensors: usize,
    /// Number of tensors whose importance was known.
    pub with_importance: usize,
    /// Number of values.
    pub values: u64,
    /// Number of bytes written.
    pub bytes: u64,
    /// Sum of squared values.
    pub power: f64,
    /// Sum of squared errors.
    pub error: f64,
}

impl FormatSummary {
    /// Root mean square of the errors, relative to that of the values.
    pub fn relative_error(&self) -> f64 {
        if self.power > 0.0 { (self.error / self.power).sqrt() } else { 0.0 }
    }
}

/// The source of a tensor's values.
enum Source<'a> {
    Weights(&'a Tensor),
    Table(&'a Table),
}

/// One tensor to make.
struct Job<'a> {
    entry: Entry,
    source: Source<'a>,
    /// Format of the new tensor, or `None` for tables, which are I32.
    format: Option<BlockFormat>,
    /// Weights of the squared errors, one row for each matrix of the tensor.
    importance: Option<Vec<Vec<f32>>>,
}

/// What the threads that make a tensor share.
struct Shared<'a> {
    writer: &'a Writer,
    progress: &'a Progress,
    cancel: &'a AtomicBool,
}

/// Values that one thread quantises at a time.
const CHUNK_VALUES: usize = 1 << 20;

/// Makes `output` from `files`. An interrupted run leaves a file `output.partial`, with which a later run of the same request continues.
///
/// # Errors
/// Where rows of a tensor do not fit its format, a weight is not a number or too large for its format, files cannot be read or written,
/// or `cancel` is set.
pub fn quantize(files: &Files, output: &Path, request: Request<'_>, cancel: &AtomicBool) -> Result<Summary> {
    let model = Model::bind(files)?;
    let mtp = if request.draft { Some(model.open_mtp(files.path())?) } else { None };
    let jobs = jobs(&model, mtp.as_ref(), output, request)?;
    let metadata = metadata::of_file(files, &model.config, request)?;
    let mut tensors = Vec::with_capacity(jobs.len());
    for job in &jobs {
        let kind = match job.format {
            Some(format) => GgmlType::of(format).ok_or_else(|| Error::file(output, format!("{format} has no GGUF type")))?,
            None => GgmlType::I32,
        };
        tensors.push((job.entry.name.clone(), job.entry.shape.clone(), kind));
    }
    let (writer, done) = Writer::resume(output, metadata, tensors, 32, &identity(files, request)?)?;
    let mut summary = Summary { resumed: done, ..Summary::default() };
    let remaining = || jobs.iter().enumerate().skip(done);
    let progress = Progress::bar("quantising", remaining().map(|(_, j)| j.bytes()).sum(), Unit::Bytes);
    let shared = Shared { writer: &writer, progress: &progress, cancel };
    for (i, job) in remaining() {
        progress.say(format!("{} ({} rows, tensor {} of {})", job.entry.name, job.entry.rows(), i + 1, jobs.len()));
        let made = match (&job.source, job.format) {
            (Source::Weights(tensor), Some(format)) => make_tensor(&shared, i, job, tensor, format).map(Some),
            (Source::Table(table), _) => {
                let bytes: Vec<u8> = table.values.iter().flat_map(|v| (*v as i32).to_le_bytes()).collect();
                writer.write_at(i, 0, &bytes).map(|()| None)
            }
            (Source::Weights(_), None) => Ok(None),
        };
        match made {
            Ok(made) => {
                if let (Some(tensor), Some(format)) = (made, job.format) {
                    summary.formats.entry(format as usize).or_default().add(tensor);
                }
                writer.completed(i + 1)?;
            }
            Err(error) => {
                progress.finish();
                if let Error::NotFinite(_) = error {
                    writer.discard();
                }
                return Err(error);
            }
        }
    }
    progress.finish();
    writer.finish()?;
    Ok(summary)
}

impl Job<'_> {
    fn bytes(&self) -> u64 {
        let row = self.format.map_or(self.entry.columns() * 4, |f| f.row_bytes(self.entry.columns()).unwrap_or(0));
        (self.entry.rows() * row) as u64
    }
}

impl FormatSummary {
    fn add(&mut self, other: Self) {
        self.tensors += other.tensors;
        self.with_importance += other.with_importance;
        self.values += other.values;
        self.bytes += other.bytes;
        self.power += other.power;
        self.error += other.error;
    }
}

/// All tensors with their sources and formats.
fn jobs<'a>(model: &'a Model, mtp: Option<&'a Mtp>, output: &Path, request: Request<'_>) -> Result<Vec<Job<'a>>> {
    let config = &model.config;
    let (entries, tensors) = match mtp {
        Some(mtp) => (draft_directory(config), mtp.tensors()),
        None => (directory(config), model.tensors()),
    };
    let by_name: HashMap<&str, &Tensor> = tensors.into_iter().map(|t| (&t.gguf_name[..], t)).collect();
    let mut used = vec![false; request.overrides.len()];
    let mut jobs = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut format = request.recipe.format(entry.role, entry.layer, config.layers.len());
        if entry.role.is_matrix() {
            for (over, used) in request.overrides.iter().zip(&mut used).filter(|(over, _)| over.pattern.is_match(&entry.name)) {
                (format, *used) = (Some(over.format), true);
            }
        }
        let source = match (by_name.get(&entry.name[..]), &model.layers[entry.layer].experts.routing) {
            (Some(tensor), _) => Source::Weights(tensor),
            (None, Routing::Hashed(table)) => Source::Table(table),
            (None, _) => return Err(Error::file(output, format!("tensor {} has no source", entry.name))),
        };
        if let Some(format) = format.filter(|f| f.row_bytes(entry.columns()).is_none()) {
            let (name, columns, block) = (&entry.name, entry.columns(), format.block_values());
            let what =
                format!("tensor {name} has rows of {columns} values, {format} needs a multiple of {block}; --type can give it another");
            return Err(Error::file(output, what));
        }
        let importance = match request.importance {
            Some(importance) => importance.weights(&entry.name, entry.rows(), entry.columns())?,
            None => None,
        };
        jobs.push(Job { entry, source, format, importance });
    }
    match used.iter().position(|used| !used) {
        Some(i) => Err(Error::Refused(format!("--type {}: no weight matrix has such a name", request.overrides[i].pattern))),
        None => Ok(jobs),
    }
}

/// Names the inputs of this conversion. A later attempt continues it only where its inputs have the same identity.
fn identity(files: &Files, request: Request<'_>) -> Result<String> {
    let stamp = |path: &Path| -> Result<String> {
        let meta = std::fs::metadata(path).map_err(|error| Error::file(path, error))?;
        let time = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        Ok(format!("{} {} {:?}", path.display(), meta.len(), time))
    };
    let importance = request.importance.map(|i| stamp(&i.path)).transpose()?;
    Ok(format!("{} | {:?} | {}", stamp(files.path())?, importance, crate::debug::VERSION))
}

/// Sums over a chunk of rows: of squared values, and of squared errors.
#[derive(Clone, Copy, Default)]
struct Errors {
    power: f64,
    error: f64,
}

/// Quantises `tensor` and writes it as tensor `number` of the new file.
fn make_tensor(shared: &Shared<'_>, number: usize, job: &Job<'_>, tensor: &Tensor, format: BlockFormat) -> Result<FormatSummary> {
    let (rows, columns) = (job.entry.rows(), job.entry.columns());
    let row_bytes = format.row_bytes(columns).unwrap_or(0);
    let ones = vec![vec![1.0f32; columns]];
    let importance = job.importance.as_ref().unwrap_or(&ones);
    let each = rows / importance.len();
    // A tensor that is bound as a vector may have several rows in the file. It is small and becomes one chunk.
    let step = if tensor.rows == rows { (CHUNK_VALUES / columns).clamp(1, rows) } else { rows };
    let chunks: Vec<usize> = (0..rows).step_by(step).collect();
    let chunk = |&first: &usize| -> Result<Errors> {
        if shared.cancel.load(Ordering::Relaxed) {
            return Err(Error::Refused("interrupted; the same command continues from here".into()));
        }
        let count = step.min(rows - first);
        let mut values = vec![0f32; count * columns];
        let mut out = vec![0u8; count * row_bytes];
        let copied = read(tensor, first, format, &mut values, &mut out);
        check(tensor, first * columns, &values, format)?;
        let mut decoded = vec![0f32; columns];
        let mut errors = Errors::default();
        for (r, (values, out)) in values.chunks_exact(columns).zip(out.chunks_exact_mut(row_bytes)).enumerate() {
            if !copied {
                format.quantize(values, &importance[(first + r) / each], out);
            }
            format.dequantize(out, &mut decoded);
            for (x, y) in values.iter().zip(&decoded) {
                errors.power += f64::from(*x) * f64::from(*x);
                errors.error += f64::from(x - y) * f64::from(x - y);
            }
        }
        shared.writer.write_at(number, (first * row_bytes) as u64, &out)?;
        shared.progress.add(out.len() as u64);
        Ok(errors)
    };
    let errors: Vec<Errors> = chunks.par_iter().map(chunk).collect::<Result<_>>()?;
    Ok(FormatSummary {
        tensors: 1,
        with_importance: usize::from(job.importance.is_some()),
        values: (rows * columns) as u64,
        bytes: job.bytes(),
        power: errors.iter().map(|e| e.power).sum(),
        error: errors.iter().map(|e| e.error).sum(),
    })
}

/// Reads the values of rows from `first` on into `values`. Returns whether the tensor is stored in `format`; if so, its blocks are copied
/// into `bytes`.
fn read(tensor: &Tensor, first: usize, format: BlockFormat, values: &mut [f32], bytes: &mut [u8]) -> bool {
    let (columns, stride) = (tensor.columns, tensor.row_bytes());
    let copied = tensor.format == format;
    tensor.read_rows(first..first + values.len() / columns, |offset, stored| {
        let at = offset / stride * columns;
        for (bytes, row) in stored.chunks_exact(stride).zip(values[at..].chunks_exact_mut(columns)) {
            tensor.format.dequantize(bytes, row);
        }
        if copied {
            bytes[offset..offset + stored.len()].copy_from_slice(stored);
        }
    });
    copied
}

/// Refuses values that are NaN or infinite, or too large for `format`. `first` is the index of the first value in the tensor.
fn check(tensor: &Tensor, first: usize, values: &[f32], format: BlockFormat) -> Result<()> {
    let limit = if format == BlockFormat::F16 { 65504.0 } else { f32::MAX };
    let Some(i) = values.iter().position(|v| v.is_nan() || v.abs() > limit) else { return Ok(()) };
    let (row, column) = ((first + i) / tensor.columns, (first + i) % tensor.columns);
    let (name, row) = tensor.locate(row);
    let what = if values[i].is_finite() { format!(", which {format} cannot hold") } else { String::new() };
    let place = format!("value {} (row {row}, column {column})", row * tensor.columns + column);
    Err(Error::NotFinite(format!("{}: tensor {name}: {place} is {}{what}", tensor.path().display(), values[i])))
}

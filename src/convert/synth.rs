//! Synthetic models: valid GGUF files with random weights, for benchmarks and tests without a download.
//!
//! The weights are scaled so that a matrix keeps the size of its input, and activations stay finite through all layers. Router biases are
//! small beside the scores, so that tokens use many different experts.

use super::directory::{Entry, directory};
use super::metadata::{hyper_parameters, tokenizer};
use super::random::random_rows;
use super::recipe::{Recipe, Role};
use crate::gguf::{GgmlType, Writer};
use crate::model::{Config, LayerConfig};
use crate::progress::{Progress, Unit};
use crate::quant::BlockFormat;
use crate::{Error, Result};
use fastrand::Rng;
use rayon::prelude::*;
use std::path::Path;
use std::str::FromStr;

/// The sizes of a synthetic model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// DeepSeek V4 Flash: 284B parameters.
    Flash,
    /// DeepSeek V4 Pro: 1.6T parameters.
    Pro,
    /// Six layers of width 256 with V4's vocabulary: under 100 MB.
    Tiny,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "flash" => Ok(Self::Flash),
            "pro" => Ok(Self::Pro),
            "tiny" => Ok(Self::Tiny),
            _ => Err(format!("unknown shape {text:?}; there are flash, pro, tiny")),
        }
    }
}

impl Shape {
    /// Hyper-parameters of the shape (SPEC 1). Tiny is like the golden model nano, but its low ranks are wide enough for the kernels that
    /// generated steps of large models use.
    pub fn config(self) -> Config {
        let flash = Config::flash();
        match self {
            Self::Flash => flash,
            Self::Pro => Config::pro(),
            Self::Tiny => Config {
                name: "DeepSeek V4 tiny".into(),
                layers: [0, 0, 4, 128, 4, 128].iter().zip(&flash.layers).map(|(&ratio, layer)| LayerConfig { ratio, ..*layer }).collect(),
                dim: 256,
                heads: 4,
                head_dim: 128,
                q_rank: 256,
                o_groups: 2,
                o_rank: 128,
                window: 16,
                index_heads: 32,
                index_top_k: 8,
                experts: 4,
                experts_used: 2,
                expert_width: 256,
                ..flash
            },
        }
    }

    /// The format of a tensor. Tiny has its embedding at 8 bits, because it is most of the file.
    fn format(self, recipe: Recipe, entry: &Entry, layers: usize) -> Option<BlockFormat> {
        if self == Self::Tiny && entry.name == "token_embd.weight" {
            return Some(BlockFormat::Q8_0);
        }
        recipe.format(entry.role, entry.layer, layers)
    }
}

/// Bytes that one thread makes and writes at a time.
const CHUNK_BYTES: usize = 4 << 20;

/// Writes a synthetic model to `path`. The same shape, layers, recipe and seed give the same bytes. `layers` limits the number of layers.
/// `tokenizer_json` is V4's tokenizer.
///
/// # Errors
/// Where rows of the shape do not fit a format of the recipe, or the file cannot be written.
pub fn synth(path: &Path, shape: Shape, layers: Option<usize>, recipe: Recipe, seed: u64, tokenizer_json: &[u8]) -> Result<()> {
    let mut config = shape.config();
    config.layers.truncate(layers.unwrap_or(usize::MAX).max(1));
    config.name.push_str(" (synthetic random weights)");
    let entries = directory(&config);
    let formats: Vec<Option<BlockFormat>> = entries.iter().map(|e| shape.format(recipe, e, config.layers.len())).collect();
    let mut tensors = Vec::new();
    for (entry, format) in entries.iter().zip(&formats) {
        let kind = match format {
            Some(format) if format.row_bytes(entry.columns()).is_none() => {
                let (name, columns) = (&entry.name, entry.columns());
                return Err(Error::file(
                    path,
                    format!("recipe {}: tensor {name} has rows of {columns}, {format} cannot hold them", recipe.name()),
                ));
            }
            Some(format) => GgmlType::of(*format).ok_or_else(|| Error::file(path, format!("{format} has no GGUF type")))?,
            None => GgmlType::I32,
        };
        tensors.push((entry.name.clone(), entry.shape.clone(), kind));
    }
    let mut metadata = hyper_parameters(&config);
    metadata.extend(tokenizer(tokenizer_json, config.vocabulary)?);
    let writer = Writer::create(path, metadata, tensors, 32)?;

    // Index of the entry, first row, and number of rows.
    let chunks: Vec<(usize, usize, usize)> = entries
        .iter()
        .zip(&formats)
        .enumerate()
        .flat_map(|(i, (entry, format))| {
            let stride = row_bytes(entry, *format);
            let step = (CHUNK_BYTES / stride).max(1);
            (0..entry.rows()).step_by(step).map(move |first| (i, first, step.min(entry.rows() - first)))
        })
        .collect();
    let total = entries.iter().zip(&formats).map(|(e, f)| (e.rows() * row_bytes(e, *f)) as u64).sum();
    let progress = Progress::bar("writing", total, Unit::Bytes);
    let written = chunks.par_iter().enumerate().try_for_each_init(Vec::new, |bytes: &mut Vec<u8>, (number, &(i, first, rows))| {
        let (entry, format) = (&entries[i], formats[i]);
        let stride = row_bytes(entry, format);
        bytes.resize(rows * stride, 0);
        let mut rng = Rng::with_seed(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        match format {
            Some(format) => fill(entry, format, &config, &mut rng, bytes),
            None => expert_table(&config, first, bytes),
        }
        writer.write_at(i, (first * stride) as u64, bytes)?;
        progress.add(bytes.len() as u64);
        Ok(())
    });
    progress.finish();
    written?;
    writer.finish()
}

fn row_bytes(entry: &Entry, format: Option<BlockFormat>) -> usize {
    // `synth` has checked that rows are whole blocks.
    format.map_or(entry.columns() * 4, |f| f.row_bytes(entry.columns()).unwrap_or(0))
}

/// Fills `out` with random weights, whose mean and standard deviation suit the purpose of the tensor.
fn fill(entry: &Entry, format: BlockFormat, config: &Config, rng: &mut Rng, out: &mut [u8]) {
    // A matrix with this deviation makes outputs about as large as its inputs.
    let keeping = 1.28 / (entry.columns() as f32).sqrt();
    let leaf = entry.name.rsplit_once("blk.").map_or(&entry.name[..], |(_, n)| n.split_once('.').map_or(n, |(_, leaf)| leaf));
    let (mean, sd) = match leaf {
        "token_embd.weight" => (0.0, 1.0),
        "output_hc_base.weight" => (-1.1, 0.05),
        "hc_attn_base.weight" | "hc_ffn_base.weight" => (-0.5, 0.4),
        "attn_sinks.weight" => (0.0, 1.0),
        "exp_probs_b.bias" => (0.0, 0.01),
        _ if leaf.contains("hc_") && leaf.contains("_fn") => (0.0, 0.13 / (config.dim as f32).sqrt()),
        _ if leaf.contains("_ape") => (0.0, 0.1),
        _ if leaf.contains("norm") || leaf.contains("scale") => (1.0, 0.05),
        // These matrices add to the residual streams, which must not grow too much.
        "attn_output_b.weight" | "ffn_down_shexp.weight" | "ffn_down_exps.weight" => (0.0, 0.4 * keeping),
        _ => (0.0, keeping),
    };
    random_rows(format, sd, rng, out);
    if mean != 0.0 {
        // Only vectors have a mean other than zero, and vectors are F32.
        for value in out.as_chunks_mut::<4>().0 {
            *value = (f32::from_le_bytes(*value) + mean).to_le_bytes();
        }
    }
    debug_assert!(mean == 0.0 || entry.role == Role::Vector);
}

/// The experts of the token ids from `first` on. The experts of a token are distinct, and tokens are spread over all experts.
fn expert_table(config: &Config, first: usize, out: &mut [u8]) {
    let (used, experts) = (config.experts_used as usize, u64::from(config.experts));
    for (i, row) in out.chunks_exact_mut(used * 4).enumerate() {
        let hash = Rng::with_seed((first + i) as u64).u64(..);
        for (k, value) in row.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *value = (((hash + k as u64) % experts) as i32).to_le_bytes();
        }
    }
}

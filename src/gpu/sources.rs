//! The shader files that are built in, by their path under `shaders/`, and the names that they know.

use crate::debug::environment;
use crate::{Error, Result};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::OnceLock;

macro_rules! shaders {
    ($($path:literal)*) => {
        /// Path without extension, and text.
        const SOURCES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../shaders/", $path, ".wgsl")))),*];
    };
}

shaders! {
    "attention/attention"
    "attention/attention_coop"
    "attention/attention_merge"
    "attention/attention_scores"
    "attention/attention_stats"
    "attention/attention_values"
    "compressor/compress"
    "embed/embed"
    "embed/mtp_join"
    "hc/hc_mix"
    "hc/hc_pre"
    "hc/hc_sinkhorn"
    "indexer/index_score"
    "indexer/index_score_coop"
    "indexer/index_score_few"
    "indexer/top_k"
    "indexer/top_k_few"
    "kv/kv_row"
    "kv/latents"
    "kv/ring_store"
    "matmul/decode_runs"
    "matmul/matmul"
    "matmul/matmul_coop"
    "matvec/matvec"
    "matvec/matvec_int8"
    "matvec/matvec_normed"
    "moe/moe_combine"
    "moe/moe_down"
    "moe/moe_down_int8"
    "moe/moe_gate_up"
    "moe/moe_gate_up_int8"
    "moe/moe_group"
    "norm/rms_norm"
    "rope/q_rope"
    "router/router"
    "sample/sample"
    "stream/stream_read"
    "lib/ahead"
    "lib/attention_inputs"
    "lib/bytes"
    "lib/coop"
    "lib/dequant"
    "lib/dequant_bf16"
    "lib/dequant_f16"
    "lib/dequant_f32"
    "lib/dequant_fp8"
    "lib/dequant_iq2_xxs"
    "lib/dequant_mxfp4"
    "lib/dequant_q2_k"
    "lib/dequant_q4_k"
    "lib/dequant_q8_0"
    "lib/dequant_q8_0x8"
    "lib/element"
    "lib/half"
    "lib/halve_sums"
    "lib/hc_leave"
    "lib/hc_mixed"
    "lib/hc_residual"
    "lib/index_query"
    "lib/key_quad"
    "lib/key_row"
    "lib/keys"
    "lib/kv"
    "lib/locate"
    "lib/math"
    "lib/matmul"
    "lib/norm_row"
    "lib/pages"
    "lib/parts"
    "lib/q8_0x8_quads"
    "lib/q8_0x8_rounded"
    "lib/quantize"
    "lib/reduce"
    "lib/reduce_four"
    "lib/reduce_lanes"
    "lib/reduce_team"
    "lib/ring_row"
    "lib/rotate"
    "lib/round_quad"
    "lib/route"
    "lib/rows"
    "lib/runs"
    "lib/runs_iq2_xxs"
    "lib/threefry"
    "lib/tile"
    "lib/top_k_inputs"
    "lib/visible"
    "lib/weights8"
    "lib/window_row"
    "lib/units"
    "lib/units_iq2_xxs"
    "lib/units_q2_k"
}

/// Flags that switch an extension of the shading language on, and the extension.
pub(super) const EXTENSIONS: [(&str, &str); 2] = [("F16", "f16"), ("COOPERATIVE", "wgpu_cooperative_matrix")];

/// The name of a kernel without its folder.
pub(super) fn stem(path: &'static str) -> &'static str {
    path.rsplit('/').next().unwrap_or(path)
}

fn kernel_paths() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|(path, _)| *path).filter(|path| !path.starts_with("lib/"))
}

/// The names of all kernels.
pub fn kernels() -> impl Iterator<Item = &'static str> {
    kernel_paths().map(stem)
}

/// The path of the kernel `name`, without extension.
pub(super) fn kernel_path(name: &str) -> Option<&'static str> {
    kernel_paths().find(|path| stem(path) == name)
}

/// The path and text of the kernel `name`.
///
/// # Errors
/// There is none; a file of the folder that shaders are read from instead cannot be read.
pub(super) fn kernel_source(name: &str) -> Result<(&'static str, Cow<'static, str>)> {
    kernel_path(name).map_or_else(|| Err(missing(name)), import_source)
}

/// The path and text of the shader file at `path`.
///
/// # Errors
/// As [`kernel_source`].
pub(super) fn import_source(path: &str) -> Result<(&'static str, Cow<'static, str>)> {
    let &(path, text) = SOURCES.iter().find(|(known, _)| *known == path).ok_or_else(|| missing(path))?;
    match &environment().shaders {
        None => Ok((path, Cow::Borrowed(text))),
        Some(folder) => {
            let file = folder.join(path).with_extension("wgsl");
            let text = std::fs::read_to_string(&file).map_err(|e| Error::file(&file, e))?;
            Ok((path, Cow::Owned(text)))
        }
    }
}

fn missing(name: &str) -> Error {
    Error::Device(format!("there is no shader {name}"))
}

/// `name` as it stands in some built-in shader, where flags and constants are asked for by name, or among [`EXTENSIONS`].
pub(super) fn known_name(name: &str) -> Option<&'static str> {
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = || SOURCES.iter().flat_map(|(_, text)| text.split(|c| !is_part(c)));
    let names = NAMES.get_or_init(|| words().chain(EXTENSIONS.map(|(flag, _)| flag)).collect());
    names.get(name).copied().filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
}

//! Hyper-parameters from the metadata of a GGUF file of architecture `deepseek4`, as ds4 and llama.cpp write them (SPEC 9.3).

use super::config::{Config, LayerConfig, Yarn};
use crate::gguf::{File, Metadata};
use crate::{Error, Result};

/// The value of `general.architecture` in every V4 file.
pub const ARCHITECTURE: &str = "deepseek4";

/// The value of `expert_gating_func` that means sqrt(softplus).
const SQRT_SOFTPLUS: u32 = 4;

struct Keys<'a> {
    file: &'a File,
    metadata: Metadata<'a>,
}

impl Keys<'_> {
    fn need<T>(&self, key: &str, value: Result<Option<T>>) -> Result<T> {
        value?.ok_or_else(|| Error::file(self.file.path(), format!("metadata key {ARCHITECTURE}.{key} is missing")))
    }

    fn u32(&self, key: &str) -> Result<u32> {
        self.need(key, self.metadata.u32(&format!("{ARCHITECTURE}.{key}")))
    }

    fn f32(&self, key: &str) -> Result<f32> {
        self.need(key, self.metadata.f32(&format!("{ARCHITECTURE}.{key}")))
    }

    /// Refuses a file in which `key` has another value than `expected`. The key may be missing.
    fn expect(&self, key: &str, expected: u32) -> Result<()> {
        match self.metadata.u32(&format!("{ARCHITECTURE}.{key}"))? {
            Some(found) if found != expected => {
                let what = format!("metadata key {ARCHITECTURE}.{key} is {found}, this program runs {expected}");
                Err(Error::file(self.file.path(), what))
            }
            _ => Ok(()),
        }
    }
}

/// Reads and checks the hyper-parameters of `file`.
pub fn read(file: &File) -> Result<Config> {
    let metadata = file.metadata();
    let fail = |what: String| Error::file(file.path(), what);
    match metadata.str("general.architecture")? {
        Some(ARCHITECTURE) => {}
        Some(other) => return Err(fail(format!("architecture is {other:?}, this program runs {ARCHITECTURE:?}"))),
        None => return Err(fail("metadata key general.architecture is missing".into())),
    }
    let keys = Keys { file, metadata };
    keys.expect("attention.head_count_kv", 1)?;
    keys.expect("expert_shared_count", 1)?;
    keys.expect("hyper_connection.count", 4)?;
    keys.expect("expert_gating_func", SQRT_SOFTPLUS)?;
    keys.expect("expert_group_count", 0).or_else(|_| keys.expect("expert_group_count", 1))?;
    if metadata.bool(&format!("{ARCHITECTURE}.expert_weights_norm"))? == Some(false) {
        return Err(fail(format!("metadata key {ARCHITECTURE}.expert_weights_norm is false, this program normalises expert weights")));
    }
    let layers = keys.u32("block_count")? as usize;
    let ratios = keys.need("attention.compress_ratios", metadata.integers(&format!("{ARCHITECTURE}.attention.compress_ratios")))?;
    let limits = match metadata.floats(&format!("{ARCHITECTURE}.swiglu_clamp_exp")) {
        // Some writers store one number for all layers.
        Err(_) => vec![keys.f32("swiglu_clamp_exp")?; layers.min(ratios.len())],
        found => keys.need("swiglu_clamp_exp", found)?,
    };
    for (key, len) in [("attention.compress_ratios", ratios.len()), ("swiglu_clamp_exp", limits.len())] {
        if len < layers {
            return Err(fail(format!("metadata key {ARCHITECTURE}.{key} has {len} entries for {layers} layers")));
        }
    }
    let hashed = keys.u32("hash_layer_count")? as usize;
    let layer = |(l, (ratio, &swiglu_limit)): (usize, (&i64, &f32))| {
        let ratio = u32::try_from(*ratio).map_err(|_| fail(format!("layer {l} has compress ratio {ratio}")))?;
        Ok(LayerConfig { ratio, hashed: l < hashed, swiglu_limit })
    };
    let vocabulary = match metadata.u32(&format!("{ARCHITECTURE}.vocab_size"))? {
        Some(size) => size,
        None => keys.need("vocab_size", metadata.strings("tokenizer.ggml.tokens").map(|s| s.map(|s| s.len() as u32)))?,
    };
    let config = Config {
        name: metadata.str("general.name")?.unwrap_or_default().to_string(),
        layers: ratios.iter().zip(&limits).take(layers).enumerate().map(layer).collect::<Result<_>>()?,
        dim: keys.u32("embedding_length")?,
        vocabulary,
        heads: keys.u32("attention.head_count")?,
        head_dim: keys.u32("attention.key_length")?,
        rope_dim: keys.u32("rope.dimension_count")?,
        q_rank: keys.u32("attention.q_lora_rank")?,
        o_groups: keys.u32("attention.output_group_count")?,
        o_rank: keys.u32("attention.output_lora_rank")?,
        window: keys.u32("attention.sliding_window")?,
        index_heads: keys.u32("attention.indexer.head_count")?,
        index_dim: keys.u32("attention.indexer.key_length")?,
        index_top_k: keys.u32("attention.indexer.top_k")?,
        experts: keys.u32("expert_count")?,
        experts_used: keys.u32("expert_used_count")?,
        expert_width: keys.u32("expert_feed_forward_length")?,
        routed_scale: keys.f32("expert_weights_scale")?,
        sinkhorn_iterations: keys.u32("hyper_connection.sinkhorn_iterations")?,
        hc_eps: keys.f32("hyper_connection.epsilon")?,
        norm_eps: keys.f32("attention.layer_norm_rms_epsilon")?,
        rope_theta: keys.f32("rope.freq_base")?,
        compress_rope_theta: keys.f32("attention.compress_rope_freq_base")?,
        yarn: Yarn {
            factor: keys.f32("rope.scaling.factor")?,
            original_context: keys.u32("rope.scaling.original_context_length")?,
            beta_fast: keys.f32("rope.scaling.yarn_beta_fast")?,
            beta_slow: keys.f32("rope.scaling.yarn_beta_slow")?,
        },
        max_context: metadata.u32(&format!("{ARCHITECTURE}.context_length"))?.unwrap_or(1 << 20),
    };
    config.check().map_err(fail)?;
    Ok(config)
}

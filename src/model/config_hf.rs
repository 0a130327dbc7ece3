//! Hyper-parameters from the `config.json` of a checkpoint folder (key names of SPEC 1).

use super::config::{Config, LayerConfig, Yarn};
use crate::hf::Folder;
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

struct Keys<'a> {
    path: &'a Path,
    object: &'a Value,
    prefix: &'static str,
}

impl Keys<'_> {
    fn wrong(&self, key: &str, what: &str) -> Error {
        Error::file(self.path, format!("config.json: {}{key} {what}", self.prefix))
    }

    fn get(&self, key: &str) -> Result<&Value> {
        self.object.get(key).ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn u32(&self, key: &str) -> Result<u32> {
        let value = self.get(key)?;
        let number = value.as_u64().and_then(|v| u32::try_from(v).ok());
        number.ok_or_else(|| self.wrong(key, &format!("is {}, expected a whole number", short(value))))
    }

    fn f32(&self, key: &str) -> Result<f32> {
        let value = self.get(key)?;
        value.as_f64().map(|v| v as f32).ok_or_else(|| self.wrong(key, &format!("is {}, expected a number", short(value))))
    }

    /// Refuses a configuration in which `key` has another value than `expected`. The key may be missing.
    fn expect(&self, key: &str, expected: &Value) -> Result<()> {
        match self.object.get(key) {
            Some(found) if found != expected => Err(self.wrong(key, &format!("is {}, this program runs {expected}", short(found)))),
            _ => Ok(()),
        }
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { text.chars().take(60).chain("...".chars()).collect() } else { text }
}

/// Reads and checks the hyper-parameters of `folder`.
pub fn read(folder: &Folder) -> Result<Config> {
    let keys = Keys { path: folder.path(), object: folder.config(), prefix: "" };
    keys.expect("model_type", &"deepseek_v4".into())?;
    keys.expect("num_key_value_heads", &1.into())?;
    keys.expect("n_shared_experts", &1.into())?;
    keys.expect("hc_mult", &4.into())?;
    keys.expect("scoring_func", &"sqrtsoftplus".into())?;
    keys.expect("norm_topk_prob", &true.into())?;
    keys.expect("attention_bias", &false.into())?;
    keys.expect("tie_word_embeddings", &false.into())?;
    let layers = keys.u32("num_hidden_layers")? as usize;
    let hashed = keys.u32("num_hash_layers")? as usize;
    let swiglu_limit = keys.f32("swiglu_limit")?;
    let ratios = keys.get("compress_ratios")?.as_array().ok_or_else(|| keys.wrong("compress_ratios", "is not an array"))?;
    if ratios.len() < layers {
        return Err(keys.wrong("compress_ratios", &format!("has {} entries for {layers} layers", ratios.len())));
    }
    let layer = |(l, ratio): (usize, &Value)| {
        let ratio = ratio.as_u64().and_then(|r| u32::try_from(r).ok());
        let ratio = ratio.ok_or_else(|| keys.wrong("compress_ratios", &format!("has entry {l} that is no whole number")))?;
        Ok(LayerConfig { ratio, hashed: l < hashed, swiglu_limit })
    };
    let scaling = Keys { path: folder.path(), object: keys.get("rope_scaling")?, prefix: "rope_scaling." };
    let config = Config {
        name: name(folder.path(), folder.config()),
        layers: ratios.iter().take(layers).enumerate().map(layer).collect::<Result<_>>()?,
        dim: keys.u32("hidden_size")?,
        vocabulary: keys.u32("vocab_size")?,
        heads: keys.u32("num_attention_heads")?,
        head_dim: keys.u32("head_dim")?,
        rope_dim: keys.u32("qk_rope_head_dim")?,
        q_rank: keys.u32("q_lora_rank")?,
        o_groups: keys.u32("o_groups")?,
        o_rank: keys.u32("o_lora_rank")?,
        window: keys.u32("sliding_window")?,
        index_heads: keys.u32("index_n_heads")?,
        index_dim: keys.u32("index_head_dim")?,
        index_top_k: keys.u32("index_topk")?,
        experts: keys.u32("n_routed_experts")?,
        experts_used: keys.u32("num_experts_per_tok")?,
        expert_width: keys.u32("moe_intermediate_size")?,
        routed_scale: keys.f32("routed_scaling_factor")?,
        sinkhorn_iterations: keys.u32("hc_sinkhorn_iters")?,
        hc_eps: keys.f32("hc_eps")?,
        norm_eps: keys.f32("rms_norm_eps")?,
        rope_theta: keys.f32("rope_theta")?,
        compress_rope_theta: keys.f32("compress_rope_theta")?,
        yarn: Yarn {
            factor: scaling.f32("factor")?,
            original_context: scaling.u32("original_max_position_embeddings")?,
            beta_fast: scaling.f32("beta_fast")?,
            beta_slow: scaling.f32("beta_slow")?,
        },
        max_context: keys.u32("max_position_embeddings")?,
    };
    config.check().map_err(|what| Error::file(folder.path(), format!("config.json: {what}")))?;
    Ok(config)
}

/// The model's name: `_name_or_path` where the configuration has it, otherwise the name of the folder.
fn name(path: &Path, config: &Value) -> String {
    let stated = config.get("_name_or_path").and_then(Value::as_str).filter(|n| !n.is_empty());
    stated.map_or_else(|| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(), str::to_string)
}

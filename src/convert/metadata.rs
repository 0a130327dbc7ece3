//! The metadata of a GGUF file: hyper-parameters under the keys that ds4 and llama.cpp read, and the tokenizer (SPEC 9.3).

use super::recipe::Request;
use crate::gguf::{Value, ValueKind};
use crate::model::{Config, Files};
use crate::{Error, Result};
use serde_json::Value as Json;
use std::io::ErrorKind;

/// The keys and values that state the hyper-parameters `config`.
pub fn hyper_parameters(config: &Config) -> Vec<(String, Value)> {
    let c = config;
    let mut out = vec![
        ("general.architecture".to_string(), Value::String("deepseek4".into())),
        ("general.name".to_string(), Value::String(c.name.clone())),
        ("general.type".to_string(), Value::String("model".into())),
    ];
    let mut add = |key: &str, value: Value| out.push((format!("deepseek4.{key}"), value));
    for (key, value) in [
        ("block_count", c.layers.len() as u32),
        ("context_length", c.max_context),
        ("embedding_length", c.dim),
        ("vocab_size", c.vocabulary),
        ("attention.head_count", c.heads),
        ("attention.head_count_kv", 1),
        ("attention.key_length", c.head_dim),
        ("attention.value_length", c.head_dim),
        ("rope.dimension_count", c.rope_dim),
        ("attention.q_lora_rank", c.q_rank),
        ("attention.output_lora_rank", c.o_rank),
        ("attention.output_group_count", c.o_groups),
        ("expert_count", c.experts),
        ("expert_used_count", c.experts_used),
        ("expert_feed_forward_length", c.expert_width),
        ("expert_shared_count", 1),
        ("hash_layer_count", c.layers.iter().filter(|l| l.hashed).count() as u32),
        // The number 4 means sqrt(softplus).
        ("expert_gating_func", 4),
        ("attention.sliding_window", c.window),
        ("attention.indexer.head_count", c.index_heads),
        ("attention.indexer.key_length", c.index_dim),
        ("attention.indexer.top_k", c.index_top_k),
        ("hyper_connection.count", 4),
        ("hyper_connection.sinkhorn_iterations", c.sinkhorn_iterations),
        ("rope.scaling.original_context_length", c.yarn.original_context),
        ("nextn_predict_layers", 0),
    ] {
        add(key, Value::U32(value));
    }
    for (key, value) in [
        ("rope.freq_base", c.rope_theta),
        ("rope.scaling.factor", c.yarn.factor),
        ("rope.scaling.yarn_beta_fast", c.yarn.beta_fast),
        ("rope.scaling.yarn_beta_slow", c.yarn.beta_slow),
        ("attention.compress_rope_freq_base", c.compress_rope_theta),
        ("expert_weights_scale", c.routed_scale),
        ("attention.layer_norm_rms_epsilon", c.norm_eps),
        ("hyper_connection.epsilon", c.hc_eps),
    ] {
        add(key, Value::F32(value));
    }
    add("expert_weights_norm", Value::Bool(true));
    add("rope.scaling.type", Value::String("yarn".into()));
    let ratios = c.layers.iter().map(|l| Value::I32(l.ratio as i32)).collect();
    add("attention.compress_ratios", Value::Array(ValueKind::I32, ratios));
    let limits = c.layers.iter().map(|l| Value::F32(l.swiglu_limit)).collect();
    add("swiglu_clamp_exp", Value::Array(ValueKind::F32, limits));
    out
}

/// Beginnings of keys that are not copied from another GGUF file, because they describe that file and not the model.
const ABOUT_THE_FILE: [&str; 6] =
    ["general.file_type", "general.quantization_version", "general.alignment", "quantize.", "split.", "general.architecture"];

/// All keys of the file that `request` makes of `files`: hyper-parameters, tokenizer and details of the quantisation. Other keys of a GGUF
/// file, such as a chat template, are copied.
///
/// # Errors
/// Where the tokenizer cannot be read.
pub fn of_file(files: &Files, config: &Config, request: Request<'_>) -> Result<Vec<(String, Value)>> {
    let mut out = hyper_parameters(config);
    out.push(("general.file_type".into(), Value::U32(request.recipe.file_type())));
    out.push(("general.quantization_version".into(), Value::U32(2)));
    if let Some(importance) = request.importance {
        let text = |text: String| Value::String(text);
        out.push(("quantize.imatrix.file".into(), text(importance.path.display().to_string())));
        out.push(("quantize.imatrix.dataset".into(), text(importance.datasets.join(", "))));
        out.push(("quantize.imatrix.entries_count".into(), Value::U32(importance.inputs.len() as u32)));
        out.push(("quantize.imatrix.chunks_count".into(), Value::U32(importance.chunks)));
    }
    if request.draft {
        return Ok(out);
    }
    match files {
        Files::Gguf(file) => {
            let metadata = file.metadata();
            for (key, _) in metadata.iter() {
                let known = out.iter().any(|(written, _)| written == key) || key.starts_with("deepseek4.");
                if known || ABOUT_THE_FILE.iter().any(|prefix| key.starts_with(prefix)) {
                    continue;
                }
                if let Some(value) = metadata.value(key)? {
                    out.push((key.to_string(), value));
                }
            }
        }
        Files::Folder(_) | Files::Safetensors(_) => {
            let path = files.path().join("tokenizer.json");
            match std::fs::read(&path) {
                Ok(json) => out.extend(tokenizer(&json, config.vocabulary)?),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tracing::warn!("{}: is missing; the new file will have no tokenizer", path.display());
                }
                Err(error) => return Err(Error::file(&path, error)),
            }
        }
    }
    Ok(out)
}

/// GGUF's token types: of ordinary tokens, of special ones, and of added ones that are not special.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// The `tokenizer.ggml.*` keys that describe a `tokenizer.json`. `vocabulary` is the number of token ids of the model.
///
/// # Errors
/// Where the JSON does not have the structure of V4's tokenizer.
pub fn tokenizer(tokenizer_json: &[u8], vocabulary: u32) -> Result<Vec<(String, Value)>> {
    let wrong = |what: &str| Error::Text(format!("tokenizer.json: {what}"));
    let json: Json = serde_json::from_slice(tokenizer_json).map_err(|e| wrong(&e.to_string()))?;
    let model = &json["model"];
    let base = model["vocab"].as_object().ok_or_else(|| wrong("model.vocab is missing"))?;
    let mut tokens = vec![(String::new(), NORMAL); vocabulary as usize];
    let mut put = |text: &str, id: Option<u64>, kind: i32| {
        let place =
            id.and_then(|id| tokens.get_mut(id as usize)).ok_or_else(|| wrong(&format!("token {text:?} has no id below {vocabulary}")))?;
        *place = (text.to_string(), kind);
        Ok(())
    };
    for (text, id) in base {
        put(text, id.as_u64(), NORMAL)?;
    }
    for token in json["added_tokens"].as_array().ok_or_else(|| wrong("added_tokens is missing"))? {
        let text = token["content"].as_str().ok_or_else(|| wrong("an added token has no content"))?;
        put(text, token["id"].as_u64(), if token["special"] == true { CONTROL } else { USER_DEFINED })?;
    }
    let merges = model["merges"].as_array().ok_or_else(|| wrong("model.merges is missing"))?;
    let merge = |merge: &Json| match (merge.as_str(), merge.as_array().map(Vec::as_slice)) {
        (Some(text), _) => Ok(Value::String(text.to_string())),
        (None, Some([a, b])) => match (a.as_str(), b.as_str()) {
            (Some(a), Some(b)) => Ok(Value::String(format!("{a} {b}"))),
            _ => Err(wrong("a merge is not a pair of tokens")),
        },
        _ => Err(wrong("a merge is not a pair of tokens")),
    };
    let merges = merges.iter().map(merge).collect::<Result<_>>()?;
    let (texts, kinds) = tokens.into_iter().map(|(text, kind)| (Value::String(text), Value::I32(kind))).unzip();
    Ok(vec![
        ("tokenizer.ggml.model".into(), Value::String("gpt2".into())),
        ("tokenizer.ggml.pre".into(), Value::String("joyai-llm".into())),
        ("tokenizer.ggml.tokens".into(), Value::Array(ValueKind::String, texts)),
        ("tokenizer.ggml.token_type".into(), Value::Array(ValueKind::I32, kinds)),
        ("tokenizer.ggml.merges".into(), Value::Array(ValueKind::String, merges)),
        ("tokenizer.ggml.bos_token_id".into(), Value::U32(0)),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(1)),
        ("tokenizer.ggml.add_bos_token".into(), Value::Bool(false)),
    ])
}

//! `dwarfstar tokenize` turns text into ids and back, a JSON line each.

use super::args::ModelArgs;
use super::screen::put;
use super::source::Source;
use crate::text::{Detokenizer, Tokenizer};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};
use std::io::BufRead;

#[derive(Args, Debug)]
pub struct Tokenize {
    #[command(flatten)]
    model: ModelArgs,
    /// Treat all of the text as plain text: nothing in it becomes a special token
    #[arg(long, conflicts_with = "decode")]
    plain: bool,
    /// Turn ids back into text: {"ids": [...]} becomes {"text": ..., "pieces": [...]}
    #[arg(long)]
    decode: bool,
}

impl Tokenize {
    pub fn run(self) -> Result<()> {
        let tokenizer = Source::of(&self.model).tokenizer()?;
        each_line(|line| if self.decode { decode(&tokenizer, line) } else { encode(&tokenizer, line, self.plain) })
    }
}

/// Answers every line of stdin with a line on stdout. At the first line that cannot be answered it ends with an error that names the line.
pub fn each_line(mut answer: impl FnMut(&Value) -> Result<Value>) -> Result<()> {
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.context("stdin")?;
        if line.trim().is_empty() {
            continue;
        }
        let value = serde_json::from_str(&line).map_err(anyhow::Error::from);
        let reply = value.and_then(|value| answer(&value)).with_context(|| format!("stdin, line {}", number + 1))?;
        put(&format!("{reply}\n"))?;
    }
    Ok(())
}

fn encode(tokenizer: &Tokenizer, line: &Value, plain: bool) -> Result<Value> {
    let text = match (line["text"].as_str(), line["bytes_hex"].as_str()) {
        (Some(text), _) => text.to_string(),
        // Invalid UTF-8 becomes replacement characters, as in every tokenizer that takes strings.
        (None, Some(hex)) => String::from_utf8_lossy(&bytes_of(hex)?).into_owned(),
        (None, None) => bail!("expected {{\"text\": ...}} or {{\"bytes_hex\": ...}}"),
    };
    let ids = if plain { tokenizer.encode_plain(&text)? } else { tokenizer.encode(&text)? };
    Ok(json!({ "ids": ids }))
}

fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|d| d.len().is_multiple_of(2)).ok_or_else(|| anyhow!("bytes_hex is not a row of hexadecimal pairs"))?;
    Ok(digits.as_chunks::<2>().0.iter().map(|[high, low]| (high * 16 + low) as u8).collect())
}

fn decode(tokenizer: &Tokenizer, line: &Value) -> Result<Value> {
    let ids = line["ids"].as_array().ok_or_else(|| anyhow!("expected {{\"ids\": [...]}}"))?;
    let mut detokenizer = Detokenizer::new(tokenizer.clone());
    let mut pieces = Vec::new();
    for id in ids {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|&id| tokenizer.token_bytes(id).is_some());
        let id = id.ok_or_else(|| anyhow!("an id is not one of the {} of the vocabulary", tokenizer.vocab_size()))?;
        pieces.push(detokenizer.push(id));
    }
    let text = pieces.concat() + &detokenizer.finish();
    Ok(json!({ "text": text, "pieces": pieces }))
}

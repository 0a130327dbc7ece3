//! `dwarfstar render` turns conversations into prompts, and completions back into messages, a JSON line each.

use super::args::ModelArgs;
use super::source::Source;
use super::tokenize::each_line;
use crate::text::Tokenizer;
use crate::text::encoding::{Conversation, EffortTable, ThinkingMode};
use crate::text::parse::parse;
use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Value, json};

#[derive(Args, Debug)]
pub struct Render {
    #[command(flatten)]
    model: ModelArgs,
    /// Use the effort words of the first checkpoints (the default)
    #[arg(long)]
    original: bool,
    /// Use the effort words of the refreshed checkpoints
    #[arg(long = "0731", conflicts_with = "original")]
    refreshed: bool,
    /// Parse completions, lines of {"text", "thinking_mode"}, into messages
    #[arg(long)]
    parse: bool,
}

impl Render {
    pub fn run(self) -> Result<()> {
        if self.parse {
            return each_line(parsed);
        }
        let tokenizer = Source::of(&self.model).tokenizer()?;
        let table = match self.model.effort_table {
            Some(table) => table,
            None if self.refreshed => EffortTable::V0731,
            None => EffortTable::Original,
        };
        each_line(|line| Ok(rendered(&tokenizer, line, table).unwrap_or_else(|error| json!({ "error": format!("{error:#}") }))))
    }
}

/// The prompt as one string, and its ids. Text that spells a special token becomes that token here, as in the reference encoders.
fn rendered(tokenizer: &Tokenizer, line: &Value, table: EffortTable) -> Result<Value> {
    let prompt = Conversation::from_json(line)?.render(table)?.text();
    let ids = tokenizer.encode(&prompt)?;
    Ok(json!({ "prompt": prompt, "ids": ids }))
}

fn parsed(line: &Value) -> Result<Value> {
    let text = line["text"].as_str().ok_or_else(|| anyhow!("expected {{\"text\": ..., \"thinking_mode\": ...}}"))?;
    let mode = ThinkingMode::from_name(line["thinking_mode"].as_str().unwrap_or("thinking"))?;
    Ok(match parse(text, mode) {
        Ok(message) => {
            let calls: Vec<Value> = message
                .tool_calls
                .iter()
                .map(|call| json!({ "type": "function", "function": { "name": call.name, "arguments": call.arguments } }))
                .collect();
            json!({ "content": message.content, "reasoning_content": message.reasoning_content, "tool_calls": calls })
        }
        Err(error) => json!({ "error": error.to_string() }),
    })
}

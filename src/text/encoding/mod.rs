//! Conversation to prompt, exactly as in DeepSeek's reference code for V4: texts are not trimmed or escaped, and get no white space around
//! them. Two revisions of that code exist, which differ in the [`EffortTable`] only.
//!
//! Messages are JSON, because tools and their arguments are JSON of any shape. [`Chat`] is a typed conversation without tools.

mod chat;
mod prompt;
mod render;
mod turns;
mod values;

pub use chat::{Chat, ChatTurn};
pub use prompt::Prompt;

use super::special::BOS;
use crate::error::{Error, Result};
use render::Renderer;
use serde_json::Value;
use std::borrow::Cow;
use turns::{Body, Turn};
use values::wrong;

/// Whether the model reasons before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingMode {
    /// The model answers at once. The prompt leaves out the reasoning of earlier turns.
    Chat,
    /// The model writes its reasoning first.
    Thinking,
}

/// How hard the model is asked to reason. The [`EffortTable`] says what each word puts into the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// `low`
    Low,
    /// `high`
    High,
    /// `max`
    Max,
}

/// The texts that each [`Effort`] puts before the conversation. A checkpoint was trained with one of these tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffortTable {
    /// The table of V4-Flash and V4-Pro of April 2026. `high` is the default, and `low` does not exist.
    Original,
    /// The table of V4-Flash-0731 and V4-Pro-0813. `low` is the default.
    V0731,
}

/// A conversation to render. The fields are the arguments of the reference's `encode_messages`.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The messages to render: objects with `role`, `content` and other fields that depend on the role.
    pub messages: Vec<Value>,
    /// Messages that the model has read already. They are not rendered, but they count where turns are dropped, and with them the prompt
    /// has no BOS.
    pub context: Vec<Value>,
    /// Tools for the first message. If it is neither a system nor a developer message, an empty system message is put before it.
    pub tools: Vec<Value>,
    /// Whether the model reasons before it answers.
    pub thinking: ThinkingMode,
    /// Whether to leave out the reasoning of turns before the last user turn. It is never left out where the conversation has tools.
    pub drop_thinking: bool,
    /// Whether the prompt starts with BOS.
    pub bos: bool,
    /// How hard the model reasons. `None` is the checkpoint's default.
    pub effort: Option<Effort>,
}

const EFFORT_A: &str = include_str!("effort_a.txt");
const EFFORT_B: &str = include_str!("effort_b.txt");

impl ThinkingMode {
    /// The mode with the name `chat` or `thinking`.
    ///
    /// # Errors
    /// [`Error::Text`] for another name.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "chat" => Ok(Self::Chat),
            "thinking" => Ok(Self::Thinking),
            _ => Err(Error::Text(format!("thinking_mode: expected \"chat\" or \"thinking\", found {name:?}"))),
        }
    }
}

impl Effort {
    /// The effort with the name `low`, `high` or `max`.
    ///
    /// # Errors
    /// [`Error::Text`] for another name.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "low" => Ok(Self::Low),
            "high" => Ok(Self::High),
            "max" => Ok(Self::Max),
            _ => Err(Error::Text(format!("reasoning_effort: expected \"low\", \"high\" or \"max\", found {name:?}"))),
        }
    }
}

impl EffortTable {
    /// The name: `original` or `0731`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::V0731 => "0731",
        }
    }

    /// The table with the name `original` or `0731`.
    ///
    /// # Errors
    /// [`Error::Text`] for another name.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "original" => Ok(Self::Original),
            "0731" => Ok(Self::V0731),
            _ => Err(Error::Text(format!("effort table: expected \"original\" or \"0731\", found {name:?}"))),
        }
    }

    fn prefix(self, effort: Option<Effort>) -> Result<&'static str> {
        match (self, effort) {
            (_, None) | (Self::Original, Some(Effort::High)) | (Self::V0731, Some(Effort::Low)) => Ok(""),
            (Self::Original, Some(Effort::Max)) | (Self::V0731, Some(Effort::High)) => Ok(EFFORT_A),
            (Self::V0731, Some(Effort::Max)) => Ok(EFFORT_B),
            (Self::Original, Some(Effort::Low)) => {
                Err(Error::Text("reasoning_effort: this model's effort table has \"high\" and \"max\", not \"low\"".into()))
            }
        }
    }
}

impl Conversation {
    /// A conversation of these messages, with the reference's defaults in all other fields.
    pub fn new(messages: Vec<Value>, thinking: ThinkingMode) -> Self {
        Self { messages, context: Vec::new(), tools: Vec::new(), thinking, drop_thinking: true, bos: true, effort: None }
    }

    /// A conversation from an object with `messages` and `thinking_mode`. It may have `tools`, `context`, `drop_thinking`,
    /// `add_default_bos_token` and `reasoning_effort`; other keys are ignored.
    ///
    /// # Errors
    /// [`Error::Text`] for a missing key, a value of the wrong type or an unknown name.
    pub fn from_json(value: &Value) -> Result<Self> {
        let list = |key: &str| match value.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items.clone()),
            Some(other) => Err(wrong(key, "a list", other)),
        };
        let flag = |key: &str| match value.get(key) {
            None | Some(Value::Null) => Ok(true),
            Some(other) => other.as_bool().ok_or_else(|| wrong(key, "true or false", other)),
        };
        let word = |key: &str| match value.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(other) => other.as_str().map(Some).ok_or_else(|| wrong(key, "a string", other)),
        };
        let missing = |key: &str| Error::Text(format!("the conversation has no {key:?}"));
        let mode = word("thinking_mode")?.ok_or_else(|| missing("thinking_mode"))?;
        Ok(Self {
            messages: if value.get("messages").is_some() { list("messages")? } else { return Err(missing("messages")) },
            context: list("context")?,
            tools: list("tools")?,
            thinking: ThinkingMode::from_name(mode)?,
            drop_thinking: flag("drop_thinking")?,
            bos: flag("add_default_bos_token")?,
            effort: word("reasoning_effort")?.map(Effort::from_name).transpose()?,
        })
    }

    /// The prompt of the conversation.
    ///
    /// # Errors
    /// [`Error::Text`] where the reference refuses too: an unknown role or task, an empty developer message, content that is not text,
    /// malformed tool calls, or an effort that the table does not have.
    pub fn render(&self, table: EffortTable) -> Result<Prompt> {
        let effort = table.prefix(self.effort)?;
        let messages = self.messages_with_tools();
        let mut turns = Vec::with_capacity(self.context.len() + messages.len());
        turns::merge(&mut turns, self.context.iter(), true)?;
        turns::merge(&mut turns, messages.iter().map(Cow::as_ref), false)?;
        turns::sort_results(&mut turns);

        let thinking = self.thinking == ThinkingMode::Thinking;
        let dropping = self.drop_thinking && !turns.iter().any(Turn::has_tools);
        if thinking && dropping {
            let last_user = turns.iter().rposition(Turn::is_user_side).unwrap_or(0);
            let mut index = 0..;
            turns.retain(|turn| index.next() >= Some(last_user) || !matches!(turn.body, Body::Developer | Body::Unknown(_)));
        }
        let last_user = if dropping { turns.iter().rposition(Turn::is_user_side) } else { None };

        let mut prompt = Prompt::default();
        if self.bos && self.context.is_empty() {
            prompt.special(BOS);
        }
        for index in (0..turns.len()).filter(|index| !turns[*index].in_context) {
            if index == 0 && thinking {
                prompt.plain(effort);
            }
            Renderer { turns: &turns, thinking, last_user, prompt: &mut prompt }.turn(index)?;
        }
        Ok(prompt)
    }

    fn messages_with_tools(&self) -> Vec<Cow<'_, Value>> {
        let mut messages: Vec<Cow<'_, Value>> = self.messages.iter().map(Cow::Borrowed).collect();
        if self.tools.is_empty() {
            return messages;
        }
        let role = self.messages.first().and_then(|message| message["role"].as_str());
        if !matches!(role, Some("system" | "developer")) {
            messages.insert(0, Cow::Owned(serde_json::json!({"role": "system"})));
        }
        if let Some(Value::Object(first)) = messages.first_mut().map(Cow::to_mut) {
            first.insert("tools".into(), Value::Array(self.tools.clone()));
        }
        messages
    }
}

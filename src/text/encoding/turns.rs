//! Messages to turns: tool results become parts of a user turn, in the order of the calls that they answer.

use super::values::truthy;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// One turn of a conversation. Its content is checked when it is rendered, so that dropped turns need no check.
pub(super) struct Turn<'a> {
    pub body: Body<'a>,
    /// All fields of the message. Those of messages that were merged into this turn are not kept.
    pub fields: &'a Map<String, Value>,
    /// The quick-instruction task that follows this turn.
    pub task: Option<&'a Value>,
    /// Whether the model has read this turn already.
    pub in_context: bool,
}

pub(super) enum Body<'a> {
    System,
    Developer,
    User(Vec<UserPart<'a>>),
    Assistant,
    Reminder,
    Unknown(&'a Value),
}

pub(super) enum UserPart<'a> {
    Text(Option<&'a Value>),
    ToolResult { call: &'a str, content: Option<&'a Value> },
}

impl Turn<'_> {
    pub fn is_user_side(&self) -> bool {
        matches!(self.body, Body::User(_) | Body::Developer)
    }

    pub fn has_tools(&self) -> bool {
        // The reference keeps only text and task of a user message, so its tools do not count.
        !matches!(self.body, Body::User(_)) && self.fields.get("tools").is_some_and(truthy)
    }
}

/// Appends the turns of `messages` to `turns`. Messages never merge into earlier turns of `turns`, because the model has read those.
pub(super) fn merge<'a>(turns: &mut Vec<Turn<'a>>, messages: impl Iterator<Item = &'a Value>, in_context: bool) -> Result<()> {
    let first = turns.len();
    for (index, message) in messages.enumerate() {
        let fields = message.as_object().ok_or_else(|| Error::Text(format!("message {index} is not an object")))?;
        let role = fields.get("role").unwrap_or(&Value::Null);
        let content = fields.get("content");
        let task = fields.get("task").filter(|task| !task.is_null());
        let open = match turns.get_mut(first..).and_then(<[_]>::last_mut) {
            Some(Turn { body: Body::User(parts), task, .. }) => Some((parts, task.is_some())),
            _ => None,
        };
        let (body, task) = match (role.as_str(), open) {
            (Some("tool"), open) => {
                let call = fields.get("tool_call_id").and_then(Value::as_str).unwrap_or_default();
                let part = UserPart::ToolResult { call, content };
                match open {
                    Some((parts, _)) => {
                        parts.push(part);
                        continue;
                    }
                    None => (Body::User(vec![part]), None),
                }
            }
            (Some("user"), Some((parts, false))) => {
                parts.push(UserPart::Text(content));
                continue;
            }
            (Some("user"), _) => (Body::User(vec![UserPart::Text(content)]), task),
            (Some("system"), _) => (Body::System, task),
            (Some("developer"), _) => (Body::Developer, task),
            (Some("assistant"), _) => (Body::Assistant, task),
            (Some("latest_reminder"), _) => (Body::Reminder, task),
            _ => (Body::Unknown(role), task),
        };
        turns.push(Turn { body, fields, task, in_context });
    }
    Ok(())
}

/// Sorts the tool results of each user turn by the order of the preceding tool calls. Texts keep their places.
pub(super) fn sort_results(turns: &mut [Turn<'_>]) {
    let mut order: HashMap<&str, usize> = HashMap::new();
    for turn in turns {
        match &mut turn.body {
            Body::Assistant => {
                let calls = turn.fields.get("tool_calls").and_then(Value::as_array).filter(|calls| !calls.is_empty());
                if let Some(calls) = calls {
                    order = calls.iter().zip(0..).filter_map(|(call, place)| Some((call_id(call)?, place))).collect();
                }
            }
            Body::User(parts) if !order.is_empty() => {
                let place = |part: &UserPart<'_>| match part {
                    UserPart::ToolResult { call, .. } => Some(order.get(call).copied().unwrap_or(0)),
                    UserPart::Text(_) => None,
                };
                let slots: Vec<usize> = (0..parts.len()).filter(|i| place(&parts[*i]).is_some()).collect();
                let mut results: Vec<UserPart<'_>> = Vec::with_capacity(slots.len());
                for slot in &slots {
                    results.push(std::mem::replace(&mut parts[*slot], UserPart::Text(None)));
                }
                results.sort_by_key(place);
                for (slot, result) in slots.into_iter().zip(results) {
                    parts[slot] = result;
                }
            }
            _ => {}
        }
    }
}

fn call_id(call: &Value) -> Option<&str> {
    [call, &call["function"]].into_iter().filter_map(|holder| holder["id"].as_str()).find(|id| !id.is_empty())
}

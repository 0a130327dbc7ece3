//! Rendering one turn into the prompt.

use super::prompt::Prompt;
use super::turns::{Body, Turn, UserPart};
use super::values::{truthy, wrong};
use crate::error::{Error, Result};
use crate::text::json::{self, Argument, Arguments};
use crate::text::special::{self, ASSISTANT, DSML, EOS, GROUNDING, REMINDER, THINK, THINK_END, USER};
use serde_json::{Map, Value};

const TOOLS_BEFORE: &str = include_str!("tools_before_schemas.txt");
const TOOLS_AFTER: &str = include_str!("tools_after_schemas.txt");
const RESPONSE_FORMAT: &str = include_str!("response_format_before_schema.txt");

/// Renders turns. It needs the whole conversation, because the end of a turn depends on the next one.
pub(super) struct Renderer<'r> {
    pub turns: &'r [Turn<'r>],
    pub thinking: bool,
    /// Index of the last user or developer turn, if reasoning before it is dropped.
    pub last_user: Option<usize>,
    pub prompt: &'r mut Prompt,
}

impl Renderer<'_> {
    pub fn turn(&mut self, index: usize) -> Result<()> {
        let turn = &self.turns[index];
        let fields = turn.fields;
        match &turn.body {
            Body::System => {
                self.prompt.plain(text_or_empty(fields, "content")?);
                self.tools_and_format(fields)?;
            }
            Body::Developer => {
                let text = text_or_empty(fields, "content")?;
                if text.is_empty() {
                    return Err(Error::Text("a developer message needs content".into()));
                }
                self.prompt.special(USER);
                self.prompt.plain(text);
                self.tools_and_format(fields)?;
            }
            Body::User(parts) => self.user(parts)?,
            Body::Reminder => {
                self.prompt.special(REMINDER);
                self.prompt.plain(text_of(fields.get("content"), "a latest_reminder message")?);
            }
            Body::Assistant => self.assistant(index)?,
            Body::Unknown(role) => return Err(Error::Text(format!("unknown role {role}"))),
        }
        match self.turns.get(index + 1).map(|next| &next.body) {
            None | Some(Body::Assistant | Body::Reminder) => self.transition(index),
            Some(_) => Ok(()),
        }
    }

    /// Renders the tokens between a turn and the answer to it.
    fn transition(&mut self, index: usize) -> Result<()> {
        let turn = &self.turns[index];
        if let Some(task) = turn.task {
            let name = task.as_str().unwrap_or_default();
            let token = special::task(name).ok_or_else(|| Error::Text(format!("unknown task {task}")))?;
            if name == "action" {
                self.prompt.special(ASSISTANT);
                self.prompt.special(if self.thinking { THINK } else { THINK_END });
            }
            self.prompt.special(token);
        } else if turn.is_user_side() {
            let thinks = self.thinking && self.last_user.is_none_or(|last| index >= last);
            self.prompt.special(ASSISTANT);
            self.prompt.special(if thinks { THINK } else { THINK_END });
        }
        Ok(())
    }

    fn user(&mut self, parts: &[UserPart<'_>]) -> Result<()> {
        self.prompt.special(USER);
        for (i, part) in parts.iter().enumerate() {
            self.prompt.plain(if i == 0 { "" } else { "\n\n" });
            match part {
                UserPart::Text(None) => {}
                UserPart::Text(content) => self.prompt.plain(text_of(*content, "a user message")?),
                UserPart::ToolResult { content, .. } => {
                    self.prompt.plain("<tool_result>");
                    self.tool_result(*content)?;
                    self.prompt.plain("</tool_result>");
                }
            }
        }
        Ok(())
    }

    fn tool_result(&mut self, content: Option<&Value>) -> Result<()> {
        let items = match content {
            None => return Ok(()),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.prompt.plain(text_of(content, "a tool message")?);
                return Ok(());
            }
        };
        for (i, item) in items.iter().enumerate() {
            self.prompt.plain(if i == 0 { "" } else { "\n\n" });
            match item["type"].as_str() {
                Some("text") => self.prompt.plain(item.get("text").map_or(Ok(""), |text| text_of(Some(text), "a text part"))?),
                kind => self.prompt.plain(&format!("[Unsupported {}]", kind.unwrap_or("None"))),
            }
        }
        Ok(())
    }

    fn assistant(&mut self, index: usize) -> Result<()> {
        let fields = self.turns[index].fields;
        let answers_task = index.checked_sub(1).is_some_and(|before| self.turns[before].task.is_some());
        if self.thinking && !answers_task && self.last_user.is_none_or(|last| index > last) {
            self.prompt.with_tokens(text_or_empty(fields, "reasoning_content")?, &GROUNDING);
            self.prompt.special(THINK_END);
        }
        self.prompt.with_tokens(text_or_empty(fields, "content")?, &GROUNDING);
        match fields.get("tool_calls").filter(|calls| truthy(calls)) {
            None => {}
            Some(Value::Array(calls)) => self.calls(calls)?,
            Some(other) => return Err(wrong("tool_calls", "a list", other)),
        }
        if !fields.get("wo_eos").is_some_and(truthy) {
            self.prompt.special(EOS);
        }
        Ok(())
    }

    fn calls(&mut self, calls: &[Value]) -> Result<()> {
        self.prompt.plain("\n\n");
        self.tag("<", "tool_calls>\n");
        for call in calls {
            let function = &call["function"];
            let bad = || Error::Text("a tool call needs function.name, a string, and function.arguments".into());
            let name = function["name"].as_str().ok_or_else(bad)?;
            let arguments = arguments(function.get("arguments").ok_or_else(bad)?)?;
            self.tag("<", &format!("invoke name=\"{name}\">\n"));
            for (i, (key, argument)) in arguments.iter().enumerate() {
                self.prompt.plain(if i == 0 { "" } else { "\n" });
                let (is_string, value) = match argument {
                    Argument::Text(text) => (true, text),
                    Argument::Json(json) => (false, json),
                };
                self.tag("<", &format!("parameter name=\"{key}\" string=\"{is_string}\">{value}"));
                self.tag("</", "parameter>");
            }
            self.prompt.plain("\n");
            self.tag("</", "invoke>\n");
        }
        self.tag("</", "tool_calls>");
        Ok(())
    }

    fn tag(&mut self, open: &str, rest: &str) {
        self.prompt.plain(open);
        self.prompt.special(DSML);
        self.prompt.plain(rest);
    }

    fn tools_and_format(&mut self, fields: &Map<String, Value>) -> Result<()> {
        match fields.get("tools").filter(|tools| truthy(tools)) {
            None => {}
            Some(Value::Array(tools)) => {
                self.prompt.plain("\n\n");
                self.prompt.with_tokens(TOOLS_BEFORE, &[DSML, THINK, THINK_END]);
                let mut schemas = String::new();
                for (i, tool) in tools.iter().enumerate() {
                    let function = tool.get("function").ok_or_else(|| Error::Text(format!("tool {i} has no \"function\"")))?;
                    schemas.push_str(if i == 0 { "" } else { "\n" });
                    json::write(function, &mut schemas);
                }
                self.prompt.plain(&schemas);
                self.prompt.plain(TOOLS_AFTER);
            }
            Some(other) => return Err(wrong("tools", "a list", other)),
        }
        if let Some(format) = fields.get("response_format").filter(|format| truthy(format)) {
            let mut schema = String::new();
            json::write(format, &mut schema);
            self.prompt.plain("\n\n");
            self.prompt.plain(RESPONSE_FORMAT);
            self.prompt.plain(&schema);
        }
        Ok(())
    }
}

/// The parameters of a call. Arguments should be JSON text. As in the reference, anything else becomes one parameter named `arguments`.
fn arguments(value: &Value) -> Result<Vec<(String, Argument)>> {
    let whole = |argument| Ok(vec![("arguments".to_owned(), argument)]);
    let Value::String(text) = value else {
        let mut json = String::new();
        json::write(value, &mut json);
        return whole(Argument::Json(json));
    };
    match json::read_arguments(text) {
        Arguments::Object(members) => Ok(members),
        Arguments::Unparsable => whole(Argument::Text(text.clone())),
        Arguments::NoObject => Err(Error::Text("the arguments of a tool call must be a JSON object".into())),
    }
}

fn text_of<'a>(content: Option<&'a Value>, whose: &str) -> Result<&'a str> {
    let found = content.unwrap_or(&Value::Null);
    found.as_str().ok_or_else(|| wrong(&format!("content of {whose}"), "a string", found))
}

fn text_or_empty<'a>(fields: &'a Map<String, Value>, key: &str) -> Result<&'a str> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(value) => value.as_str().ok_or_else(|| wrong(key, "a string", value)),
    }
}

//! Parses a complete answer into a message. It accepts and refuses exactly the same text as DeepSeek's reference code.
//! [`super::stream`] reads an answer that is still being generated, and never fails.

use super::encoding::ThinkingMode;
use super::json;
use super::special::{BOS, DSML, EOS, THINK, THINK_END};
use crate::error::{Error, Result};
use std::collections::HashSet;

/// A message of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The answer.
    pub content: String,
    /// The reasoning before the answer. It is empty in chat mode.
    pub reasoning_content: String,
    /// The tool calls in order. They have no ids; the caller makes them.
    pub tool_calls: Vec<ToolCall>,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Name of the tool.
    pub name: String,
    /// A JSON object as text. Values that are not strings are copied unchecked from the model's text, so that the whole may be invalid.
    pub arguments: String,
}

const CALLS: &str = "\n\n<｜DSML｜tool_calls";
const CALLS_END: &str = "</｜DSML｜tool_calls>";
const INVOKE: &str = "<｜DSML｜invoke";
const INVOKE_END: &str = "</｜DSML｜invoke";
const PARAMETER: &str = "<｜DSML｜parameter";
/// The closing tag without its angle bracket. The text of a parameter ends with that bracket.
const PARAMETER_END: &str = "/｜DSML｜parameter";

/// Parses `text`, which is everything that the model wrote after the assistant header, including the end token.
///
/// # Errors
/// [`Error::Text`] for text that the reference refuses: no end token, reasoning that does not end, special tokens inside the answer, or
/// malformed tool calls. An incomplete call is not always refused, so do not execute the calls of an answer that was cut off.
pub fn parse(text: &str, thinking: ThinkingMode) -> Result<Message> {
    let mut rest = Scanner { rest: text };
    let mut message = Message::default();
    if thinking == ThinkingMode::Thinking {
        match rest.until(&[THINK_END, CALLS]) {
            (reasoning, Some(THINK_END)) => message.reasoning_content = reasoning.to_owned(),
            _ => return Err(Error::Text(format!("the reasoning does not end: no {THINK_END} before the answer"))),
        }
    }
    match rest.until(&[EOS, CALLS]) {
        (content, Some(stop)) => {
            message.content = content.to_owned();
            if stop == CALLS {
                message.tool_calls = calls(&mut rest)?;
                let (after, _) = rest.until(&[EOS]);
                if !after.is_empty() {
                    return Err(Error::Text(format!("text after the tool calls: {}", shown(after))));
                }
            }
        }
        _ => return Err(Error::Text(format!("the answer does not end: no {EOS}"))),
    }
    if !rest.rest.is_empty() {
        return Err(Error::Text(format!("text after {EOS}: {}", shown(rest.rest))));
    }
    for (what, text) in [("answer", &message.content), ("reasoning", &message.reasoning_content)] {
        if let Some(token) = [BOS, EOS, THINK, THINK_END, DSML].into_iter().find(|token| text.contains(token)) {
            return Err(Error::Text(format!("{token} inside the {what}")));
        }
    }
    Ok(message)
}

/// Reads the calls of a block, from after the name of its opening tag to its closing tag or to the end of the text.
fn calls(rest: &mut Scanner<'_>) -> Result<Vec<ToolCall>> {
    let mut calls = Vec::new();
    while !rest.rest.is_empty() {
        let (between, stop) = rest.until(&[INVOKE, CALLS_END]);
        if between != ">\n" {
            return Err(Error::Text(format!("tool calls: expected \">\\n\" between tags, found {}", shown(between))));
        }
        match stop {
            Some(CALLS_END) => break,
            Some(_) => calls.push(call(rest)?),
            None => return Err(Error::Text("tool calls: expected another call or the end of the block, found the end of the text".into())),
        }
    }
    Ok(calls)
}

fn call(rest: &mut Scanner<'_>) -> Result<ToolCall> {
    let (head, mut stop) = rest.until(&[PARAMETER, INVOKE_END]);
    let name =
        name(head).ok_or_else(|| Error::Text(format!("tool call: expected ' name=\"...\">' and a line end, found {}", shown(head))))?;
    let mut seen = HashSet::new();
    let mut arguments = String::from("{");
    while stop == Some(PARAMETER) {
        let (body, _) = rest.until(&[PARAMETER_END]);
        let (key, is_string, value) = parameter(body)
            .ok_or_else(|| Error::Text(format!("parameter: expected ' name=\"...\" string=\"true|false\">...<', found {}", shown(body))))?;
        arguments.push_str(if seen.is_empty() { "" } else { ", " });
        if !seen.insert(key) {
            return Err(Error::Text(format!("parameter {key:?} is given twice")));
        }
        json::quote(key, &mut arguments);
        arguments.push_str(": ");
        match is_string {
            true => json::quote(value, &mut arguments),
            false => arguments.push_str(value),
        }
        let between;
        (between, stop) = rest.until(&[PARAMETER, INVOKE_END]);
        if between != ">\n" {
            return Err(Error::Text(format!("parameter: expected \">\\n\" after it, found {}", shown(between))));
        }
    }
    Ok(ToolCall { name: name.to_owned(), arguments: arguments + "}" })
}

/// The name in the opening tag of a call. The reference uses Python's `^\s*name="(.*?)">\n$`, in which `$` also matches before a final
/// line end. An empty argument list parses only for that reason.
fn name(head: &str) -> Option<&str> {
    // For Python the information separators U+001C to U+001F are white space.
    let head = head.trim_start_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c));
    let name = head.strip_prefix("name=\"")?;
    name.strip_suffix("\">\n").or_else(|| name.strip_suffix("\">\n\n"))
}

/// Name, kind and value of a parameter. The reference uses `^ name="(.*?)" string="(true|false)">(.*?)<$`, so the name ends at the first
/// place where it can end.
fn parameter(body: &str) -> Option<(&str, bool, &str)> {
    let body = body.strip_suffix('\n').filter(|body| body.ends_with('<')).unwrap_or(body);
    let body = body.strip_prefix(" name=\"")?.strip_suffix('<')?;
    let end = |is_string| body.find(&format!("\" string=\"{is_string}\">")).map(|at| (at, is_string));
    let (at, is_string) = [end(true), end(false)].into_iter().flatten().min()?;
    let value = at + "\" string=\"\">".len() + is_string.to_string().len();
    Some((&body[..at], is_string, &body[value..]))
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// Takes the text before the first of `stops`, and that stop. Without a stop it takes the rest of the text and returns `None`.
    fn until<'s>(&mut self, stops: &[&'s str]) -> (&'a str, Option<&'s str>) {
        let first = stops.iter().filter_map(|stop| Some((self.rest.find(stop)?, *stop))).min_by_key(|(at, _)| *at);
        match first {
            Some((at, stop)) => {
                let before = &self.rest[..at];
                self.rest = &self.rest[at + stop.len()..];
                (before, Some(stop))
            }
            None => (std::mem::take(&mut self.rest), None),
        }
    }
}

/// The beginning of `text` as a message shows it: quoted, on one line.
fn shown(text: &str) -> String {
    let head: String = text.chars().take(40).collect();
    format!("{head:?}{}", if head.len() < text.len() { "..." } else { "" })
}

//! Reads a tool-call block while the model writes it. A name is reported when it is complete, arguments as parts of JSON text.

use super::events::{Event, Events};
use crate::text::json;
use crate::text::special::DSML;

/// Reads one block: takes text and marks, and reports tool events. White space between tags does not matter. A mark is the special token
/// in every tag, [`DSML`].
pub(super) struct CallReader {
    at: At,
    /// Index of the call that is open.
    open: Option<usize>,
    /// Number of parameters of that call so far.
    parameters: usize,
    finished: bool,
}

/// The place in the block.
enum At {
    /// Between tags.
    Between,
    /// After the mark of a tag, which ends at `>`.
    Tag { closes: bool, text: String },
    /// Inside the name of a parameter.
    Key,
    /// Between the name of a parameter and its value.
    AfterKey(String),
    /// Inside the value of a parameter.
    Value { is_string: bool },
    /// After the mark of a closing tag in a value. A tag that closes a parameter ends the value; any other belongs to the value.
    Closing { is_string: bool, text: String },
}

impl CallReader {
    /// A reader that starts inside the block, or after the mark of the block's opening tag.
    pub fn new(inside: bool) -> Self {
        let at = if inside { At::Between } else { At::Tag { closes: false, text: String::new() } };
        Self { at, open: None, parameters: 0, finished: false }
    }

    /// Whether the block has been closed.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether a call has begun and has not ended.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes a mark. `angle` is the bracket before it: `<`, `</` or empty.
    pub fn mark(&mut self, angle: &str, events: &mut Events) {
        match &mut self.at {
            At::Value { is_string } if angle == "</" => self.at = At::Closing { is_string: *is_string, text: String::new() },
            At::Key | At::Value { .. } | At::Closing { .. } => self.text(&format!("{angle}{DSML}"), events),
            At::Between | At::Tag { .. } | At::AfterKey(_) => {
                self.end_of_tag(events);
                if !angle.is_empty() {
                    self.at = At::Tag { closes: angle == "</", text: String::new() };
                }
            }
        }
    }

    pub fn text(&mut self, text: &str, events: &mut Events) {
        for c in text.chars() {
            if self.finished {
                return;
            }
            self.char(c, events);
        }
    }

    /// Ends the block where the answer ends. A closing tag may lack its bracket.
    pub fn finish(&mut self, events: &mut Events) {
        self.end_of_tag(events);
    }

    fn char(&mut self, c: char, events: &mut Events) {
        match &mut self.at {
            At::Between => {}
            At::Tag { closes, text } => {
                text.push(c);
                if *closes && c == '>' {
                    text.pop();
                    self.end_of_tag(events);
                } else if !*closes && matches!(c, '"' | '>') {
                    self.opening_tag(events);
                }
            }
            At::Key if c == '"' => {
                self.arguments("\"", events);
                self.at = At::AfterKey(String::new());
            }
            At::Key => self.value_char(c, true, events),
            At::AfterKey(text) if c == '>' => {
                // A value that is not marked as JSON becomes a string, which is always valid.
                let is_string = !text.contains("string=\"false\"");
                self.arguments(if is_string { ": \"" } else { ": " }, events);
                self.at = At::Value { is_string };
            }
            At::AfterKey(text) => text.push(c),
            At::Value { is_string } => {
                let is_string = *is_string;
                self.value_char(c, is_string, events);
            }
            At::Closing { is_string, text } => {
                text.push(c);
                let (is_string, name) = (*is_string, text.trim_start());
                if name == "parameter" {
                    if is_string {
                        self.arguments("\"", events);
                    }
                    self.at = At::Tag { closes: true, text: "parameter".into() };
                } else if !"parameter".starts_with(name) {
                    let literal = format!("</{DSML}{text}");
                    self.at = At::Value { is_string };
                    literal.chars().for_each(|c| self.value_char(c, is_string, events));
                }
            }
        }
    }

    /// Reads an opening tag up to a quote or bracket. A name is complete at its closing quote, before the tag is.
    fn opening_tag(&mut self, events: &mut Events) {
        let At::Tag { text, .. } = &self.at else { return };
        let tag = text.trim_start();
        let name = tag.split_once("name=\"").map(|(_, name)| name);
        if tag.ends_with('>') {
            if tag.matches('"').count() % 2 == 0 {
                self.at = At::Between;
            }
        } else if tag.starts_with("invoke") {
            // The first quote after the name closes it.
            let name = name.and_then(|name| name.strip_suffix('"')).filter(|name| !name.contains('"')).map(str::to_owned);
            if let Some(name) = name {
                self.end_call(events);
                self.open = Some(events.begin_call(name));
                self.parameters = 0;
            }
        } else if tag.starts_with("parameter") && name == Some("") && self.open.is_some() {
            self.arguments(if self.parameters == 0 { "{\"" } else { ", \"" }, events);
            self.parameters += 1;
            self.at = At::Key;
        }
    }

    /// Ends a tag: at its bracket, or where another tag or the end of the answer shows that the bracket is missing.
    fn end_of_tag(&mut self, events: &mut Events) {
        if let At::Tag { closes: true, text } = &self.at {
            match text.trim() {
                "invoke" => self.end_call(events),
                "tool_calls" | "calls" => {
                    self.end_call(events);
                    self.finished = true;
                }
                _ => {}
            }
            self.at = At::Between;
        }
    }

    fn end_call(&mut self, events: &mut Events) {
        if self.open.is_some() {
            self.arguments(if self.parameters == 0 { "{}" } else { "}" }, events);
            self.open = None;
        }
    }

    fn value_char(&mut self, c: char, is_string: bool, events: &mut Events) {
        let mut buffer = [0; 4];
        let text = c.encode_utf8(&mut buffer);
        if is_string {
            let mut escaped = String::new();
            json::escape(text, &mut escaped);
            self.arguments(&escaped, events);
        } else {
            self.arguments(text, events);
        }
    }

    fn arguments(&self, text: &str, events: &mut Events) {
        if let Some(index) = self.open {
            events.add(Event::ToolArguments { index, text: text.to_owned() });
        }
    }
}

//! The events that a stream reports.

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next text of the reasoning.
    Reasoning(String),
    /// The next text of the answer.
    Content(String),
    /// The beginning of a tool call.
    ToolName {
        /// Number of the call in this answer, from 0.
        index: usize,
        /// Name of the tool.
        name: String,
    },
    /// The next text of a call's arguments. The texts of a complete call together are a JSON object.
    ToolArguments {
        /// Number of the call in this answer, from 0.
        index: usize,
        /// JSON text.
        text: String,
    },
}

/// Events that were not reported yet. Neighbouring texts of the same kind are joined.
#[derive(Default)]
pub(super) struct Events {
    pub ready: Vec<Event>,
    /// Number of calls that have begun in this answer.
    pub calls: usize,
}

impl Events {
    pub fn add(&mut self, event: Event) {
        match (self.ready.last_mut(), &event) {
            (_, Event::Reasoning(new) | Event::Content(new) | Event::ToolArguments { text: new, .. }) if new.is_empty() => {}
            (Some(Event::Reasoning(text)), Event::Reasoning(new)) | (Some(Event::Content(text)), Event::Content(new)) => text.push_str(new),
            (Some(Event::ToolArguments { index, text }), Event::ToolArguments { index: same, text: new }) if index == same => {
                text.push_str(new)
            }
            _ => self.ready.push(event),
        }
    }

    /// Adds the beginning of a call of the tool `name` and returns the call's number.
    pub fn begin_call(&mut self, name: String) -> usize {
        let index = self.calls;
        self.calls += 1;
        self.add(Event::ToolName { index, name });
        index
    }
}

//! The pieces into which an answer is sorted, and how they are gathered.

/// A piece of what the model wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Reasoning.
    Reasoning(String),
    /// The answer.
    Content(String),
    /// A call has begun: its number in this answer, from 0, and the tool's name.
    ToolName {
        /// Which call.
        index: usize,
        /// The tool.
        name: String,
    },
    /// The next piece of a call's arguments. All pieces together are a JSON object, if the call is complete.
    ToolArguments {
        /// Which call.
        index: usize,
        /// JSON text.
        text: String,
    },
}

/// Events of the current piece; neighbours of one kind are one event.
#[derive(Default)]
pub(super) struct Events {
    pub ready: Vec<Event>,
    /// How many calls have begun.
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

    /// Adds the beginning of a call of the tool `name`, and returns the call's number.
    pub fn begin_call(&mut self, name: String) -> usize {
        let index = self.calls;
        self.calls += 1;
        self.add(Event::ToolName { index, name });
        index
    }
}

//! Splits an answer into reasoning, content and tool calls while the model writes it. It never fails; malformed markup becomes text or is
//! dropped. It takes ids, of which only special tokens are markup, or text, in which markup is recognised by its spelling.
//!
//! The rules are those of DeepSeek's serving library: newlines around reasoning and before calls are not shown, a call block may open
//! inside reasoning, and text after the block is dropped. The caller must not pass stop tokens.

mod calls;
mod events;
mod hold;

pub use events::Event;

use super::detokenizer::Utf8;
use super::special::{DSML, THINK_END};
use super::{TokenId, Tokenizer};
use calls::CallReader;
use events::Events;
use hold::{Newlines, Stops, begun};

/// The part of the answer that the model writes first, which depends on the end of the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Reasoning, after a prompt that opens the reasoning block.
    Reasoning,
    /// Content, after a prompt that closes the reasoning block.
    Content,
    /// Tool calls, after a prompt that ends with the opening tag of a call block.
    ToolCalls,
}

/// How to read an answer.
#[derive(Clone, Debug)]
pub struct SplitOptions {
    /// The part that the model writes first.
    pub start: Start,
    /// Whether the answer continues a text in the prompt, so that leading newlines belong to it.
    pub continues: bool,
    /// Whether call markup is a call. Without tools in the request it is content.
    pub tools: bool,
    /// Texts that end the answer and do not belong to it. They count in content only. Empty ones are ignored.
    pub stop: Vec<String>,
}

/// Splits one answer.
pub struct Splitter {
    tokenizer: Tokenizer,
    think_end: Option<TokenId>,
    /// The special token in every tool-call tag.
    mark: Option<TokenId>,
    tools: bool,
    state: State,
    utf8: Utf8,
    /// The end of the text so far, if it may be the beginning of markup. Used for text, not for ids.
    spelled: String,
    /// An angle bracket at the end of the text so far, which a mark may follow: `<`, `</` or empty.
    angle: &'static str,
    newlines: Newlines,
    stops: Stops,
    stopped: bool,
    events: Events,
}

/// The part of the answer that is being read.
enum State {
    Reasoning,
    Content,
    Calls(CallReader),
    /// After a stop string or a call block. Further text is dropped.
    Done,
}

impl Splitter {
    /// Starts an answer.
    pub fn new(tokenizer: Tokenizer, options: SplitOptions) -> Self {
        let added = |text| tokenizer.token_id(text).filter(|id| tokenizer.is_added(*id));
        let state = match options.start {
            Start::Reasoning => State::Reasoning,
            Start::Content => State::Content,
            Start::ToolCalls => State::Calls(CallReader::new(true)),
        };
        Self {
            think_end: added(THINK_END),
            mark: added(DSML),
            tools: options.tools,
            newlines: Newlines::new(!options.continues, options.tools || options.start == Start::Reasoning),
            state,
            utf8: Utf8::default(),
            spelled: String::new(),
            angle: "",
            stops: Stops::new(options.stop),
            stopped: false,
            events: Events::default(),
            tokenizer,
        }
    }

    /// Takes the next tokens. Only special tokens are markup. Ids outside the vocabulary are ignored.
    pub fn push(&mut self, ids: &[TokenId]) -> Vec<Event> {
        for id in ids {
            if self.tokenizer.is_added(*id) {
                let cut_off = self.utf8.finish();
                self.text(&cut_off);
            }
            if Some(*id) == self.think_end {
                self.end_of_reasoning();
            } else if Some(*id) == self.mark {
                self.mark();
            } else {
                let text = self.utf8.push(self.tokenizer.token_bytes(*id).unwrap_or_default());
                self.text(&text);
            }
        }
        std::mem::take(&mut self.events.ready)
    }

    /// Takes the next text, for a caller that has no ids. Text that spells markup is markup.
    pub fn push_text(&mut self, text: &str) -> Vec<Event> {
        let text = std::mem::take(&mut self.spelled) + text;
        let mut rest = text.as_str();
        while let Some((at, found)) = [THINK_END, DSML].into_iter().filter_map(|tag| Some((rest.find(tag)?, tag))).min() {
            self.text(&rest[..at]);
            match found {
                THINK_END => self.end_of_reasoning(),
                _ => self.mark(),
            }
            rest = &rest[at + found.len()..];
        }
        let held = begun(rest, THINK_END).max(begun(rest, DSML));
        let (certain, open) = rest.split_at(rest.len() - held);
        self.text(certain);
        self.spelled = open.to_owned();
        std::mem::take(&mut self.events.ready)
    }

    /// Ends the answer. Returns text that was held back. An incomplete character is dropped.
    pub fn finish(&mut self) -> Vec<Event> {
        let spelled = std::mem::take(&mut self.spelled);
        self.text(&spelled);
        if let State::Calls(reader) = &mut self.state {
            reader.finish(&mut self.events);
        } else {
            let angle = std::mem::take(&mut self.angle);
            self.plain(angle);
            let newlines = self.newlines.finish();
            match self.state {
                State::Reasoning => self.events.add(Event::Reasoning(newlines)),
                State::Content => self.content(&newlines),
                State::Calls(_) | State::Done => {}
            }
            self.events.add(Event::Content(self.stops.finish()));
        }
        std::mem::take(&mut self.events.ready)
    }

    /// Whether a stop string has ended the answer, so that no more tokens are needed.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Number of calls that have begun.
    pub fn calls(&self) -> usize {
        self.events.calls
    }

    /// Whether the last call is incomplete. Such a call must not be executed.
    pub fn has_unfinished_call(&self) -> bool {
        matches!(&self.state, State::Calls(reader) if reader.is_open())
    }

    /// Takes text without markup. An angle bracket at its end is held back, because a mark may follow it.
    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = self.angle.to_owned() + text;
        let may_open = self.tools || matches!(self.state, State::Calls(_));
        self.angle = ["</", "<"].into_iter().find(|angle| may_open && text.ends_with(angle)).unwrap_or("");
        self.plain(&text[..text.len() - self.angle.len()]);
    }

    fn plain(&mut self, text: &str) {
        match &mut self.state {
            State::Reasoning => self.events.add(Event::Reasoning(self.newlines.feed(text))),
            State::Content => {
                let text = self.newlines.feed(text);
                self.content(&text);
            }
            State::Calls(reader) => {
                reader.text(text, &mut self.events);
                self.leave_calls();
            }
            State::Done => {}
        }
    }

    fn content(&mut self, text: &str) {
        let (text, stopped) = self.stops.feed(text);
        self.events.add(Event::Content(text));
        if stopped {
            self.stopped = true;
            self.state = State::Done;
        }
    }

    fn end_of_reasoning(&mut self) {
        match self.state {
            State::Reasoning => {
                let angle = std::mem::take(&mut self.angle);
                self.plain(angle);
                self.newlines = Newlines::new(true, self.tools);
                self.state = State::Content;
            }
            State::Calls(_) => self.text(THINK_END),
            State::Content | State::Done => {}
        }
    }

    fn mark(&mut self) {
        match &mut self.state {
            State::Calls(reader) => {
                reader.mark(std::mem::take(&mut self.angle), &mut self.events);
                self.leave_calls();
            }
            State::Reasoning | State::Content if self.tools && self.angle == "<" => {
                self.angle = "";
                self.events.add(Event::Content(self.stops.finish()));
                self.newlines.finish();
                self.state = State::Calls(CallReader::new(false));
            }
            State::Reasoning | State::Content => self.text(DSML),
            State::Done => {}
        }
    }

    fn leave_calls(&mut self) {
        if let State::Calls(reader) = &self.state
            && reader.is_finished()
        {
            self.state = State::Done;
        }
    }
}

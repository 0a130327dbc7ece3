//! `dwarfstar chat` is a conversation in the terminal, with line editing and history.

use super::answer::{Style, answer, speed};
use super::args::{DeviceArgs, ModelArgs, SamplingArgs, ThinkingArgs};
use super::common::Loaded;
use super::screen::{explained, interrupted, note, put};
use crate::engine::{Engine, Generation, Session};
use crate::text::encoding::{Chat, ChatTurn, ThinkingMode};
use anyhow::Result;
use clap::Args;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use std::sync::atomic::Ordering;

#[derive(Args, Debug)]
pub struct ChatCommand {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    thinking: ThinkingArgs,
    /// The system message of the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// The largest number of tokens of an answer
    #[arg(short, default_value_t = 4096, value_name = "N")]
    n: usize,
    /// The largest length of the conversation, in tokens
    #[arg(long, default_value_t = 16384, value_name = "N")]
    ctx: u32,
}

const HELP: &str = "\
/think      reason before answering
/nothink    answer at once
/ctx        how full the context is
/read FILE  send the text of a file
/reset      forget the conversation
/quit       leave (Ctrl-D too); Ctrl-C stops an answer";

/// What the user asks for in a line.
#[derive(Debug, PartialEq)]
enum Input<'a> {
    Say(&'a str),
    Help,
    Think(ThinkingMode),
    Context,
    Read(&'a str),
    Reset,
    Quit,
    Unknown(&'a str),
}

impl<'a> Input<'a> {
    fn parse(line: &'a str) -> Self {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "/help" => Self::Help,
            "/think" => Self::Think(ThinkingMode::Thinking),
            "/nothink" => Self::Think(ThinkingMode::Chat),
            "/ctx" => Self::Context,
            "/read" => Self::Read(rest.trim()),
            "/reset" => Self::Reset,
            "/quit" | "/exit" => Self::Quit,
            _ if word.starts_with('/') => Self::Unknown(word),
            _ => Self::Say(line),
        }
    }
}

impl ChatCommand {
    pub fn run(self) -> Result<()> {
        let loaded = Loaded::open(&self.model)?;
        let (thinking, effort) = self.thinking.mode();
        if effort.is_some() {
            note(&format!("effort table: {}", loaded.efforts.name()));
        }
        let context = self.ctx.min(loaded.model.config.max_context);
        let mut engine = loaded.load(None, &self.device, context, 1)?;
        note("/help lists the commands");
        let mut session = engine.open()?;
        let mut chat = Chat { system: self.system.clone(), turns: Vec::new(), thinking, effort };
        let mut editor = DefaultEditor::new()?;
        loop {
            let line = match editor.readline("> ") {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if !line.trim().is_empty() {
                // Without history the chat still works.
                let _ = editor.add_history_entry(&line);
            }
            match Input::parse(&line) {
                Input::Say("") => {}
                Input::Say(text) => self.turn(&loaded, &mut engine, &mut session, &mut chat, text.to_string())?,
                Input::Help => note(HELP),
                Input::Think(mode) => chat.thinking = mode,
                Input::Context => note(&format!("{} of {} tokens", session.tokens().len(), engine.context())),
                Input::Read(file) => match std::fs::read_to_string(file) {
                    Ok(text) => self.turn(&loaded, &mut engine, &mut session, &mut chat, text)?,
                    Err(error) => note(&format!("{file}: {error}")),
                },
                Input::Reset => chat.turns.clear(),
                Input::Quit => return Ok(()),
                Input::Unknown(word) => note(&format!("unknown command {word}; /help lists them")),
            }
        }
    }

    /// Runs one question and its answer. If it cannot be answered, the reason is printed, and the conversation goes on without the
    /// question.
    fn turn(&self, loaded: &Loaded, engine: &mut Engine, session: &mut Session, chat: &mut Chat, text: String) -> Result<()> {
        chat.turns.push(ChatTurn::User(text));
        let ids = chat.render(loaded.efforts)?.ids(&loaded.tokenizer)?;
        let stops = loaded.tokenizer.eos().into_iter().collect();
        let generation = Generation { sampling: self.sampling.sampling(1.0), limit: self.n, stops };
        interrupted().store(false, Ordering::Relaxed);
        match answer(engine, session, &loaded.tokenizer, &ids, &generation, &Style::Split(chat.thinking)) {
            Ok(answer) => {
                put("\n")?;
                if let Some(report) = &answer.report {
                    note(&speed(report));
                }
                chat.turns.push(ChatTurn::Assistant { text: answer.text, reasoning: answer.reasoning });
            }
            Err(error) => {
                note(&explained(&error));
                chat.turns.pop();
            }
        }
        interrupted().store(false, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_words() {
        assert_eq!(Input::parse("  hello /there "), Input::Say("hello /there"));
        assert_eq!(Input::parse("/read  a b.txt "), Input::Read("a b.txt"));
        assert_eq!(Input::parse("/nothink"), Input::Think(ThinkingMode::Chat));
        assert_eq!(Input::parse("/nope x"), Input::Unknown("/nope"));
        assert_eq!(Input::parse(""), Input::Say(""));
    }
}

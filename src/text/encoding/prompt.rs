//! A rendered prompt, in which special tokens are separate from text.

use crate::error::{Error, Result};
use crate::text::special::GROUNDING;
use crate::text::{Segment, TokenId, Tokenizer};

/// A rendered prompt: special tokens that the renderer wrote, and the text between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Special(&'static str),
    Plain(String),
}

impl Piece {
    fn text(&self) -> &str {
        match self {
            Self::Special(text) => text,
            Self::Plain(text) => text,
        }
    }
}

impl Prompt {
    /// The prompt as one string. The reference encodes that string, so that text of a person which spells a special token becomes one.
    /// Use [`Prompt::segments`] to run a model.
    pub fn text(&self) -> String {
        self.pieces.iter().map(Piece::text).collect()
    }

    /// The prompt in segments. Only a token that the renderer wrote is a special token.
    ///
    /// # Errors
    /// [`Error::Text`] if the vocabulary lacks a special token that the prompt needs.
    pub fn segments(&self, tokenizer: &Tokenizer) -> Result<Vec<Segment<'_>>> {
        let mut segments: Vec<Segment<'_>> = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            let text = match piece {
                Piece::Plain(text) => text.as_str(),
                Piece::Special(text) => match tokenizer.token_id(text).filter(|id| tokenizer.is_added(*id)) {
                    Some(id) => {
                        segments.push(Segment::Special(id));
                        continue;
                    }
                    // The text of a message spelled this token. It stays text where the tokenizer does not have it.
                    None if GROUNDING.contains(text) => text,
                    None => return Err(Error::Text(format!("the tokenizer has no special token {text}, which the prompt needs"))),
                },
            };
            match segments.last_mut() {
                Some(Segment::Plain(before)) => before.to_mut().push_str(text),
                _ => segments.push(Segment::Plain(text.into())),
            }
        }
        Ok(segments)
    }

    /// The ids of [`Prompt::segments`].
    ///
    /// # Errors
    /// Those of [`Prompt::segments`] and [`Tokenizer::encode_segments`].
    pub fn ids(&self, tokenizer: &Tokenizer) -> Result<Vec<TokenId>> {
        tokenizer.encode_segments(&self.segments(tokenizer)?)
    }

    pub(super) fn special(&mut self, token: &'static str) {
        self.pieces.push(Piece::Special(token));
    }

    pub(super) fn plain(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Plain(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Plain(text.to_owned())),
        }
    }

    /// Appends text in which the names of `tokens`, and of no others, become special tokens.
    pub(super) fn with_tokens(&mut self, text: &str, tokens: &[&'static str]) {
        let mut done = 0;
        for (at, _) in text.match_indices(['<', '｜']) {
            if let Some(token) = tokens.iter().find(|token| at >= done && text[at..].starts_with(**token)) {
                self.plain(&text[done..at]);
                self.special(token);
                done = at + token.len();
            }
        }
        self.plain(&text[done..]);
    }
}

//! Ids to text while they arrive: a token may end inside a character.

use super::{TokenId, Tokenizer};

/// Turns a sequence of ids into text, piece by piece.
pub struct Detokenizer {
    tokenizer: Tokenizer,
    text: Utf8,
}

impl Detokenizer {
    /// Starts a new text.
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self { tokenizer, text: Utf8::default() }
    }

    /// The text that is certain once `id` is there: empty while a character is incomplete, U+FFFD for each part that can no longer
    /// become one, and for an id outside the vocabulary.
    pub fn push(&mut self, id: TokenId) -> String {
        self.text.push(self.tokenizer.token_bytes(id).unwrap_or("\u{fffd}".as_bytes()))
    }

    /// Ends the text: U+FFFD if a character is incomplete, else nothing.
    pub fn finish(&mut self) -> String {
        self.text.finish()
    }
}

/// An incremental UTF-8 decoder. Bad input gives one U+FFFD per maximal part, as in the Unicode standard.
#[derive(Default)]
pub(super) struct Utf8 {
    /// The beginning of a character, at most three bytes.
    pending: Vec<u8>,
}

impl Utf8 {
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut done = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let bad = chunk.invalid();
            let may_grow = done + bad.len() == self.pending.len() && can_continue(bad);
            if !bad.is_empty() && !may_grow {
                text.push(char::REPLACEMENT_CHARACTER);
                done += bad.len();
            }
        }
        self.pending.drain(..done);
        text
    }

    pub fn finish(&mut self) -> String {
        if std::mem::take(&mut self.pending).is_empty() { String::new() } else { char::REPLACEMENT_CHARACTER.into() }
    }
}

/// Whether more bytes could make `bytes` a character.
fn can_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

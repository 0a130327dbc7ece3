//! Token ids to text, one id at a time. A token may end inside a character.

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

    /// The text that is certain after `id`. It is empty while a character is incomplete. Bytes that cannot become a character give U+FFFD,
    /// and so does an id outside the vocabulary.
    pub fn push(&mut self, id: TokenId) -> String {
        self.text.push(self.tokenizer.token_bytes(id).unwrap_or("\u{fffd}".as_bytes()))
    }

    /// Ends the text. Returns U+FFFD if a character is incomplete, otherwise nothing.
    pub fn finish(&mut self) -> String {
        self.text.finish()
    }
}

/// An incremental UTF-8 decoder. As the Unicode standard recommends, it replaces each maximal invalid part by one U+FFFD.
#[derive(Default)]
pub(super) struct Utf8 {
    /// The first bytes of an incomplete character, at most three.
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

/// Whether further bytes could complete `bytes` to a character.
fn can_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

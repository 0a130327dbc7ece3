//! Text to token ids and back.
//!
//! A [`Tokenizer`] is made from `tokenizer.json` or from GGUF metadata. [`encoding`] turns a conversation into the prompt format that V4
//! was trained on. [`parse`] turns a complete answer back into a message, [`stream`] an answer that is still being generated. This room
//! knows nothing of HTTP, sampling or models, and the engine knows only ids. Its tests are
//! `tests/golden/{tokenizer,encoding,parse,stream}.rs`.
//!
//! Text that a person or a tool wrote never becomes a special token: a prompt is encoded from [`Segment`]s, in which special tokens are
//! separate from text. Special tokens are found by their names, so that a small model with V4's names and other ids works too.

mod detokenizer;
pub mod encoding;
mod gguf;
mod json;
pub mod parse;
pub mod special;
pub mod stream;
mod tokenizer;
mod vocabulary;

pub use detokenizer::Detokenizer;
pub use tokenizer::{Segment, Tokenizer, v4_tokenizer_json};
pub use vocabulary::{GgufVocabulary, TokenId};

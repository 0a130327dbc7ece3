//! Text: what people read and write on one side, token ids on the other.
//!
//! The job: a [`Tokenizer`] made from tokenizer.json or from GGUF metadata; [`encoding`], a conversation to the prompt that V4 was
//! trained on; and the way back: [`parse`] for a whole completion, [`stream`] for one that is still being generated.
//! Not the job: HTTP shapes, sampling, which model is loaded. The commands call this room; the engine never does,
//! it knows ids only. Tests: `tests/golden/{tokenizer,encoding,parse,stream}.rs`.
//!
//! One rule holds everywhere: text that a person or a tool wrote never becomes a special token on the [`Segment`] path. Special
//! tokens are found by their text, so that a small model with V4's names and its own ids works like the large ones.

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

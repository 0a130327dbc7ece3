//! The tokenizer in the metadata of a GGUF file.

use super::{GgufVocabulary, TokenId, Tokenizer};
use crate::gguf::File;
use crate::{Error, Result};

impl Tokenizer {
    /// The tokenizer that the `tokenizer.ggml.*` keys of `file` describe.
    ///
    /// # Errors
    /// Where a key is missing or of the wrong type, or [`Tokenizer::from_parts`] refuses the vocabulary.
    pub fn from_gguf(file: &File) -> Result<Self> {
        let metadata = file.metadata();
        let missing = |key: &str| Error::file(file.path(), format!("metadata key {key} is missing, so there is no tokenizer"));
        let strings = |key: &str| -> Result<Vec<&str>> { metadata.strings(key)?.ok_or_else(|| missing(key))?.texts().collect() };
        let (tokens, merges) = (strings("tokenizer.ggml.tokens")?, strings("tokenizer.ggml.merges")?);
        let types = metadata.integers("tokenizer.ggml.token_type")?;
        let types: Option<Vec<i32>> = types.map(|types| types.into_iter().map(|t| i32::try_from(t).unwrap_or(0)).collect());
        let id = |key: &str| -> Result<Option<TokenId>> { metadata.u32(key) };
        Self::from_parts(&GgufVocabulary {
            source: file.path(),
            tokens: &tokens,
            merges: &merges,
            token_types: types.as_deref(),
            pre: metadata.str("tokenizer.ggml.pre")?.ok_or_else(|| missing("tokenizer.ggml.pre"))?,
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: id("tokenizer.ggml.eos_token_id")?,
        })
    }
}

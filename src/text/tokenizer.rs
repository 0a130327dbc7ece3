//! Text to ids and ids to bytes. The crate `tokenizers` does the merging; [`super::vocabulary`] checks its input.

use super::special;
use super::vocabulary::{GgufVocabulary, TokenId, Vocabulary, base_token_bytes, byte_to_char, one_line};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tokenizers::models::bpe::BPE;
use tokenizers::{AddedVocabulary, Model, NormalizerWrapper, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper};

/// A part of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A special token that the program wrote.
    Special(TokenId),
    /// Text. No part of it becomes a special token, even if it spells one.
    Plain(Cow<'a, str>),
}

/// A byte-level BPE tokenizer. Clones are cheap and share the tables; any thread may use them.
#[derive(Clone)]
pub struct Tokenizer(Arc<Tables>);

struct Tables {
    model: BPE,
    splitter: PreTokenizerWrapper,
    added: AddedVocabulary,
    /// Whether the token with this id is an added one.
    is_added: Vec<bool>,
    /// The raw bytes of all tokens, one token after the other. Token `id` ends at `ends[id]`.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    bos: Option<TokenId>,
    eos: Option<TokenId>,
}

/// The longest run of white space that is accepted. The splitter's regular expressions backtrack over such a run, give up without an
/// error after 1,000,000 characters, and then yield wrong ids.
const LONGEST_SPACE_CHARS: usize = 900_000;

impl Tokenizer {
    /// A tokenizer from the bytes of a `tokenizer.json`. `source` names the file in messages. BOS and EOS are found by V4's names.
    ///
    /// # Errors
    /// [`Error::File`] with the first fault, if the bytes are not a byte-level BPE tokenizer.
    pub fn from_json(bytes: &[u8], source: &Path) -> Result<Self> {
        Vocabulary::from_json(bytes).and_then(|v| Self::build(v, None, None)).map_err(|what| Error::file(source, what))
    }

    /// A tokenizer from the metadata of a GGUF file. BOS and EOS are found by V4's names where the file does not name them.
    ///
    /// # Errors
    /// [`Error::File`] if the parts do not match, or if the pre-tokenizer is not V4's.
    pub fn from_parts(parts: &GgufVocabulary<'_>) -> Result<Self> {
        Vocabulary::from_gguf(parts).and_then(|v| Self::build(v, parts.bos, parts.eos)).map_err(|what| Error::file(parts.source, what))
    }

    fn build(vocabulary: Vocabulary, bos: Option<TokenId>, eos: Option<TokenId>) -> Result<Self, String> {
        let Vocabulary { tokens, added: added_tokens, merges, splitter } = vocabulary;
        let mut is_added = vec![false; tokens.len()];
        for (id, _) in &added_tokens {
            is_added[*id as usize] = true;
        }
        let mut bytes = Vec::with_capacity(tokens.len() * 8);
        let mut ends = Vec::with_capacity(tokens.len());
        for (text, added) in tokens.iter().zip(&is_added) {
            match added {
                true => bytes.extend_from_slice(text.as_bytes()),
                false => bytes.extend(base_token_bytes(text)),
            }
            ends.push(bytes.len());
        }
        // The model gets the added tokens too, because `add_tokens` looks their ids up in it. No merge makes them, so the model never
        // yields them.
        let by_text: tokenizers::models::bpe::Vocab = tokens.into_iter().zip(0..).collect();
        let model = BPE::builder().vocab_and_merges(by_text, merges).build().map_err(one_line)?;
        let mut added = AddedVocabulary::new();
        let texts = added_tokens.into_iter().map(|(_, token)| token);
        added.add_tokens(texts, &model, None::<&NormalizerWrapper>).map_err(one_line)?;

        let mut tables = Tables { model, splitter, added, is_added, bytes, ends, bos, eos };
        for (name, id) in [("bos", bos), ("eos", eos)] {
            if let Some(id) = id.filter(|id| *id as usize >= tables.ends.len()) {
                return Err(format!("{name} token id {id}, but there are {} tokens", tables.ends.len()));
            }
        }
        tables.bos = bos.or_else(|| tables.added_id(special::BOS));
        tables.eos = eos.or_else(|| tables.added_id(special::EOS));
        Ok(Self(Arc::new(tables)))
    }

    /// The ids of `text`. Text that spells an added token becomes that token, so `text` must be trusted. BOS is not added.
    ///
    /// # Errors
    /// [`Error::Text`] for a run of more than 900,000 white-space characters.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>> {
        check_space(text)?;
        self.0.ids(self.0.added.extract_and_normalize(None::<&NormalizerWrapper>, text))
    }

    /// The ids of `text` as plain text. No part of it becomes an added token.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<TokenId>> {
        check_space(text)?;
        self.0.ids(PreTokenizedString::from(text))
    }

    /// The ids of a prompt. Each plain segment is encoded by itself, so a prompt must be split only at special tokens.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`], and [`Error::Text`] for a special id outside the vocabulary.
    pub fn encode_segments(&self, segments: &[Segment<'_>]) -> Result<Vec<TokenId>> {
        let mut ids = Vec::new();
        for segment in segments {
            match segment {
                Segment::Special(id) if (*id as usize) < self.vocab_size() => ids.push(*id),
                Segment::Special(id) => {
                    return Err(Error::Text(format!("special token {id}: the vocabulary has {} tokens", self.vocab_size())));
                }
                Segment::Plain(text) => ids.extend(self.encode_plain(text)?),
            }
        }
        Ok(ids)
    }

    /// The raw bytes of a token, which may begin or end inside a character. `None` for an id outside the vocabulary.
    pub fn token_bytes(&self, id: TokenId) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.0.ends.get(id)?;
        let start = if id == 0 { 0 } else { *self.0.ends.get(id - 1)? };
        self.0.bytes.get(start..end)
    }

    /// The token whose text is exactly `text`. An added token comes before one of the base vocabulary.
    pub fn token_id(&self, text: &str) -> Option<TokenId> {
        self.0.added_id(text).or_else(|| {
            let spelling: String = text.bytes().map(byte_to_char).collect();
            self.0.model.token_to_id(&spelling).filter(|id| !self.is_added(*id))
        })
    }

    /// Whether `id` is an added token. Only [`Segment::Special`] and [`Tokenizer::encode`] yield such tokens.
    pub fn is_added(&self, id: TokenId) -> bool {
        self.0.is_added.get(id as usize).copied().unwrap_or(false)
    }

    /// The number of tokens, including added ones. Ids are `0..vocab_size`.
    pub fn vocab_size(&self) -> usize {
        self.0.ends.len()
    }

    /// The token that starts a prompt.
    pub fn bos(&self) -> Option<TokenId> {
        self.0.bos
    }

    /// The token that ends an answer.
    pub fn eos(&self) -> Option<TokenId> {
        self.0.eos
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({} tokens)", self.vocab_size())
    }
}

impl Tables {
    fn added_id(&self, text: &str) -> Option<TokenId> {
        self.added.get_vocab().get(text).copied()
    }

    fn ids(&self, mut pieces: PreTokenizedString) -> Result<Vec<TokenId>> {
        let encode = || {
            self.splitter.pre_tokenize(&mut pieces)?;
            pieces.tokenize(|piece| self.model.tokenize(piece.get()))?;
            pieces.into_encoding(None, 0, OffsetType::None)
        };
        encode().map(|encoding| encoding.get_ids().to_vec()).map_err(|e| Error::Text(format!("tokenizer: {}", one_line(e))))
    }
}

fn check_space(text: &str) -> Result<()> {
    if text.len() <= LONGEST_SPACE_CHARS {
        return Ok(());
    }
    let mut run = 0;
    for c in text.chars() {
        run = if c.is_whitespace() { run + 1 } else { 0 };
        if run > LONGEST_SPACE_CHARS {
            return Err(Error::Text(format!("the text has more than {LONGEST_SPACE_CHARS} white-space characters in a row")));
        }
    }
    Ok(())
}

/// The official `tokenizer.json` of DeepSeek V4, for making models and for tests. All V4 checkpoints have these bytes (MIT licence):
/// 6,367,146 bytes with sha256 8f9f37ca37fdc4f5fd36d5cf4d3b0e8392edb4e894fd10cc0d70b4957c8633cf.
///
/// # Errors
/// [`Error::Text`] if the built-in data cannot be decompressed.
pub fn v4_tokenizer_json() -> Result<Vec<u8>> {
    let packed: &[u8] = include_bytes!("tokenizer.json.xz");
    let mut json = Vec::new();
    let read = lzma_rust2::XzReader::new(packed, false).read_to_end(&mut json);
    read.map_err(|e| Error::Text(format!("built-in tokenizer: {e}")))?;
    Ok(json)
}

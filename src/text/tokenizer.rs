//! Text to ids and ids to bytes. The merging is the `tokenizers` crate's; what goes in is checked by [`super::vocabulary`].

use super::special;
use super::vocabulary::{GgufVocabulary, TokenId, Vocabulary, base_token_bytes, byte_to_char, one_line};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tokenizers::models::bpe::BPE;
use tokenizers::{AddedVocabulary, Model, NormalizerWrapper, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper};

/// A stretch of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A token that the program itself put there.
    Special(TokenId),
    /// Text. Nothing in it becomes a special token, whatever it spells.
    Plain(Cow<'a, str>),
}

/// A byte-level BPE tokenizer. Cheap to clone; clones share the tables, from any thread.
#[derive(Clone)]
pub struct Tokenizer(Arc<Tables>);

struct Tables {
    model: BPE,
    splitter: PreTokenizerWrapper,
    added: AddedVocabulary,
    /// By id: whether the token is an added one.
    is_added: Vec<bool>,
    /// The raw bytes of all tokens one after the other; token `id` ends at `ends[id]`.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    bos: Option<TokenId>,
    eos: Option<TokenId>,
}

/// The splitter's regular expressions remember every character of a white-space run, 1,000,000 at most, and then stop without a
/// word, with wrong ids. Longer runs are refused well before that.
const LONGEST_SPACE_CHARS: usize = 900_000;

impl Tokenizer {
    /// From the bytes of a tokenizer.json; `source` names the file in messages. BOS and EOS are found by V4's names.
    ///
    /// # Errors
    /// [`Error::File`] if the bytes are not a byte-level BPE tokenizer, with the first thing that is wrong.
    pub fn from_json(bytes: &[u8], source: &Path) -> Result<Self> {
        Vocabulary::from_json(bytes).and_then(|v| Self::build(v, None, None)).map_err(|what| Error::file(source, what))
    }

    /// From what a GGUF file holds. BOS and EOS are found by V4's names where the file does not give them.
    ///
    /// # Errors
    /// [`Error::File`] if the parts do not fit together, or if the pre-tokenizer is not V4's.
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
        // The model gets the added tokens too: it is what gives them their ids. No merge leads to them, so it never writes them.
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

    /// The ids of `text`, in which the spelling of an added token becomes that token. For text that the program trusts; never adds
    /// BOS.
    ///
    /// # Errors
    /// [`Error::Text`] for a run of more than 900,000 white-space characters.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>> {
        check_space(text)?;
        self.0.ids(self.0.added.extract_and_normalize(None::<&NormalizerWrapper>, text))
    }

    /// The ids of `text` as plain text: nothing in it becomes an added token.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<TokenId>> {
        check_space(text)?;
        self.0.ids(PreTokenizedString::from(text))
    }

    /// The ids of a prompt. Each plain stretch is encoded on its own: cut prompts only at special tokens.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], and [`Error::Text`] for a special id outside the vocabulary.
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

    /// The raw bytes of a token (not always whole UTF-8), `None` outside the vocabulary.
    pub fn token_bytes(&self, id: TokenId) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.0.ends.get(id)?;
        let start = if id == 0 { 0 } else { *self.0.ends.get(id - 1)? };
        self.0.bytes.get(start..end)
    }

    /// The one token that reads exactly `text`, an added one first.
    pub fn token_id(&self, text: &str) -> Option<TokenId> {
        self.0.added_id(text).or_else(|| {
            let spelling: String = text.bytes().map(byte_to_char).collect();
            self.0.model.token_to_id(&spelling).filter(|id| !self.is_added(*id))
        })
    }

    /// Whether `id` is an added token: one that only [`Segment::Special`] and [`Tokenizer::encode`] can write.
    pub fn is_added(&self, id: TokenId) -> bool {
        self.0.is_added.get(id as usize).copied().unwrap_or(false)
    }

    /// The number of tokens, added ones included: ids are `0..vocab_size`.
    pub fn vocab_size(&self) -> usize {
        self.0.ends.len()
    }

    /// The token that begins a prompt.
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

/// The official tokenizer.json of DeepSeek V4 (all V4 checkpoints ship these bytes; MIT licence), for making models and for tests.
/// Uncompressed sha256: 8f9f37ca37fdc4f5fd36d5cf4d3b0e8392edb4e894fd10cc0d70b4957c8633cf, 6,367,146 bytes.
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

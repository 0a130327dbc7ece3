//! The vocabulary of a tokenizer, read from `tokenizer.json` or from GGUF metadata. It is checked here, so that neither building the
//! tokenizer nor encoding with it can fail later: the crate `tokenizers` trusts its input and panics on some malformed vocabularies.

use serde::Deserialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior};

/// The number of a token, which is its row in the embedding.
pub type TokenId = u32;

/// The tokenizer of a GGUF file, as it stands in the metadata.
#[derive(Clone, Copy, Debug)]
pub struct GgufVocabulary<'a> {
    /// The file, for messages.
    pub source: &'a Path,
    /// `tokenizer.ggml.tokens`, in the order of ids. Base tokens are spelled in the byte alphabet, added tokens as plain text.
    pub tokens: &'a [&'a str],
    /// `tokenizer.ggml.merges`: `left right`, in the order in which they are applied.
    pub merges: &'a [&'a str],
    /// `tokenizer.ggml.token_type`, one for each token. The types 3 (control) and 4 (user defined) are added tokens. Where the file has no
    /// types, a token counts as added if it is neither a character of the byte alphabet nor the result of a merge.
    pub token_types: Option<&'a [i32]>,
    /// `tokenizer.ggml.pre`: the name of the pre-tokenizer.
    pub pre: &'a str,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos: Option<TokenId>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos: Option<TokenId>,
}

/// A checked vocabulary. Ids have no gaps and no repeats, every byte has a token, and every merge joins two tokens into a token.
pub(super) struct Vocabulary {
    /// Spelling of each token, by id.
    pub tokens: Vec<String>,
    /// Ids and matching rules of the added tokens.
    pub added: Vec<(TokenId, AddedToken)>,
    /// Pairs of spellings, in the order in which they are applied.
    pub merges: Vec<(String, String)>,
    /// The pre-tokenizer, which splits text into the pieces within which merges are applied.
    pub splitter: PreTokenizerWrapper,
}

/// Names of V4's pre-tokenizer in GGUF files. V3 and V4 share one pre-tokenizer, which got several names over time, so a V4 model with any
/// of these names was trained with the steps below.
const KNOWN_PRE: [&str; 4] = ["joyai-llm", "deepseek-v4", "deepseek-v3", "deepseek-llm"];

/// V4's pre-tokenizer, from the official `tokenizer.json`. Each step splits the pieces that the previous step left.
const V4_STEPS: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
];

impl Vocabulary {
    /// A vocabulary from the text of a `tokenizer.json`. Errors are one line without the file's name.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let file: TokenizerJson = serde_json::from_slice(bytes).map_err(|e| format!("not a tokenizer.json: {}", one_line(e)))?;
        file.model.check()?;
        let plain = match &file.normalizer {
            None => true,
            Some(n) => n["type"] == "Sequence" && n["normalizers"].as_array().is_some_and(Vec::is_empty),
        };
        if !plain {
            return Err("normalizer: expected none or an empty sequence, as V4 has it".into());
        }
        let splitter = splitter_from_json(&file.pre_tokenizer)?;

        let mut by_text = file.model.vocab;
        let mut added = Vec::with_capacity(file.added_tokens.len());
        for token in file.added_tokens {
            match by_text.insert(token.content.clone(), token.id) {
                Some(id) if id != token.id => {
                    return Err(format!("added token {:?} has id {}, in the vocabulary it has {id}", token.content, token.id));
                }
                _ => added.push((token.id, token.into_added())),
            }
        }
        let mut tokens = vec![None; by_text.len()];
        for (text, id) in by_text {
            let count = tokens.len();
            let slot = tokens.get_mut(id as usize).ok_or_else(|| format!("token {text:?} has id {id}, but there are {count} tokens"))?;
            if let Some(other) = slot.replace(text) {
                return Err(format!("tokens {other:?} and {:?} share the id {id}", slot.as_deref().unwrap_or_default()));
            }
        }
        // Every slot is full, because there are as many slots as tokens and no slot is used twice.
        let tokens = tokens.into_iter().flatten().collect();
        let merges = file.model.merges.into_iter().map(Merge::split).collect::<Result<_, _>>()?;
        Self { tokens, added, merges, splitter }.checked()
    }

    /// A vocabulary from GGUF metadata. Errors are one line without the file's name.
    pub fn from_gguf(parts: &GgufVocabulary<'_>) -> Result<Self, String> {
        if !KNOWN_PRE.contains(&parts.pre) {
            return Err(format!("tokenizer.ggml.pre: expected one of {}, found {:?}", KNOWN_PRE.join(", "), parts.pre));
        }
        if let Some(types) = parts.token_types
            && types.len() != parts.tokens.len()
        {
            return Err(format!("tokenizer.ggml.token_type has {} entries for {} tokens", types.len(), parts.tokens.len()));
        }
        let merges = parts.merges.iter().map(|m| split_merge(m)).collect::<Result<Vec<_>, _>>()?;
        let is_added: Vec<bool> = match parts.token_types {
            Some(types) => types.iter().map(|t| matches!(t, 3 | 4)).collect(),
            None => {
                let results: HashSet<String> = merges.iter().map(|(left, right)| format!("{left}{right}")).collect();
                parts.tokens.iter().map(|t| single_byte(t).is_none() && !results.contains(*t)).collect()
            }
        };
        // GGUF does not store V4's `normalized` flag, which only decides in which of two matching passes a token is found. The order of
        // passes does not matter for V4, where no token of the second pass can start before an overlapping token of the first.
        let added = (0..).zip(parts.tokens).zip(is_added).filter(|(_, added)| *added);
        let added = added.map(|((id, text), _)| (id, AddedToken::from(*text, true))).collect();
        let splitter = v4_splitter().map_err(one_line)?;
        let tokens = parts.tokens.iter().map(|t| (*t).to_owned()).collect();
        Self { tokens, added, merges, splitter }.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let mut by_text = HashMap::with_capacity(self.tokens.len());
        for (id, text) in self.tokens.iter().enumerate() {
            if let Some(other) = by_text.insert(text.as_str(), id) {
                return Err(format!("tokens {other} and {id} are both {text:?}"));
            }
        }
        if let Some((id, _)) = self.added.iter().find(|(_, token)| token.content.is_empty()) {
            return Err(format!("added token {id} is empty"));
        }
        // The model silently drops characters whose bytes have no token.
        if let Some(byte) = (0..=255).find(|byte| !by_text.contains_key(byte_to_char(*byte).to_string().as_str())) {
            return Err(format!("no token for the byte 0x{byte:02x}, which the byte alphabet spells {:?}", byte_to_char(byte)));
        }
        let mut whole = String::new();
        for (rank, (left, right)) in self.merges.iter().enumerate() {
            whole.clear();
            whole.push_str(left);
            whole.push_str(right);
            if let Some(missing) = [left, right, &whole].into_iter().find(|text| !by_text.contains_key(text.as_str())) {
                return Err(format!("merge {rank} ({left:?} with {right:?}) needs {missing:?}, which is not a token"));
            }
        }
        Ok(self)
    }
}

/// The raw bytes of a base token. A spelling with a character outside the byte alphabet is taken as plain text.
pub(super) fn base_token_bytes(spelling: &str) -> Vec<u8> {
    spelling.chars().map(char_to_byte).collect::<Option<Vec<u8>>>().unwrap_or_else(|| spelling.as_bytes().to_vec())
}

/// Whether the byte alphabet spells `byte` as its Latin-1 character. The alphabet gives every byte a visible character: the other 68 bytes
/// have the characters from U+0100 on.
fn is_visible(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

/// The character that spells `byte` in base tokens.
pub(super) fn byte_to_char(byte: u8) -> char {
    if is_visible(byte) {
        return byte.into();
    }
    let before = (0..byte).filter(|b| !is_visible(*b)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or_default()
}

fn char_to_byte(c: char) -> Option<u8> {
    match u8::try_from(c) {
        Ok(byte) => is_visible(byte).then_some(byte),
        Err(_) if ('\u{100}'..'\u{144}').contains(&c) => (0..=255).filter(|b| !is_visible(*b)).nth(c as usize - 0x100),
        Err(_) => None,
    }
}

fn single_byte(text: &str) -> Option<u8> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none()).and_then(char_to_byte)
}

#[derive(Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedJson>,
    normalizer: Option<Value>,
    pre_tokenizer: Value,
    model: ModelJson,
}

#[derive(Deserialize)]
struct AddedJson {
    id: TokenId,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

impl AddedJson {
    fn into_added(self) -> AddedToken {
        AddedToken {
            content: self.content,
            single_word: self.single_word,
            lstrip: self.lstrip,
            rstrip: self.rstrip,
            normalized: self.normalized,
            special: self.special,
        }
    }
}

#[derive(Deserialize)]
struct ModelJson {
    #[serde(rename = "type")]
    kind: String,
    dropout: Option<Value>,
    unk_token: Option<Value>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: HashMap<String, TokenId>,
    merges: Vec<Merge>,
}

impl ModelJson {
    /// Refuses options that V4's tokenizer does not have. This program ignores them, which would silently change ids.
    fn check(&self) -> Result<(), String> {
        let set = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
        let odd = [
            ("dropout", self.dropout.is_some()),
            ("unk_token", self.unk_token.is_some()),
            ("continuing_subword_prefix", set(&self.continuing_subword_prefix)),
            ("end_of_word_suffix", set(&self.end_of_word_suffix)),
            ("byte_fallback", self.byte_fallback),
            ("ignore_merges", self.ignore_merges),
        ];
        match odd.into_iter().find(|(_, set)| *set) {
            _ if self.kind != "BPE" => Err(format!("model.type: expected \"BPE\", found {:?}", self.kind)),
            Some((name, _)) => Err(format!("model.{name} is set; a byte-level V4 tokenizer has none")),
            None => Ok(()),
        }
    }
}

/// A merge. Versions of `tokenizer.json` write it in two ways.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Text(String),
}

impl Merge {
    fn split(self) -> Result<(String, String), String> {
        match self {
            Self::Pair(left, right) => Ok((left, right)),
            Self::Text(text) => split_merge(&text),
        }
    }
}

fn split_merge(text: &str) -> Result<(String, String), String> {
    match text.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
        _ => Err(format!("merge {text:?}: expected two tokens and one space between them")),
    }
}

fn v4_splitter() -> tokenizers::Result<PreTokenizerWrapper> {
    let mut steps = Vec::with_capacity(V4_STEPS.len() + 1);
    for regex in V4_STEPS {
        let pattern = SplitPattern::Regex(regex.to_owned());
        steps.push(PreTokenizerWrapper::Split(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?));
    }
    steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)));
    Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
}

/// Accepts steps that split the text, followed by the byte mapping. Such steps lose no text, so that ids decode to the same text.
fn splitter_from_json(value: &Value) -> Result<PreTokenizerWrapper, String> {
    let single = std::slice::from_ref(value);
    let steps = if value["type"] == "Sequence" { value["pretokenizers"].as_array().map_or(&[][..], Vec::as_slice) } else { single };
    let mut built = Vec::with_capacity(steps.len());
    for (i, step) in steps.iter().enumerate() {
        let last = i + 1 == steps.len();
        match (step["type"].as_str(), last) {
            (Some("Split"), false) if step["behavior"] == "Removed" => return Err(format!("pre_tokenizer step {i} removes text")),
            (Some("Split" | "Digits"), false) => {}
            (Some("ByteLevel"), true) if step["add_prefix_space"] == false => {}
            _ => {
                let expected = "Split or Digits steps and at the end ByteLevel without add_prefix_space";
                return Err(format!("pre_tokenizer: expected {expected}, found {} as step {i} of {}", step["type"], steps.len()));
            }
        }
        let step = serde_json::from_value(step.clone()).map_err(|e| format!("pre_tokenizer step {i}: {}", one_line(e)))?;
        built.push(step);
    }
    if built.is_empty() {
        return Err("pre_tokenizer: expected steps that end in ByteLevel, found none".into());
    }
    Ok(PreTokenizerWrapper::Sequence(Sequence::new(built)))
}

/// The error on one line. Libraries spread some errors over several lines.
pub(super) fn one_line(error: impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

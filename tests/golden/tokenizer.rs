//! The tokenizer against that of Hugging Face: ids, bytes, every code point, whole books. Broken vocabularies are refused.

use dwarfstar::debug::environment;
use dwarfstar::text::{Detokenizer, GgufVocabulary, Segment, TokenId, Tokenizer, v4_tokenizer_json};
use proptest::prelude::*;
use rayon::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The tokenizer of V4, made once for all tests.
pub fn v4() -> &'static Tokenizer {
    static V4: OnceLock<Tokenizer> = OnceLock::new();
    V4.get_or_init(|| Tokenizer::from_json(&v4_tokenizer_json().unwrap(), Path::new("tokenizer.json")).unwrap())
}

/// The rows of a golden file. There must be `count` of them.
pub fn rows(file: &str, count: usize) -> Vec<Value> {
    let path = data().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), count, "rows of {file}");
    rows
}

pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/text")
}

pub fn ids(value: &Value) -> Vec<TokenId> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as TokenId).collect()
}

/// The path of a file outside the repository. Where the file is missing, prints a line and returns `None`, or fails if golden files are
/// required.
pub fn outside(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(!environment().require_golden, "missing: {}", path.display());
    println!("SKIPPED {}", path.display());
    None
}

fn sha256_of_ids<'a>(ids: impl IntoIterator<Item = &'a TokenId>) -> String {
    let mut hash = Sha256::new();
    ids.into_iter().for_each(|id| hash.update(id.to_le_bytes()));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn texts_have_the_golden_ids() {
    for row in rows("tokenize.jsonl", 392) {
        let text = row["text"].as_str().unwrap();
        assert_eq!(v4().encode(text).unwrap(), ids(&row["ids"]), "{}", row["name"]);
        if let Some(bytes) = row["bytes_hex"].as_str() {
            assert_eq!(String::from_utf8_lossy(&unhex(bytes)), text, "{}", row["name"]);
        }
    }
}

#[test]
fn plain_texts_have_the_golden_ids() {
    for row in rows("tokenize_plain.jsonl", 53) {
        let text = row["text"].as_str().unwrap();
        assert_eq!(v4().encode_plain(text).unwrap(), ids(&row["ids"]), "{}", row["name"]);
    }
}

#[test]
fn ids_decode_to_the_golden_texts() {
    for row in rows("detokenize.jsonl", 64) {
        let (name, ids) = (&row["name"], ids(&row["ids"]));
        let hex: Vec<String> = ids.iter().map(|id| hex(v4().token_bytes(*id).unwrap())).collect();
        assert_eq!(json!(hex), row["token_bytes_hex"], "{name}");
        let mut detokenizer = Detokenizer::new(v4().clone());
        let pieces: Vec<String> = ids.iter().map(|id| detokenizer.push(*id)).collect();
        assert_eq!(json!(pieces), row["pieces"], "{name}");
        let tail = detokenizer.finish();
        assert_eq!(tail, row["tail"], "{name}");
        assert_eq!(pieces.concat() + &tail, row["text"], "{name}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn tokens_are_found_by_text_and_by_id() {
    fn any_thread<T: Send + Sync>(_: &T) {}
    any_thread(v4());
    let v4 = v4();
    assert_eq!((v4.vocab_size(), v4.bos(), v4.eos()), (129_280, Some(0), Some(1)));
    assert_eq!(format!("{v4:?}"), "Tokenizer(129280 tokens)");
    assert_eq!((v4.token_id("<think>"), v4.token_id("Hello"), v4.token_id("no such token")), (Some(128_821), Some(19_923), None));
    assert_eq!(v4.token_id("\n"), v4.encode("\n").unwrap().first().copied());
    assert_eq!((v4.is_added(0), v4.is_added(128_825), v4.is_added(19_923), v4.is_added(129_280)), (true, true, false, false));
    assert_eq!((v4.token_bytes(3), v4.token_bytes(129_280)), (Some(&b"!"[..]), None));
    // The hash of the bytes of all tokens in the official file.
    let mut hash = Sha256::new();
    for id in 0..129_280 {
        let bytes = v4.token_bytes(id).unwrap();
        hash.update((bytes.len() as u32).to_le_bytes());
        hash.update(bytes);
    }
    assert_eq!(hex(&hash.finalize()), "c9403804cfc41621b0e57d25a0b1c5059e7da7fc5b10810a2b33cdb9327a494a");
    let mut detokenizer = Detokenizer::new(v4.clone());
    assert_eq!(detokenizer.push(129_280), "\u{fffd}");
}

#[test]
fn every_code_point_has_the_golden_ids() {
    let text = std::fs::read_to_string(data().join("sweep.json")).unwrap();
    let sweep: Value = serde_json::from_str(&text).unwrap();
    let template = sweep["template"].as_str().unwrap();
    let blocks = sweep["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 1086);
    let count: usize = blocks
        .par_iter()
        .map(|block| {
            let first = block["first"].as_u64().unwrap() as u32;
            let count = block["count"].as_u64().unwrap() as u32;
            let chars = (first..first + 1024).filter_map(char::from_u32);
            let mut buffer = [0; 4];
            let ids: Vec<Vec<TokenId>> = chars.map(|c| v4().encode(&template.replace('@', c.encode_utf8(&mut buffer))).unwrap()).collect();
            assert_eq!(ids.len() as u32, count, "block {first:#x}");
            assert_eq!(sha256_of_ids(ids.iter().flatten()), block["sha256"].as_str().unwrap(), "block {first:#x}");
            ids.len()
        })
        .sum();
    assert_eq!(count, 0x11_0000 - 0x800);
}

#[test]
fn whole_books_have_the_golden_ids() {
    let text = std::fs::read_to_string(data().join("corpora.json")).unwrap();
    let corpora: Vec<Value> = serde_json::from_str(&text).unwrap();
    for name in ["promessi_sposi.txt", "tinyshakespeare.txt"] {
        let row = corpora.iter().find(|row| row["name"] == name).unwrap();
        let Some(path) = outside(&format!("text/corpora/{name}")) else { continue };
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(hex(&Sha256::digest(&text)), row["sha256"].as_str().unwrap(), "{name}: not the book of the golden file");
        let ids = v4().encode(&text).unwrap();
        assert_eq!(ids.len() as u64, row["tokens"].as_u64().unwrap(), "{name}");
        assert_eq!(sha256_of_ids(&ids), row["ids_sha256_u32le"].as_str().unwrap(), "{name}");
    }
}

/// The tokens in the order of ids, the merges, and the ids of added tokens of a `tokenizer.json`.
fn parts_of(file: &Value) -> (Vec<String>, Vec<String>, HashSet<TokenId>) {
    let vocab = file["model"]["vocab"].as_object().unwrap().iter().map(|(text, id)| (id.as_u64().unwrap(), text.as_str()));
    let added = file["added_tokens"].as_array().unwrap();
    let added = added.iter().map(|token| (token["id"].as_u64().unwrap(), token["content"].as_str().unwrap()));
    let added_ids = added.clone().map(|(id, _)| id as TokenId).collect();
    let mut tokens: Vec<(u64, &str)> = vocab.chain(added).collect();
    tokens.sort_unstable();
    tokens.dedup();
    let merges = file["model"]["merges"].as_array().unwrap().iter().map(|merge| match merge {
        Value::String(text) => text.clone(),
        pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
    });
    (tokens.into_iter().map(|(_, text)| text.to_owned()).collect(), merges.collect(), added_ids)
}

#[test]
fn a_tokenizer_from_gguf_metadata_gives_the_same_ids() {
    let file: Value = serde_json::from_slice(&v4_tokenizer_json().unwrap()).unwrap();
    let (tokens, merges, added) = parts_of(&file);
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
    let types: Vec<i32> = (0..tokens.len() as TokenId).map(|id| if added.contains(&id) { 3 + (id % 2) as i32 } else { 1 }).collect();
    let source = Path::new("model.gguf");
    for (token_types, pre) in [(Some(&types[..]), "joyai-llm"), (None, "deepseek-v3")] {
        let parts = GgufVocabulary { source, tokens: &tokens, merges: &merges, token_types, pre, bos: Some(0), eos: None };
        let gguf = Tokenizer::from_parts(&parts).unwrap();
        assert_eq!((gguf.vocab_size(), gguf.bos(), gguf.eos()), (129_280, Some(0), Some(1)));
        for id in 0..129_280 {
            assert_eq!((gguf.token_bytes(id), gguf.is_added(id)), (v4().token_bytes(id), v4().is_added(id)), "token {id}");
        }
        for row in rows("tokenize.jsonl", 392) {
            assert_eq!(gguf.encode(row["text"].as_str().unwrap()).unwrap(), ids(&row["ids"]), "{}", row["name"]);
        }
        for row in rows("tokenize_plain.jsonl", 53) {
            assert_eq!(gguf.encode_plain(row["text"].as_str().unwrap()).unwrap(), ids(&row["ids"]), "{}", row["name"]);
        }
        for row in rows("encode.jsonl", 134).iter().filter(|row| row["expected_prompt"].is_string()) {
            assert_eq!(gguf.encode(row["expected_prompt"].as_str().unwrap()).unwrap(), ids(&row["expected_token_ids"]), "{}", row["name"]);
        }
    }
}

/// That is why `from_parts` may ignore in which of two matching passes V4 finds a token.
#[test]
fn no_token_of_the_second_matching_pass_starts_before_an_overlapping_one_of_the_first() {
    let file: Value = serde_json::from_slice(&v4_tokenizer_json().unwrap()).unwrap();
    let added = file["added_tokens"].as_array().unwrap();
    let pass = |second: bool| added.iter().filter(move |t| t["normalized"] == second).map(|t| t["content"].as_str().unwrap());
    assert_eq!((pass(false).count(), pass(true).count()), (1237, 46));
    for late in pass(true) {
        for early in pass(false) {
            assert!(!late.contains(early), "{late} holds {early}");
            let overlap = late.char_indices().skip(1).any(|(i, _)| early.starts_with(&late[i..]));
            assert!(!overlap && !early.starts_with(late), "{late} runs into {early}");
        }
    }
}

/// The vocabulary has few merges, no token types, and placeholders in most places.
#[test]
fn a_vocabulary_of_placeholders_encodes_and_decodes() {
    let Some(path) = outside("synth/vocab.bin") else { return };
    let file = std::fs::read(path).unwrap();
    let rest = std::cell::Cell::new(&file[..]);
    let number = || {
        let (head, tail) = rest.get().split_first_chunk::<4>().unwrap();
        rest.set(tail);
        u32::from_le_bytes(*head) as usize
    };
    let list = || -> Vec<&str> {
        (0..number())
            .map(|_| {
                let length = number();
                let (text, tail) = rest.get().split_at(length);
                rest.set(tail);
                std::str::from_utf8(text).unwrap()
            })
            .collect()
    };
    let (tokens, merges) = (list(), list());
    let source = Path::new("synthetic.gguf");
    let parts =
        GgufVocabulary { source, tokens: &tokens, merges: &merges, token_types: None, pre: "joyai-llm", bos: Some(0), eos: Some(1) };
    let synthetic = Tokenizer::from_parts(&parts).unwrap();
    assert_eq!(synthetic.encode("<｜User｜>").unwrap(), [128_803]);
    for text in ["Once upon a time", "çà et là 123456 中文\n"] {
        assert_eq!(decode(&synthetic, &synthetic.encode(text).unwrap()), text);
    }
}

fn decode(tokenizer: &Tokenizer, ids: &[TokenId]) -> String {
    let mut detokenizer = Detokenizer::new(tokenizer.clone());
    let text: String = ids.iter().map(|id| detokenizer.push(*id)).collect();
    text + &detokenizer.finish()
}

#[test]
fn only_special_segments_become_special_tokens() {
    let plain = |text: &'static str| Segment::Plain(text.into());
    let ids = v4().encode_segments(&[Segment::Special(128_803), plain("<｜User｜>hi"), plain(""), Segment::Special(1)]).unwrap();
    assert_eq!(ids, [vec![128_803], v4().encode_plain("<｜User｜>hi").unwrap(), vec![1]].concat());
    assert_eq!(ids.iter().filter(|id| v4().is_added(**id)).count(), 2);
    let error = v4().encode_segments(&[Segment::Special(129_280)]).unwrap_err().to_string();
    assert_eq!(error, "special token 129280: the vocabulary has 129280 tokens");
}

#[test]
fn very_long_runs_are_encoded_or_refused() {
    // The splitter makes one piece of each of these texts.
    for (text, tokens) in [("a", 125_000), (".", 7813)] {
        let ids = v4().encode_plain(&text.repeat(1_000_000)).unwrap();
        assert_eq!(ids.len(), tokens, "{text:?}");
    }
    let spaces = " ".repeat(900_000);
    assert_eq!(decode(v4(), &v4().encode(&format!("{spaces}x")).unwrap()), format!("{spaces}x"));
    for encoded in [v4().encode(&format!("{spaces} x")), v4().encode_plain(&format!("x {spaces}"))] {
        assert_eq!(encoded.unwrap_err().to_string(), "the text has more than 900000 white-space characters in a row");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_text_survives_a_round_trip(text in "\\PC*|(?s:.{0,60})|[ \\t\\r\\n]{0,9}([a-z0-9]{0,4}|<think>|｜DSML｜|<｜User｜>| |中文|é\u{301}){0,12}") {
        for ids in [v4().encode(&text).unwrap(), v4().encode_plain(&text).unwrap()] {
            prop_assert_eq!(&decode(v4(), &ids), &text);
        }
        prop_assert!(v4().encode_plain(&text).unwrap().iter().all(|id| !v4().is_added(*id)));
    }
}

/// A `tokenizer.json` of a few hundred tokens: all bytes, a few merges, and V4's special tokens with other ids.
fn small_tokenizer() -> Value {
    let visible = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let hidden = (0..68).map(|i| 0x100 + i);
    let alphabet = (0..=255).filter(visible).chain(hidden).map(|c| char::from_u32(c).unwrap().to_string());
    let mut tokens: Vec<String> = alphabet.collect();
    let mut merges = Vec::new();
    for pair in ["t h", "th e", "Ġ the", "i n", "e r", "Ġ a", "a n", "an d", "Ġ and", "Ġ w", "o r", "l d", "or ld", "Ã ©"] {
        let (left, right) = pair.split_once(' ').unwrap();
        tokens.push(format!("{left}{right}"));
        merges.push(json!([left, right]));
    }
    let vocab: serde_json::Map<String, Value> = tokens.iter().enumerate().map(|(id, text)| (text.clone(), json!(id))).collect();
    let specials = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", "｜DSML｜"];
    let added: Vec<Value> = specials
        .iter()
        .enumerate()
        .map(|(i, text)| {
            json!({"id": tokens.len() + i, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": i % 2 == 0, "special": i < 2})
        })
        .collect();
    let digits = json!({"type": "Digits", "individual_digits": true});
    let words = json!({"type": "Split", "pattern": {"Regex": " ?[a-z]+|\\s+"}, "behavior": "Isolated", "invert": false});
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, words, bytes]},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "byte_fallback": false, "vocab": vocab, "merges": merges}})
}

#[test]
fn a_small_tokenizer_works_and_errors_name_the_fault_of_a_broken_one() {
    let source = Path::new("small/tokenizer.json");
    let small = Tokenizer::from_json(small_tokenizer().to_string().as_bytes(), source).unwrap();
    assert_eq!((small.vocab_size(), small.bos(), small.eos()), (277, Some(270), Some(271)));
    assert_eq!(small.encode("<think> and the wörld").unwrap().first(), Some(&274));
    assert_eq!(decode(&small, &small.encode("<think> and the wörld 42").unwrap()), "<think> and the wörld 42");
    let broken = |path: &str, value: Value| {
        let mut file = small_tokenizer();
        *file.pointer_mut(path).unwrap() = value;
        let error = Tokenizer::from_json(file.to_string().as_bytes(), source).err().unwrap_or_else(|| panic!("{path} accepted"));
        error.to_string()
    };
    let error = broken("/model/vocab/the", json!(5));
    assert!(error.starts_with("small/tokenizer.json: tokens ") && error.ends_with(" share the id 5"), "{error}");
    for (path, value, expected) in [
        ("/model/type", json!("Unigram"), "model.type: expected \"BPE\", found \"Unigram\""),
        ("/model/unk_token", json!("x"), "model.unk_token is set; a byte-level V4 tokenizer has none"),
        ("/model/vocab/the", json!(9999), "token \"the\" has id 9999, but there are 277 tokens"),
        ("/model/merges/0", json!(["t", "q"]), "merge 0 (\"t\" with \"q\") needs \"tq\", which is not a token"),
        ("/model/merges/0", json!("th"), "merge \"th\": expected two tokens and one space between them"),
        ("/added_tokens/0/content", json!("the"), "added token \"the\" has id 270, in the vocabulary it has 257"),
        ("/normalizer", json!({"type": "Lowercase"}), "normalizer: expected none or an empty sequence, as V4 has it"),
        ("/pre_tokenizer/pretokenizers/1/behavior", json!("Removed"), "pre_tokenizer step 1 removes text"),
    ] {
        assert_eq!(broken(path, value), format!("small/tokenizer.json: {expected}"));
    }
}

#[test]
fn gguf_metadata_that_does_not_match_is_refused() {
    let (tokens, merges, _) = parts_of(&small_tokenizer());
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
    let source = Path::new("m.gguf");
    let good = GgufVocabulary { source, tokens: &tokens, merges: &merges, token_types: None, pre: "joyai-llm", bos: None, eos: None };
    let tokenizer = Tokenizer::from_parts(&good).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.encode("<think>").unwrap()), (Some(270), vec![274]));
    let twice = [&tokens[..], &["the"]].concat();
    for (parts, expected) in [
        (
            GgufVocabulary { pre: "qwen2", ..good },
            "tokenizer.ggml.pre: expected one of joyai-llm, deepseek-v4, deepseek-v3, deepseek-llm, found \"qwen2\"",
        ),
        (GgufVocabulary { token_types: Some(&[1, 2]), ..good }, "tokenizer.ggml.token_type has 2 entries for 277 tokens"),
        (GgufVocabulary { bos: Some(277), ..good }, "bos token id 277, but there are 277 tokens"),
        (GgufVocabulary { merges: &["a b c"], ..good }, "merge \"a b c\": expected two tokens and one space between them"),
        (GgufVocabulary { tokens: &twice, ..good }, "tokens 257 and 277 are both \"the\""),
        (GgufVocabulary { tokens: &tokens[1..], merges: &[], ..good }, "no token for the byte 0x21, which the byte alphabet spells '!'"),
    ] {
        let error = Tokenizer::from_parts(&parts).err().unwrap().to_string();
        assert_eq!(error, format!("m.gguf: {expected}"));
    }
}

/// Changes a JSON value in one place: another type, a missing or a doubled entry, another number or text.
fn mutate(value: &mut Value, random: &mut impl FnMut(usize) -> usize) {
    let size = match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    if size > 0 && random(10) > 0 {
        let at = random(size);
        return match value {
            Value::Array(items) if random(8) == 0 => drop(items.remove(at)),
            Value::Array(items) if random(8) == 0 => items.push(items[at].clone()),
            Value::Array(items) => mutate(&mut items[at], random),
            Value::Object(map) => {
                let key = map.keys().nth(at).cloned().unwrap_or_default();
                match random(8) {
                    0 => drop(map.remove(&key)),
                    1 => drop(map.insert(key + "Ġ", json!(at))),
                    _ => mutate(&mut map[&key], random),
                }
            }
            _ => {}
        };
    }
    let texts = ["", "Ġ", "the", "a\nb", "(", "[", "\\p{L}+", "BPE", "中", "💥"];
    *value = match random(8) {
        0 => Value::Null,
        1 => json!(random(2) == 0),
        2 => json!(random(300)),
        3 => json!(4_294_967_295u64 + random(2) as u64),
        4 => json!(-1.5),
        5 => json!([texts[random(texts.len())], "e"]),
        6 => json!({"type": "Sequence", "pretokenizers": []}),
        _ => json!(texts[random(texts.len())]),
    };
}

#[test]
fn broken_files_are_refused_or_work() {
    let good = small_tokenizer();
    let bytes = good.to_string().into_bytes();
    let text = "The world and <think>日本語 é 12345\n\n  ";
    let accepted: usize = (0..24_000u64)
        .into_par_iter()
        .map(|seed| {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut random = move |below: usize| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state % below as u64) as usize
            };
            let mut file = bytes.clone();
            match seed % 4 {
                0 => file.truncate(random(bytes.len())),
                1 => (0..=random(4)).for_each(|_| file[random(bytes.len())] ^= 1 << random(8)),
                _ => {
                    let mut value = good.clone();
                    (0..=random(2)).for_each(|_| mutate(&mut value, &mut random));
                    file = value.to_string().into_bytes();
                }
            }
            match Tokenizer::from_json(&file, Path::new("t.json")) {
                Ok(tokenizer) => {
                    let ids = tokenizer.encode(text).unwrap();
                    assert_eq!(decode(&tokenizer, &tokenizer.encode_plain(text).unwrap()), text, "seed {seed}");
                    assert!(ids.iter().all(|id| tokenizer.token_bytes(*id).is_some()), "seed {seed}");
                    1
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.starts_with("t.json: ") && !error.contains('\n') && error.len() < 500, "seed {seed}: {error}");
                    0
                }
            }
        })
        .sum();
    // Both outcomes must occur, otherwise the mutations test nothing.
    assert!((500..20_000).contains(&accepted), "{accepted} of 24000 accepted");
}

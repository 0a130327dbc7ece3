//! Conversations to prompts, against DeepSeek's reference code and against the tokens that its API billed.

use crate::tokenizer::{data, ids, rows, v4};
use dwarfstar::text::encoding::{Chat, ChatTurn, Conversation, Effort, EffortTable, Prompt, ThinkingMode};
use dwarfstar::text::{Segment, Tokenizer};
use serde_json::{Value, json};
use std::path::Path;

fn tables(row: &Value) -> Vec<EffortTable> {
    let names = row["revisions"].as_array().unwrap();
    names.iter().map(|name| EffortTable::from_name(name.as_str().unwrap()).unwrap()).collect()
}

fn render(row: &Value, table: EffortTable) -> dwarfstar::Result<Prompt> {
    Conversation::from_json(row)?.render(table)
}

#[test]
fn prompts_equal_those_of_the_reference() {
    let (mut renderings, mut refusals) = (0, 0);
    for row in rows("encode.jsonl", 134) {
        for table in tables(&row) {
            match render(&row, table) {
                Ok(prompt) => {
                    renderings += 1;
                    assert_eq!(prompt.text(), row["expected_prompt"].as_str().unwrap_or("an error"), "{} {table:?}", row["name"]);
                    assert_eq!(v4().encode(&prompt.text()).unwrap(), ids(&row["expected_token_ids"]), "{}", row["name"]);
                }
                Err(error) => {
                    refusals += 1;
                    assert!(row["expected_error"].is_object(), "{} {table:?}: {error}", row["name"]);
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
            }
        }
    }
    assert_eq!((renderings, refusals), (238, 16));
}

/// Where a text of the caller spells a special token, the ids differ: in segments only the renderer's tokens are special.
#[test]
fn segments_give_the_ids_of_the_whole_string_unless_a_text_spells_a_special_token() {
    let injected = ["special_tokens_in_user_text", "args_string_with_markup", "tool_result_contains_closing_tag"];
    let mut different = Vec::new();
    let rows = rows("encode.jsonl", 134);
    for row in rows.iter().filter(|row| row["expected_prompt"].is_string()) {
        let name = row["name"].as_str().unwrap();
        let prompt = render(row, tables(row)[0]).unwrap();
        let from_segments = prompt.ids(v4()).unwrap();
        let text: Vec<u8> = from_segments.iter().flat_map(|id| v4().token_bytes(*id).unwrap()).copied().collect();
        assert_eq!(String::from_utf8(text).unwrap(), prompt.text(), "{name}");
        let segments = prompt.segments(v4()).unwrap();
        let special = segments.iter().filter(|segment| matches!(segment, Segment::Special(_))).count();
        assert_eq!(from_segments.iter().filter(|id| v4().is_added(**id)).count(), special, "{name}");
        if from_segments != ids(&row["expected_token_ids"]) {
            different.push(name);
        }
    }
    different.sort_unstable();
    let mut expected = injected;
    expected.sort_unstable();
    assert_eq!(different, expected);
}

#[test]
fn the_official_fixtures_render_as_published() {
    for (number, mode) in [(1, ThinkingMode::Thinking), (2, ThinkingMode::Thinking), (3, ThinkingMode::Thinking), (4, ThinkingMode::Chat)] {
        let read = |name: String| std::fs::read_to_string(data().join("official").join(name)).unwrap();
        let input: Value = serde_json::from_str(&read(format!("test_input_{number}.json"))).unwrap();
        let (messages, tools) = match &input {
            Value::Array(messages) => (messages.clone(), Vec::new()),
            object => (object["messages"].as_array().unwrap().clone(), object["tools"].as_array().cloned().unwrap_or_default()),
        };
        assert!(messages.len() >= 4, "fixture {number}");
        let conversation = Conversation { tools, ..Conversation::new(messages, mode) };
        let expected = read(format!("test_output_{number}.txt"));
        for table in [EffortTable::Original, EffortTable::V0731] {
            assert_eq!(conversation.render(table).unwrap().text(), expected, "fixture {number}");
        }
    }
}

#[test]
fn prompts_have_the_tokens_that_the_api_billed() {
    for row in rows("vectors/expected.jsonl", 5) {
        let name = row["id"].as_str().unwrap();
        let text = std::fs::read_to_string(data().join(format!("vectors/{name}.txt"))).unwrap();
        let chat = Chat { system: None, turns: vec![ChatTurn::User(text)], thinking: ThinkingMode::Chat, effort: None };
        let prompt = chat.render(EffortTable::Original).unwrap().ids(v4()).unwrap();
        assert_eq!(prompt.len() as u64, row["prompt_tokens"].as_u64().unwrap(), "{name}");
        assert_eq!(prompt, ids(&row["prompt_token_ids"]), "{name}");
    }
}

/// The conversation of a chat request, as far as the reference's and the server's templates agree: effort, thinking, tools and messages.
fn conversation_of(body: &Value) -> Conversation {
    let thinking = if body["thinking"]["type"] == "disabled" { ThinkingMode::Chat } else { ThinkingMode::Thinking };
    let messages = body["messages"].as_array().unwrap().clone();
    let tools = body["tools"].as_array().filter(|_| body["tool_choice"] != "none").cloned().unwrap_or_default();
    Conversation { tools, effort: Some(Effort::High), ..Conversation::new(messages, thinking) }
}

/// The serving library encodes texts without the added vocabulary. The ids of these rows therefore differ from those of the whole string.
/// Their template is that of the reference, so all ids must be equal.
#[test]
fn special_tokens_that_a_text_spells_stay_text() {
    let rows = rows("serve_chat.jsonl", 66);
    let marked: Vec<&Value> =
        rows.iter().filter(|row| row["expected"]["prompt"].is_string() && row["differs_from_whole_string_tokenisation"] == true).collect();
    assert_eq!(marked.len(), 3);
    for row in marked {
        let expected = &row["expected"];
        let prompt = conversation_of(&row["body"]).render(EffortTable::V0731).unwrap();
        assert_eq!(prompt.text(), expected["prompt"].as_str().unwrap(), "{}", row["name"]);
        let segments = prompt.ids(v4()).unwrap();
        assert_eq!(segments, ids(&expected["token_ids"]), "{}", row["name"]);
        assert_ne!(v4().encode(&prompt.text()).unwrap(), segments, "{}", row["name"]);
        let specials = segments.iter().filter(|id| v4().is_added(**id)).count();
        assert_eq!(specials, expected["special_ranges_codepoints"].as_array().unwrap().len(), "{}", row["name"]);
    }
}

#[test]
fn where_both_templates_give_one_prompt_segments_give_the_ids_of_the_serving_library() {
    let mut equal = 0;
    for row in rows("serve_chat.jsonl", 66).iter().filter(|row| row["expected"]["prompt"].is_string()) {
        let effort = match row["expected"]["reasoning_effort"].as_str() {
            Some("max") => Effort::Max,
            Some("high" | "xhigh") => Effort::High,
            _ => Effort::Low,
        };
        let thinking = if row["expected"]["thinking"] == true { ThinkingMode::Thinking } else { ThinkingMode::Chat };
        let conversation = Conversation { effort: Some(effort), thinking, ..conversation_of(&row["body"]) };
        let Ok(prompt) = conversation.render(EffortTable::V0731) else { continue };
        if prompt.text() == row["expected"]["prompt"].as_str().unwrap() {
            equal += 1;
            assert_eq!(prompt.ids(v4()).unwrap(), ids(&row["expected"]["token_ids"]), "{}", row["name"]);
        }
    }
    // The other 18 rows depend on the serving template: system messages moved to the front, sorted calls, normalised schemas, JSON modes,
    // prefixes.
    assert_eq!(equal, 23);
}

#[test]
fn a_typed_chat_renders_as_a_conversation() {
    let turn = |text: &str, reasoning: &str| ChatTurn::Assistant { text: text.into(), reasoning: reasoning.into() };
    let turns = vec![
        ChatTurn::User("one".into()),
        turn("1", "old"),
        ChatTurn::User("two".into()),
        turn("2 <｜ref｜>x<｜/ref｜> <｜User｜>", "new"),
    ];
    let chat = Chat { system: Some("Sys".into()), turns, thinking: ThinkingMode::Thinking, effort: Some(Effort::Max) };
    let text = chat.render(EffortTable::V0731).unwrap().text();
    let (head, rest) = text.split_at(text.find("Sys").unwrap());
    assert!(head.starts_with("<｜begin▁of▁sentence｜>Reasoning Effort: Beyond maximum — "), "{head}");
    let expected = "Sys<｜User｜>one<｜Assistant｜></think>1<｜end▁of▁sentence｜><｜User｜>two<｜Assistant｜><think>new</think>\
        2 <｜ref｜>x<｜/ref｜> <｜User｜><｜end▁of▁sentence｜>";
    assert_eq!(rest, expected);
    let specials = chat.render(EffortTable::V0731).unwrap().ids(v4()).unwrap();
    let specials = specials.iter().filter(|id| v4().is_added(**id)).count();
    assert_eq!(specials, 12, "the user mark in the text of the last answer is not special");
    let low = Chat { effort: Some(Effort::Low), ..chat };
    assert!(low.render(EffortTable::V0731).is_ok());
    assert_eq!(
        low.render(EffortTable::Original).unwrap_err().to_string(),
        "reasoning_effort: this model's effort table has \"high\" and \"max\", not \"low\""
    );
}

#[test]
fn malformed_conversations_are_refused() {
    let user = json!([{"role": "user", "content": "x"}]);
    let call = |function: Value| json!([{"role": "assistant", "tool_calls": [{"function": function}]}]);
    for (row, expected) in [
        (json!({"messages": user}), "the conversation has no \"thinking_mode\""),
        (json!({"thinking_mode": "chat"}), "the conversation has no \"messages\""),
        (json!({"thinking_mode": "chat", "messages": 1}), "messages: expected a list, found a number"),
        (json!({"thinking_mode": "x", "messages": user}), "thinking_mode: expected \"chat\" or \"thinking\", found \"x\""),
        (json!({"thinking_mode": "chat", "messages": ["x"]}), "message 0 is not an object"),
        (json!({"thinking_mode": "chat", "messages": [{}]}), "unknown role null"),
        (json!({"thinking_mode": "chat", "messages": [{"role": "system", "content": [1]}]}), "content: expected a string, found a list"),
        (
            json!({"thinking_mode": "chat", "messages": [{"role": "user", "content": null}]}),
            "content of a user message: expected a string, found null",
        ),
        (
            json!({"thinking_mode": "chat", "messages": call(json!({"name": "f"}))}),
            "a tool call needs function.name, a string, and function.arguments",
        ),
        (
            json!({"thinking_mode": "chat", "messages": call(json!({"name": "f", "arguments": "[1]"}))}),
            "the arguments of a tool call must be a JSON object",
        ),
        (json!({"thinking_mode": "chat", "messages": user, "tools": [{"type": "function"}]}), "tool 0 has no \"function\""),
        (json!({"thinking_mode": "chat", "messages": [{"role": "user", "content": "x", "task": 5}]}), "unknown task 5"),
    ] {
        assert_eq!(render(&row, EffortTable::Original).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_tokenizer_without_tool_tokens_renders_chats_and_names_the_missing_token() {
    let alphabet: String = (0..=255u32)
        .map(|byte| {
            char::from_u32(match byte {
                0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => byte,
                0..=0x20 => 0x100 + byte,
                0x7f..=0xa0 => 0x121 + byte - 0x7f,
                _ => 0x143,
            })
            .unwrap()
        })
        .collect();
    let specials = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "</think>"];
    let vocab: serde_json::Map<String, Value> = alphabet.chars().enumerate().map(|(id, c)| (c.to_string(), json!(id))).collect();
    let added: Vec<Value> = specials.iter().enumerate().map(|(i, text)| json!({"id": 256 + i, "content": text})).collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true});
    let file = json!({"added_tokens": added, "pre_tokenizer": bytes, "model": {"type": "BPE", "vocab": vocab, "merges": []}});
    let tiny = Tokenizer::from_json(file.to_string().as_bytes(), Path::new("tiny.json")).unwrap();
    let chat = |text: &str| json!({"thinking_mode": "chat", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": text}]});
    let prompt = render(&chat("<｜ref｜>b"), EffortTable::Original).unwrap();
    let ids = prompt.ids(&tiny).unwrap();
    assert_eq!(ids.iter().filter(|id| **id >= 256).copied().collect::<Vec<_>>(), [256, 258, 259, 260, 257]);
    assert_eq!(ids.len(), 5 + "a".len() + "<｜ref｜>b".len());
    let call = json!({"thinking_mode": "chat", "messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]});
    let error = render(&call, EffortTable::Original).unwrap().ids(&tiny).unwrap_err();
    assert_eq!(error.to_string(), "the tokenizer has no special token ｜DSML｜, which the prompt needs");
}

//! Complete answers to messages, against DeepSeek's reference code.

use crate::tokenizer::{ids, rows, v4};
use dwarfstar::text::encoding::{Conversation, EffortTable, ThinkingMode};
use dwarfstar::text::parse::{Message, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

fn as_json(message: &Message) -> Value {
    let call =
        |call: &dwarfstar::text::parse::ToolCall| json!({"type": "function", "function": {"name": call.name, "arguments": call.arguments}});
    let calls: Vec<Value> = message.tool_calls.iter().map(call).collect();
    json!({"content": message.content, "reasoning_content": message.reasoning_content, "tool_calls": calls})
}

#[test]
fn messages_equal_those_of_the_reference() {
    let (mut parsed, mut refused) = (0, 0);
    for row in rows("parse.jsonl", 75) {
        let (name, text) = (&row["name"], row["text"].as_str().unwrap());
        let mode = ThinkingMode::from_name(row["thinking_mode"].as_str().unwrap()).unwrap();
        match parse(text, mode) {
            Ok(message) => {
                parsed += 1;
                assert_eq!(as_json(&message), row["expected"], "{name}");
                for call in &message.tool_calls {
                    let is_json = serde_json::from_str::<Value>(&call.arguments).is_ok();
                    assert_eq!(is_json, row["arguments_are_invalid_json"] != true, "{name}");
                }
            }
            Err(error) => {
                refused += 1;
                assert!(row["expected_error"].is_object(), "{name}: {error}");
                assert!(!error.to_string().contains('\n'), "{name}: {error}");
            }
        }
        assert_eq!(v4().encode(text).unwrap(), ids(&row["token_ids"]), "{name}");
    }
    assert_eq!((parsed, refused), (34, 41));
}

/// In Python's regular expressions a name ends at its first possible end, and `$` matches before a final line end.
#[test]
fn quirks_of_the_reference_are_kept() {
    let block = |inside: &str| parse(&format!("\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke{inside}"), ThinkingMode::Chat);
    let call = |inside: &str| block(inside).map(|message| (message.tool_calls[0].name.clone(), message.tool_calls[0].arguments.clone()));
    let named = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
    assert_eq!(call(" name=\"f\">\n").unwrap(), named("f", "{}"), "cut off after the opening tag");
    assert_eq!(call("\u{1c}\u{a0}name=\"f\">\n</｜DSML｜invoke").unwrap(), named("f", "{}"), "cut off inside the closing tag");
    assert_eq!(call(" name=\"a\">\nb\">\n\n</｜DSML｜invoke").unwrap(), named("a\">\nb", "{}"));
    let parameter = |text: &str| call(&format!(" name=\"f\">\n<｜DSML｜parameter{text}/｜DSML｜parameter>\n"));
    assert_eq!(parameter(" name=\"k\" string=\"false\">1\" string=\"true\">2<").unwrap(), named("f", "{\"k\": 1\" string=\"true\">2}"));
    assert_eq!(parameter(" name=\"k\" string=\"true\"><\n").unwrap(), named("f", "{\"k\": \"\"}"));
    assert_eq!(parameter(" name=\"k\" string=\"true\"><<").unwrap(), named("f", "{\"k\": \"<\"}"));
    assert!(parameter(" name=\"k\" string=\"true\"><\n\n").is_err());
    let two = "<｜DSML｜parameter name=\"k\" string=\"true\">v</｜DSML｜parameter>\n".repeat(2);
    assert_eq!(call(&format!(" name=\"f\">\n{two}")).unwrap_err().to_string(), "parameter \"k\" is given twice");
}

proptest! {
    #[test]
    fn the_parser_reads_back_the_answers_that_the_encoder_writes(content in "\\PC{0,40}", reasoning in "[a-z\n ]{0,20}", values in prop::collection::vec("\\PC{0,20}|[\"\\\\\n<>/]{0,8}", 0..4)) {
        let arguments: serde_json::Map<String, Value> = values.iter().enumerate().map(|(i, value)| (format!("k{i}"), json!(value))).collect();
        let arguments = Value::Object(arguments);
        let call = json!({"function": {"name": "f", "arguments": arguments.to_string()}});
        let messages = vec![json!({"role": "user", "content": "x"}),
            json!({"role": "assistant", "content": content, "reasoning_content": reasoning, "tool_calls": [call]})];
        let prompt = Conversation::new(messages, ThinkingMode::Thinking).render(EffortTable::Original).unwrap().text();
        let (_, answer) = prompt.split_once("<think>").unwrap();
        let message = parse(answer, ThinkingMode::Thinking).unwrap();
        prop_assert_eq!((message.content, message.reasoning_content), (content, reasoning));
        prop_assert_eq!(serde_json::from_str::<Value>(&message.tool_calls[0].arguments).unwrap(), arguments);
    }

    #[test]
    fn any_text_parses_or_is_refused_in_one_line(parts in prop::collection::vec(prop::sample::select(vec![
        "\n\n<｜DSML｜tool_calls", ">\n", "<｜DSML｜invoke", " name=\"", "f", "\">\n", "<｜DSML｜parameter", "\" string=\"true\">", "<",
        "/｜DSML｜parameter", "</｜DSML｜invoke", "</｜DSML｜tool_calls>", "</think>", "<｜end▁of▁sentence｜>", "é",
    ]), 0..24)) {
        for mode in [ThinkingMode::Chat, ThinkingMode::Thinking] {
            if let Err(error) = parse(&parts.concat(), mode) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}

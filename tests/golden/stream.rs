//! Generated tokens and text to events, against DeepSeek's serving library.

use crate::tokenizer::{ids, rows, v4};
use dwarfstar::text::encoding::ThinkingMode;
use dwarfstar::text::parse::parse;
use dwarfstar::text::stream::{Event, SplitOptions, Splitter, Start};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Events with neighbours of one kind joined, so that the places where text was cut into chunks do not count.
fn joined(events: impl IntoIterator<Item = Event>) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    for event in events {
        match (all.last_mut(), event) {
            (Some(Event::Reasoning(text)), Event::Reasoning(more)) | (Some(Event::Content(text)), Event::Content(more)) => {
                text.push_str(&more)
            }
            (Some(Event::ToolArguments { index, text }), Event::ToolArguments { index: same, text: more }) if *index == same => {
                text.push_str(&more)
            }
            (_, Event::Reasoning(text) | Event::Content(text) | Event::ToolArguments { text, .. }) if text.is_empty() => {}
            (_, event) => all.push(event),
        }
    }
    all
}

fn expected(row: &Value) -> Vec<Event> {
    let mut events = Vec::new();
    for chunk in row["expected_chunks"].as_array().unwrap() {
        let delta = &chunk["choices"][0]["delta"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        events.push(Event::Reasoning(text(&delta["reasoning_content"])));
        events.push(Event::Content(text(&delta["content"])));
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            if let Some(name) = call["function"]["name"].as_str() {
                events.push(Event::ToolName { index, name: name.to_owned() });
            }
            events.push(Event::ToolArguments { index, text: text(&call["function"]["arguments"]) });
        }
    }
    joined(events)
}

/// The options for reading an answer to the request `body`.
fn options(body: &Value) -> SplitOptions {
    let start = match (&body["tool_choice"], &body["thinking"]["type"]) {
        (choice, _) if choice == "required" => Start::ToolCalls,
        (_, mode) if mode == "disabled" => Start::Content,
        _ => Start::Reasoning,
    };
    let stop = body["stop"].as_array().into_iter().flatten().map(|stop| stop.as_str().unwrap().to_owned()).collect();
    let continues = body["messages"].as_array().unwrap().last().unwrap()["prefix"] == true;
    SplitOptions { start, continues, tools: body["tools"].is_array() && body["tool_choice"] != "none", stop }
}

/// The row `json_mode_bare` is left out, because a server filters its content for JSON mode after splitting. In all rows, things that
/// belong to HTTP are not compared: ids of calls, usage, finish reasons and the borders of chunks.
#[test]
fn events_equal_those_of_the_serving_library() {
    let rows = rows("serve_stream.jsonl", 37);
    let rows: Vec<&Value> = rows.iter().filter(|row| row["name"] != "json_mode_bare").collect();
    assert_eq!(rows.len(), 36);
    let (mut token_rows, mut text_rows) = (0, 0);
    for row in rows {
        let mut splitter = Splitter::new(v4().clone(), options(&row["body"]));
        let mut events = Vec::new();
        for part in row["parts"].as_array().unwrap() {
            match part {
                Value::String(text) => events.extend(splitter.push_text(text)),
                tokens => events.extend(splitter.push(&ids(tokens))),
            }
        }
        events.extend(splitter.finish());
        assert_eq!(joined(events), expected(row), "{}", row["name"]);
        let called = row["expected_response"]["choices"][0]["message"]["tool_calls"].as_array().map_or(0, Vec::len);
        assert_eq!(splitter.calls(), called, "{}", row["name"]);
        assert_eq!(splitter.has_unfinished_call(), row["name"] == "call_truncated_value", "{}", row["name"]);
        assert_eq!(splitter.is_stopped(), row["body"]["stop"].is_array(), "{}", row["name"]);
        match row["input"].as_str() {
            Some("tokens") => token_rows += 1,
            Some("text") => text_rows += 1,
            other => panic!("input {other:?}"),
        }
    }
    assert_eq!((token_rows, text_rows), (34, 2));
}

fn splitter(start: Start, tools: bool, stop: &[&str]) -> Splitter {
    let stop = stop.iter().map(|stop| (*stop).to_owned()).collect();
    Splitter::new(v4().clone(), SplitOptions { start, continues: false, tools, stop })
}

fn content(text: &str) -> Vec<Event> {
    if text.is_empty() { Vec::new() } else { vec![Event::Content(text.into())] }
}

#[test]
fn text_is_shown_as_soon_as_it_is_certain() {
    let mut split = splitter(Start::Content, true, &["STOP"]);
    for (text, shown) in [
        ("\n\n", ""),
        ("one", "one"),
        ("\n", ""),
        ("two <", "\ntwo "),
        ("<", ""),
        ("/", ""),
        ("b>", "<</b>"),
        (" ST", " "),
        ("AY S", "STAY "),
        ("TO", ""),
        ("P after", ""),
        ("more", ""),
    ] {
        assert_eq!(split.push_text(text), content(shown), "{text:?}");
    }
    assert!(split.is_stopped() && split.finish().is_empty());

    let mut split = splitter(Start::Content, false, &["ab", "abc", "", "\n\nX"]);
    assert_eq!(split.push_text("x\n\nYa"), content("x\n\nY"));
    assert_eq!(split.finish(), content("a"));

    // A special token ends an incomplete character with U+FFFD. The end of the answer drops it.
    let mut split = splitter(Start::Content, false, &[]);
    assert_eq!(split.push(&[163, 119]), []);
    assert_eq!(split.push(&[128_803, 163]), content("\u{fffd}<｜User｜>"));
    assert_eq!(split.finish(), []);
}

/// The call arrives character by character.
#[test]
fn names_and_arguments_are_reported_while_they_are_written() {
    let mut split = splitter(Start::Content, true, &[]);
    let markup = "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\\\" string=\"true\">x\"\n</b>\
        </｜DSML｜no></｜DSML｜parameter>\n<｜DSML｜parameter name=\"n\" string=\"false\">[1]</｜DSML｜parameter>\n</｜DSML｜invoke";
    let mut events = Vec::new();
    for c in markup.chars() {
        let new = split.push_text(&c.to_string());
        if let [Event::ToolArguments { .. }] = &new[..] {
            assert!(split.has_unfinished_call());
        }
        events.extend(new);
    }
    assert!(split.has_unfinished_call());
    events.extend(split.finish());
    assert!(!split.has_unfinished_call(), "the name of the closing tag is enough");
    let text = json!({"a\\": "x\"\n</b></｜DSML｜no>", "n": [1]}).to_string().replace(":", ": ").replace(",\"n", ", \"n");
    assert_eq!(joined(events), [Event::ToolName { index: 0, name: "f".into() }, Event::ToolArguments { index: 0, text }]);
}

#[test]
fn malformed_markup_becomes_arguments_or_is_dropped() {
    let run = |text: &str| {
        let mut split = splitter(Start::ToolCalls, true, &[]);
        let mut events = split.push_text(text);
        events.extend(split.finish());
        let text = |event| match event {
            Event::ToolName { index, name } => format!("{index}:{name}"),
            Event::ToolArguments { text, .. } => text,
            other => panic!("{other:?}"),
        };
        joined(events).into_iter().map(text).collect::<Vec<_>>().join(" ")
    };
    let invoke = "<｜DSML｜invoke name=\"f\">";
    let parameter = "<｜DSML｜parameter name=\"k\" string=\"true\">v</｜DSML｜parameter>";
    assert_eq!(run(&format!("{invoke}{invoke}</｜DSML｜tool_calls>{invoke}")), "0:f {} 1:f {}", "unclosed calls");
    assert_eq!(run(&format!("{parameter}{invoke}</｜DSML｜invoke>{parameter}")), "0:f {}", "parameters outside");
    assert_eq!(run(&format!("<｜DSML｜invoke>{parameter}")), "", "no name");
    assert_eq!(run("<｜DSML｜invoke x=\"1\" name=\"a>b\" y=\"2\">"), "0:a>b", "other attributes");
    assert_eq!(
        run(&format!("{invoke}<｜DSML｜parameter name=\"k\">v</｜DSML｜parameter></｜DSML｜invoke>")),
        "0:f {\"k\": \"v\"}",
        "no type"
    );
    assert_eq!(run(&format!("{invoke}{}", &parameter[..parameter.len() - 20])), "0:f {\"k\": \"v", "cut off in the closing tag");
    assert_eq!(run(&format!("{invoke}<｜DSML｜parameter name=\"ke")), "0:f {\"ke", "cut off in a key");
}

proptest! {
    /// Text and tokens also give the same events, because the text spells only real markup.
    #[test]
    fn events_do_not_depend_on_how_tokens_are_grouped_or_text_is_cut(
        parts in prop::collection::vec(prop::sample::select(vec![
            "</think>", "\n", "\n\n", "<", "</", "｜DSML｜", "tool_calls>", "invoke name=\"f\">", "parameter name=\"k\" string=\"true\">",
            "parameter name=\"n\" string=\"false\">", "parameter>", "invoke>", "x", "1", "é😀", " STOP", "\"",
        ]), 0..30),
        cut in 1..7usize, tools: bool, thinking: bool,
    ) {
        let text = parts.concat();
        let ids = v4().encode(&text).unwrap();
        let start = if thinking { Start::Reasoning } else { Start::Content };
        let collect = |feed: &mut dyn FnMut(&mut Splitter) -> Vec<Event>| {
            let mut split = splitter(start, tools, &["STOP"]);
            let mut events = feed(&mut split);
            events.extend(split.finish());
            (joined(events), split.calls(), split.has_unfinished_call(), split.is_stopped())
        };
        let whole = collect(&mut |split| split.push(&ids));
        prop_assert_eq!(&collect(&mut |split| ids.chunks(cut).flat_map(|ids| split.push(ids)).collect()), &whole);
        prop_assert_eq!(&collect(&mut |split| split.push_text(&text)), &whole);
        let chars: Vec<char> = text.chars().collect();
        let pieces: Vec<String> = chars.chunks(cut).map(|piece| piece.iter().collect()).collect();
        prop_assert_eq!(&collect(&mut |split| pieces.iter().flat_map(|piece| split.push_text(piece)).collect()), &whole);
    }

    #[test]
    fn any_tokens_give_few_events_and_no_panic(ids in prop::collection::vec(0..129_300u32, 0..40), tools: bool) {
        let mut split = splitter(Start::Reasoning, tools, &[]);
        let mut events = split.push(&ids);
        events.extend(split.finish());
        prop_assert!(joined(events).len() <= 2 + 2 * split.calls());
    }
}

/// The newlines that streams drop do not count.
#[test]
fn parser_and_splitter_agree_on_every_complete_answer_that_the_parser_accepts() {
    let mut compared = 0;
    for row in rows("parse.jsonl", 75) {
        let thinking = row["thinking_mode"] == "thinking";
        let mode = if thinking { ThinkingMode::Thinking } else { ThinkingMode::Chat };
        let text = row["text"].as_str().unwrap();
        // The name has quotes in it, and the splitter must decide at the first quote.
        let odd_name = ["key_with_spaces_and_quotes", "reserved_words_in_key_json"].contains(&row["name"].as_str().unwrap());
        // Only the parser accepts a line end between the angle bracket and the rest of a closing tag.
        let odd_tag = row["name"] == "param_value_newline_before_close";
        let Some(answer) = text.strip_suffix("<｜end▁of▁sentence｜>").filter(|_| !odd_name && !odd_tag) else { continue };
        let Ok(message) = parse(text, mode) else { continue };
        compared += 1;
        let mut split = splitter(if thinking { Start::Reasoning } else { Start::Content }, true, &[]);
        let mut events = split.push(&v4().encode(answer).unwrap());
        events.extend(split.finish());
        let (mut reasoning, mut content, mut calls) = (String::new(), String::new(), Vec::<(String, String)>::new());
        for event in events {
            match event {
                Event::Reasoning(text) => reasoning += &text,
                Event::Content(text) => content += &text,
                Event::ToolName { name, .. } => calls.push((name, String::new())),
                Event::ToolArguments { index, text } => calls[index].1 += &text,
            }
        }
        let newline = '\n';
        assert_eq!(reasoning, message.reasoning_content.trim_matches(newline), "{}", row["name"]);
        let kept = message.content.trim_start_matches(newline);
        let kept =
            if calls.is_empty() && split.calls() == 0 && !text.contains("｜DSML｜") { kept } else { kept.trim_end_matches(newline) };
        assert_eq!(content, kept, "{}", row["name"]);
        let expected: Vec<(String, String)> = message.tool_calls.into_iter().map(|call| (call.name, call.arguments)).collect();
        assert_eq!(calls, expected, "{}", row["name"]);
    }
    assert_eq!(compared, 29);
}

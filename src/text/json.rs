//! JSON text exactly as Python's `json` module writes and reads it, because V4 was trained on prompts that were made with it.

use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write;

/// The deepest nesting of a call's arguments. Python fails near 1000 levels, and this reader recurses on the stack.
const MAX_DEPTH: usize = 900;

/// Appends `value` as `json.dumps(value, ensure_ascii=False)` prints it.
pub(super) fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&number(n.as_str())),
        Value::String(text) => quote(text, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                quote(key, out);
                out.push_str(": ");
                write(item, out);
            }
            out.push('}');
        }
    }
}

/// Appends `text` as a JSON string, in which only the characters that JSON forbids are escaped.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    escape(text, out);
    out.push('"');
}

/// Appends the inside of a JSON string.
pub(super) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            // Writing to a `String` cannot fail.
            c if c < ' ' => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
}

/// A JSON number as Python prints it after reading it. An integer keeps its digits; a float gets its shortest form.
fn number(text: &str) -> String {
    if !text.contains(['.', 'e', 'E']) {
        return if text == "-0" { "0".into() } else { text.into() };
    }
    let value: f64 = text.parse().unwrap_or(f64::NAN);
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// The arguments of a tool call, read from the JSON text that clients send.
#[derive(Debug, PartialEq)]
pub(super) enum Arguments {
    /// The members of an object in the order of their first appearance. A name that occurs several times has its last value.
    Object(Vec<(String, Argument)>),
    /// Valid JSON that is not an object.
    NoObject,
    /// Text that Python does not read as JSON, or that has a lone surrogate, which UTF-8 cannot express.
    Unparsable,
}

/// One argument of a tool call.
#[derive(Debug, PartialEq)]
pub(super) enum Argument {
    /// The content of a string.
    Text(String),
    /// Any other value, as JSON text.
    Json(String),
}

/// Reads any text that `json.loads` accepts. Beyond JSON, that includes NaN, Infinity and -Infinity.
pub(super) fn read_arguments(text: &str) -> Arguments {
    let mut reader = Reader { text, at: 0 };
    let node = reader.value(0).filter(|_| reader.skip_space().rest().is_empty());
    match node {
        Some(Node::Object(members)) => {
            let argument = |node| match node {
                Node::Text(text) => Argument::Text(text),
                other => Argument::Json(other.into_json()),
            };
            Arguments::Object(members.into_iter().map(|(key, node)| (key, argument(node))).collect())
        }
        Some(_) => Arguments::NoObject,
        None => Arguments::Unparsable,
    }
}

/// A value that was read. Numbers, literals and arrays are kept as JSON text.
enum Node {
    Text(String),
    Object(Vec<(String, Node)>),
    Printed(String),
}

impl Node {
    fn into_json(self) -> String {
        let mut out = String::new();
        match self {
            Self::Printed(json) => out = json,
            Self::Text(text) => quote(&text, &mut out),
            Self::Object(members) => {
                out.push('{');
                for (i, (key, node)) in members.into_iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    quote(&key, &mut out);
                    out.push_str(": ");
                    out.push_str(&node.into_json());
                }
                out.push('}');
            }
        }
        out
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) -> &mut Self {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
        self
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        self.at += if found { prefix.len() } else { 0 };
        found
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.skip_space();
        for literal in ["null", "true", "false", "NaN", "Infinity", "-Infinity"] {
            if self.take(literal) {
                return Some(Node::Printed(literal.into()));
            }
        }
        match self.rest().chars().next()? {
            '"' => self.string().map(Node::Text),
            '[' => self.array(depth),
            '{' => self.object(depth),
            _ => self.number().map(Node::Printed),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Node> {
        self.at += 1;
        let mut out = String::from("[");
        if self.skip_space().take("]") {
            return Some(Node::Printed("[]".into()));
        }
        loop {
            out.push_str(&self.value(depth + 1)?.into_json());
            self.skip_space();
            if self.take("]") {
                return Some(Node::Printed(out + "]"));
            }
            if !self.take(",") {
                return None;
            }
            out.push_str(", ");
        }
    }

    fn object(&mut self, depth: usize) -> Option<Node> {
        self.at += 1;
        let mut members: Vec<(String, Node)> = Vec::new();
        let mut place = HashMap::new();
        if self.skip_space().take("}") {
            return Some(Node::Object(members));
        }
        loop {
            let key = self.skip_space().string()?;
            if !self.skip_space().take(":") {
                return None;
            }
            let node = self.value(depth + 1)?;
            match place.get(&key).and_then(|i: &usize| members.get_mut(*i)) {
                Some(member) => member.1 = node,
                None => {
                    place.insert(key.clone(), members.len());
                    members.push((key, node));
                }
            }
            self.skip_space();
            if self.take("}") {
                return Some(Node::Object(members));
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        if !self.take("\"") {
            return None;
        }
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ')?;
            out.push_str(rest.get(..plain)?);
            self.at += plain;
            if self.take("\"") {
                return Some(out);
            }
            if !self.take("\\") {
                return None;
            }
            let escape = self.rest().chars().next()?;
            self.at += escape.len_utf8();
            out.push(match escape {
                '"' | '\\' | '/' => escape,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => self.unicode_escape()?,
                _ => return None,
            });
        }
    }

    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        let low = self.take("\\u").then(|| self.hex4())??;
        let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + low)
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Option<String> {
        let rest = self.rest();
        let digits = |from: usize| rest.bytes().skip(from).take_while(u8::is_ascii_digit).count();
        let sign = usize::from(rest.starts_with('-'));
        let whole = if rest[sign..].starts_with('0') { 1 } else { digits(sign) };
        if whole == 0 {
            return None;
        }
        let mut end = sign + whole;
        if rest[end..].starts_with('.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
        }
        if rest[end..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            let exponent = digits(end + 1 + sign);
            end += if exponent > 0 { 1 + sign + exponent } else { 0 };
        }
        self.at += end;
        Some(number(&rest[..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reprint(text: &str) -> Option<String> {
        match read_arguments(&format!("{{\"k\":{text}}}")) {
            Arguments::Object(mut members) => members.pop().map(|(_, argument)| match argument {
                Argument::Text(text) => format!("text {text}"),
                Argument::Json(json) => json,
            }),
            _ => None,
        }
    }

    #[test]
    fn numbers_print_as_in_python() {
        for (text, expected) in [
            ("1.10", "1.1"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("123456789012345678.0", "1.2345678901234568e+17"),
            ("0.0001", "0.0001"),
            ("0.00001234", "1.234e-05"),
            ("1E400", "Infinity"),
            ("-1e400", "-Infinity"),
            ("5e-324", "5e-324"),
            ("1e-100", "1e-100"),
            ("9007199254740993.0", "9007199254740992.0"),
            ("100000000000000000000000000000000", "100000000000000000000000000000000"),
            ("NaN", "NaN"),
        ] {
            assert_eq!(reprint(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn text_that_python_refuses_is_unparsable() {
        for text in
            ["", "{", "{\"a\" 1}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":+1}", "{a:1}", "{\"a\":1,}", "[1,]", "{} x", "nul"]
        {
            assert_eq!(read_arguments(text), Arguments::Unparsable, "{text}");
        }
        for text in ["\"\\x\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"a\nb\"", "\"é", "1e", "-", "[1 2]"] {
            assert_eq!(reprint(text), None, "{text}");
        }
        for text in ["[]", "1", "\"{}\"", "null", " NaN "] {
            assert_eq!(read_arguments(text), Arguments::NoObject, "{text}");
        }
    }

    #[test]
    fn nested_values_and_escapes_print_as_in_python() {
        assert_eq!(
            reprint(" [ 1,{\"a\":[ ],\"b\":{ },\"a\":\"\\u00e9\\/\\u0001\"} ]").as_deref(),
            Some(r#"[1, {"a": "é/\u0001", "b": {}}]"#)
        );
        assert_eq!(reprint("\"\\ud83d\\ude00\\\"\"").as_deref(), Some("text 😀\""));
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(reprint(&deep(900)), Some(deep(900)));
        assert_eq!(reprint(&deep(100_000)), None);
    }
}

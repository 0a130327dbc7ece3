//! Metadata: keys and typed values, decoded when asked for. Only the offsets of values are kept, because a real file has 129,280 tokens
//! and 127,741 merges, most of which nobody looks at.

use super::cursor::{Cursor, quoted};
use super::value::{Value, ValueKind};
use crate::{Error, Result};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

/// The deepest nesting of arrays that is accepted. The keys of this model have no nested arrays at all.
const MAX_DEPTH: usize = 4;

/// The fewest bytes that a key and its value take: length of the key, one character, type, a value of one byte.
const MIN_ENTRY_BYTES: usize = 8 + 1 + 4 + 1;

/// A key, and the type and offset of its value.
#[derive(Debug)]
struct Entry {
    key: String,
    kind: ValueKind,
    /// Offset in the file of the first byte of the value, which follows its type.
    at: usize,
}

/// All keys of a file, in the file's order.
#[derive(Debug)]
pub(super) struct Entries {
    list: Vec<Entry>,
    index: HashMap<String, usize>,
}

impl Entries {
    /// Reads `count` keys and skips over their values. Afterwards every length and count in them is known to fit in the file.
    pub(super) fn parse(cursor: &mut Cursor<'_>, count: u64) -> Result<Self, String> {
        cursor.check_count(count, MIN_ENTRY_BYTES, "the number of metadata keys")?;
        // Nothing is reserved for `count` entries: a sparse file that is large enough for any count costs its maker nothing.
        let (mut list, mut index) = (Vec::new(), HashMap::new());
        for i in 0..count {
            let key = cursor.name("a metadata key")?.to_owned();
            let what = format!("metadata key {}", quoted(&key));
            let kind = Value::known(cursor.u32(&what)?, &what)?;
            let at = cursor.position();
            skip(cursor, kind, &what, MAX_DEPTH)?;
            if index.insert(key.clone(), list.len()).is_some() {
                return Err(format!("{what} occurs twice, the second time as number {i} of {count}"));
            }
            list.push(Entry { key, kind, at });
        }
        Ok(Self { list, index })
    }
}

/// Moves the cursor over one value and checks that the value is well formed.
fn skip(cursor: &mut Cursor<'_>, kind: ValueKind, what: &str, depth: usize) -> Result<(), String> {
    match kind {
        ValueKind::String => cursor.string(what).map(drop),
        ValueKind::Array => {
            let (element, len) = array_header(cursor, what)?;
            if depth == 0 {
                return Err(format!("{what} has arrays nested more than {MAX_DEPTH} deep"));
            }
            match element.size() {
                Some(size) => skip_numbers(cursor, element, len.saturating_mul(size as u64), what),
                None => (0..len).try_for_each(|_| skip(cursor, element, what, depth - 1)),
            }
        }
        _ => skip_numbers(cursor, kind, kind.min_bytes() as u64, what),
    }
}

fn skip_numbers(cursor: &mut Cursor<'_>, kind: ValueKind, bytes: u64, what: &str) -> Result<(), String> {
    let bytes = cursor.take(bytes, what)?;
    match bytes.iter().find(|&&byte| byte > 1) {
        Some(byte) if kind == ValueKind::Bool => Err(format!("{what} is a bool of value {byte}, expected 0 or 1")),
        _ => Ok(()),
    }
}

/// Reads element type and length of an array.
fn array_header(cursor: &mut Cursor<'_>, what: &str) -> Result<(ValueKind, u64), String> {
    let element = Value::known(cursor.u32(what)?, what)?;
    let len = cursor.u64(what)?;
    cursor.check_count(len, element.min_bytes(), &format!("the length of {what}"))?;
    Ok((element, len))
}

/// The metadata of a file. Getters return `Ok(None)` for a key that the file does not have, and an error that names file, key and
/// found type where the value is not of the type that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    pub(super) path: &'a Path,
    pub(super) bytes: &'a [u8],
    pub(super) entries: &'a Entries,
}

impl<'a> Metadata<'a> {
    /// An integer of any type whose value fits in u32.
    pub fn u32(self, key: &str) -> Result<Option<u32>> {
        self.scalar(key, "an integer that fits in u32", |value| value.integer()?.try_into().ok())
    }

    /// An f32, or an f64 rounded to f32.
    pub fn f32(self, key: &str) -> Result<Option<f32>> {
        self.scalar(key, "a floating-point number", |value| value.float())
    }

    /// A bool.
    pub fn bool(self, key: &str) -> Result<Option<bool>> {
        self.scalar(key, "a bool", |value| if let Value::Bool(v) = value { Some(*v) } else { None })
    }

    /// A string, which must be UTF-8.
    pub fn str(self, key: &str) -> Result<Option<&'a str>> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        if entry.kind != ValueKind::String {
            return Err(self.wrong(entry, "a string"));
        }
        let bytes = self.cursor(entry).string(key).map_err(|what| Error::file(self.path, what))?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.wrong(entry, "UTF-8")),
        }
    }

    /// An array of integers of any type, each of which fits in i64.
    pub fn integers(self, key: &str) -> Result<Option<Vec<i64>>> {
        self.array(key, "an array of integers that fit in i64", |value| value.integer()?.try_into().ok())
    }

    /// An array of f32, or of f64 rounded to f32.
    pub fn floats(self, key: &str) -> Result<Option<Vec<f32>>> {
        self.array(key, "an array of floating-point numbers", |value| value.float())
    }

    /// An array of strings, which are decoded during iteration.
    pub fn strings(self, key: &str) -> Result<Option<Strings<'a>>> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        match self.elements(entry) {
            Some((ValueKind::String, len, cursor)) => {
                Ok(Some(Strings { path: self.path, key: &entry.key, bytes: self.bytes, at: cursor.position(), len }))
            }
            _ => Err(self.wrong(entry, "an array of strings")),
        }
    }

    /// The whole value of a key, for example to copy it into another file. Strings must be UTF-8.
    pub fn value(self, key: &str) -> Result<Option<Value>> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        let what = format!("metadata key {}", quoted(key));
        Value::read(&mut self.cursor(entry), entry.kind, &what).map(Some).map_err(|what| Error::file(self.path, what))
    }

    /// Every key in the file's order, with its value as one short printable line.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, String)> {
        self.entries.list.iter().map(move |entry| (entry.key.as_str(), self.printed(entry)))
    }

    fn entry(self, key: &str) -> Option<&'a Entry> {
        self.entries.index.get(key).and_then(|&i| self.entries.list.get(i))
    }

    fn cursor(self, entry: &Entry) -> Cursor<'a> {
        Cursor::new(self.bytes, entry.at)
    }

    fn wrong(self, entry: &Entry, expected: &str) -> Error {
        Error::file(self.path, format!("metadata key {} is {}, expected {expected}", quoted(&entry.key), self.printed(entry)))
    }

    fn scalar<T>(self, key: &str, expected: &str, get: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        let value = entry.kind.size().and_then(|_| Value::read(&mut self.cursor(entry), entry.kind, key).ok());
        match value.as_ref().and_then(get) {
            Some(value) => Ok(Some(value)),
            None => Err(self.wrong(entry, expected)),
        }
    }

    fn array<T>(self, key: &str, expected: &str, get: impl Fn(&Value) -> Option<T>) -> Result<Option<Vec<T>>> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        let values = self.elements(entry).and_then(|(element, len, mut cursor)| {
            let bytes = cursor.take(len as u64 * element.size()? as u64, key).ok()?;
            bytes.chunks_exact(element.size()?).map(|bytes| get(&Value::scalar(element, bytes)?)).collect()
        });
        values.map(Some).ok_or_else(|| self.wrong(entry, expected))
    }

    /// Element type and length of an array, and a cursor at its first element. `None` where the value is not an array.
    fn elements(self, entry: &Entry) -> Option<(ValueKind, usize, Cursor<'a>)> {
        if entry.kind != ValueKind::Array {
            return None;
        }
        let mut cursor = self.cursor(entry);
        let (element, len) = array_header(&mut cursor, "").ok()?;
        Some((element, usize::try_from(len).ok()?, cursor))
    }

    fn printed(self, entry: &Entry) -> String {
        const SHOWN: usize = 8;
        let Some((element, len, mut cursor)) = self.elements(entry) else {
            return printed_next(&mut self.cursor(entry), entry.kind);
        };
        let mut text = format!("[{}; {len}]", element.name());
        // The elements of nested arrays are not shown.
        if element != ValueKind::Array {
            for i in 0..len.min(SHOWN) {
                let separator = if i == 0 { " " } else { ", " };
                // Writing to a `String` cannot fail.
                let _ = write!(text, "{separator}{}", printed_next(&mut cursor, element));
            }
            if len > SHOWN {
                text.push_str(", ...");
            }
        }
        text
    }
}

/// Reads the next number, bool or string and returns it as text.
fn printed_next(cursor: &mut Cursor<'_>, kind: ValueKind) -> String {
    if kind == ValueKind::String {
        return cursor.string("").map_or_else(|_| String::new(), |bytes| quoted(&String::from_utf8_lossy(bytes)));
    }
    match Value::read(cursor, kind, "") {
        Ok(Value::Bool(v)) => v.to_string(),
        Ok(Value::F32(v)) => v.to_string(),
        Ok(Value::F64(v)) => v.to_string(),
        Ok(value) => value.integer().unwrap_or_default().to_string(),
        Err(_) => String::new(),
    }
}

/// An array of strings in a file. Iteration finds and decodes them one by one.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    path: &'a Path,
    key: &'a str,
    bytes: &'a [u8],
    at: usize,
    len: usize,
}

impl<'a> Strings<'a> {
    /// Number of strings.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether the array has no strings.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The strings as bytes, of any content.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut cursor = Cursor::new(self.bytes, self.at);
        (0..self.len).map_while(move |_| cursor.string("").ok())
    }

    /// The strings as text. A string that is not UTF-8 gives an error with its number.
    pub fn texts(self) -> impl Iterator<Item = Result<&'a str>> {
        self.iter().enumerate().map(move |(i, bytes)| {
            std::str::from_utf8(bytes).map_err(|_| {
                let shown = quoted(&String::from_utf8_lossy(bytes));
                Error::file(self.path, format!("metadata key {}: string {i} is {shown}, expected UTF-8", quoted(self.key)))
            })
        })
    }
}

//! JSON values in messages: their truth in Python, and the error for a value of the wrong type.

use crate::error::Error;
use serde_json::Value;

/// Whether `value` is true in a Python condition.
pub(super) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

/// The error for a value of the wrong type in `what`.
pub(super) fn wrong(what: &str, expected: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::Text(format!("{what}: expected {expected}, found {found}"))
}

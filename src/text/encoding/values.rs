//! JSON values in messages: which of them count as true, and the error for one of the wrong type.

use crate::error::Error;
use serde_json::Value;

/// Whether Python takes `value` for true.
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

/// The error for a value `found` in `what` that is not what is expected there.
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

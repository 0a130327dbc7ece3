//! The special tokens of V4 that the program itself writes or looks for, by text. Ids differ between models; names do not.
//! The bar is U+FF5C, the low block U+2581: neither is ASCII.

/// Begins every prompt, once.
pub const BOS: &str = "<｜begin▁of▁sentence｜>";
/// Ends every finished assistant turn: the stop token.
pub const EOS: &str = "<｜end▁of▁sentence｜>";
/// Opens a user turn (also tool results and developer messages).
pub const USER: &str = "<｜User｜>";
/// Opens an assistant turn.
pub const ASSISTANT: &str = "<｜Assistant｜>";
/// Opens the reasoning block.
pub const THINK: &str = "<think>";
/// Closes the reasoning block.
pub const THINK_END: &str = "</think>";
/// The mark inside every tool-call tag, between the angle bracket and the tag's name.
pub const DSML: &str = "｜DSML｜";
/// Opens a reminder message.
pub const REMINDER: &str = "<｜latest_reminder｜>";

/// Where a model points at things in a picture. The only tokens that an assistant's own text in the history may spell.
pub const GROUNDING: [&str; 8] =
    ["<｜ref｜>", "<｜/ref｜>", "<｜box｜>", "<｜/box｜>", "<｜point｜>", "<｜/point｜>", "<｜polygon｜>", "<｜/polygon｜>"];

/// The token of a quick-instruction task by the name that messages use, `None` for a name that V4 does not know.
pub fn task(name: &str) -> Option<&'static str> {
    Some(match name {
        "action" => "<｜action｜>",
        "query" => "<｜query｜>",
        "authority" => "<｜authority｜>",
        "domain" => "<｜domain｜>",
        "title" => "<｜title｜>",
        "read_url" => "<｜read_url｜>",
        _ => return None,
    })
}

//! The names of V4's special tokens that this program writes or reads. Models may have other ids for them, but no other names.
//! The bar is U+FF5C and the low block is U+2581; neither is ASCII.

/// Starts every prompt.
pub const BOS: &str = "<｜begin▁of▁sentence｜>";
/// Ends every complete assistant turn. It is the stop token.
pub const EOS: &str = "<｜end▁of▁sentence｜>";
/// Opens a user turn, which may also hold tool results or a developer message.
pub const USER: &str = "<｜User｜>";
/// Opens an assistant turn.
pub const ASSISTANT: &str = "<｜Assistant｜>";
/// Opens the reasoning block.
pub const THINK: &str = "<think>";
/// Closes the reasoning block.
pub const THINK_END: &str = "</think>";
/// The mark in every tool-call tag, between the angle bracket and the tag's name.
pub const DSML: &str = "｜DSML｜";
/// Opens a reminder message.
pub const REMINDER: &str = "<｜latest_reminder｜>";

/// Tokens with which a model points at things in a picture. In earlier assistant turns, text that spells one of them becomes the token.
pub const GROUNDING: [&str; 8] =
    ["<｜ref｜>", "<｜/ref｜>", "<｜box｜>", "<｜/box｜>", "<｜point｜>", "<｜/point｜>", "<｜polygon｜>", "<｜/polygon｜>"];

/// The token of a quick-instruction task by its name in messages, or `None` for a name that V4 does not know.
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

//! Golden data: what other implementations computed, against this one.

mod blocks;
mod corruption;
mod encoding;
mod engine;
mod hyper_parameters;
mod parse;
mod recorder;
mod reference;
mod stream;
mod support;
mod tokenizer;

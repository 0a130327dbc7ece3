//! DwarfStar runs DeepSeek V4 on the GPU a person owns: one model family, finished end to end, on wgpu.
//!
//! Reading order, from bytes to tokens:
//!
//! 1. [`num`] and [`quant`]: number and block formats, bit-exact.
//! 2. [`gguf`] and [`hf`]: model files as bytes and names.
//! 3. [`text`]: tokenizer, prompt encoding, and back.
//! 4. [`model`]: hyper-parameters, tensor names, weights bound and checked.
//! 5. [`reference`](mod@reference): the forward pass in plain Rust, the oracle of every test.
//! 6. [`gpu`] and [`kernels`]: devices, shaders, recordings; one file per kernel family.
//! 7. [`engine`]: a loaded model ([`engine::Engine`]), timelines of tokens ([`engine::Session`]), and the loop that runs them.
//! 8. [`convert`]: quantised and synthetic models, importance matrices.
//! 9. [`verify`]: every kernel against the reference.
//! 10. [`measure`]: how fast a model runs, and how well it predicts a text.
//! 11. [`cli`]: one file a command.
//!
//! Beside them stand [`error`], [`progress`] and [`debug`], which every room may import.
//!
//! `doc/architecture.md` says how the rooms fit together, `doc/spec.md` what the model computes. `tests/repo` fails when a room imports
//! another one that it must not know.

pub mod cli;
pub mod convert;
pub mod debug;
pub mod engine;
pub mod error;
pub mod gguf;
pub mod gpu;
pub mod hf;
pub mod kernels;
pub mod measure;
pub mod model;
pub mod num;
pub mod progress;
pub mod quant;
pub mod reference;
pub mod text;
pub mod verify;

pub use error::{Error, Result};

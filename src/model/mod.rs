//! The model: hyper-parameters from a file of either kind, the names of its tensors, and its weights bound and checked.
//!
//! Opening a [`Model`] reads no weights: every tensor is found, its type and shape are checked, and its bytes stay in the mapped file.
//! Definitions that the engine and the reference share are here too: how a token is sampled, the places of the forward pass that can be
//! tapped, how far a session can be cut back, and rotation angles.
//! This room does not decode weights (`quant`) and does not run the model (`reference`, `engine`). Its tests are in each file; the golden
//! tests run whole models.

mod angles;
mod config;
mod config_gguf;
mod config_hf;
mod files;
mod limits;
mod names;
mod rewind;
mod sampling;
mod tap;
mod tensor;
mod weights;

pub use angles::angles;
pub use config::{Config, LayerConfig, RopeFrequencies, Yarn};
pub use files::{Files, Listed};
pub use names::MTP_PREFIX;
pub use rewind::{REWIND, frontier_rows};
pub use sampling::Sampling;
pub use tap::{NoTaps, Tap, TapData, Taps};
pub use tensor::{Bytes, Table, Tensor};
pub use weights::{AttentionWeights, CompressorWeights, ExpertWeights, Hc, HeadWeights, IndexerWeights, Layer, Model, Mtp, Routing};

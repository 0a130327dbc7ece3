//! The families of kernels, and the shapes of their cases.

use super::bench::Bench;
use super::{attention, compressor, embed, hc, indexer, kv, linear, moe, norm, router, sample, stream};
use crate::Result;
use std::str::FromStr;

/// The shapes of the cases to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shapes {
    /// Small shapes that reach every branch.
    Tiny,
    /// The shapes of V4 Flash.
    Flash,
    /// Both.
    All,
}

/// Kernels that are checked together: those of a folder of shaders, or of two folders whose kernels the same functions record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Embedding.
    Embed,
    /// RMS norms.
    Norm,
    /// Dense matrices.
    Linear,
    /// Hyper-connections.
    Hc,
    /// Queries, keys and rings.
    Kv,
    /// Compressed rows.
    Compressor,
    /// The choice of compressed rows.
    Indexer,
    /// Attention.
    Attention,
    /// The choice of experts.
    Router,
    /// Routed experts.
    Moe,
    /// The choice of a token.
    Sample,
    /// Reading memory, with which benchmarks compare kernels.
    Stream,
}

/// Runs cases of a family.
pub type Cases = fn(&mut Bench<'_>) -> Result<()>;

impl Family {
    /// All families.
    pub const ALL: [Self; 12] = [
        Self::Embed,
        Self::Norm,
        Self::Linear,
        Self::Hc,
        Self::Kv,
        Self::Compressor,
        Self::Indexer,
        Self::Attention,
        Self::Router,
        Self::Moe,
        Self::Sample,
        Self::Stream,
    ];

    /// The name of the family: `embed`, `norm` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Norm => "norm",
            Self::Linear => "linear",
            Self::Hc => "hc",
            Self::Kv => "kv",
            Self::Compressor => "compressor",
            Self::Indexer => "indexer",
            Self::Attention => "attention",
            Self::Router => "router",
            Self::Moe => "moe",
            Self::Sample => "sample",
            Self::Stream => "stream",
        }
    }

    /// The tiny cases, and those of V4 Flash.
    pub(super) fn cases(self) -> [Cases; 2] {
        match self {
            Self::Embed => [embed::tiny, embed::flash],
            Self::Norm => [norm::tiny, norm::flash],
            Self::Linear => [linear::tiny, linear::flash],
            Self::Hc => [hc::tiny, hc::flash],
            Self::Kv => [kv::tiny, kv::flash],
            Self::Compressor => [compressor::tiny, compressor::flash],
            Self::Indexer => [indexer::tiny, indexer::flash],
            Self::Attention => [attention::tiny, attention::flash],
            Self::Router => [router::tiny, router::flash],
            Self::Moe => [moe::tiny, moe::flash],
            Self::Sample => [sample::tiny, sample::flash],
            Self::Stream => [stream::tiny, stream::flash],
        }
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|family| family.name() == text).ok_or_else(|| format!("unknown family {text:?}; there are {}", names()))
    }
}

impl FromStr for Shapes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tiny" => Ok(Self::Tiny),
            "flash" => Ok(Self::Flash),
            "all" => Ok(Self::All),
            _ => Err(format!("unknown shapes {text:?}; there are tiny, flash and all")),
        }
    }
}

//! Recipes, which give each tensor of a model its block format (SPEC 9.1), and requests for a conversion.

use super::importance::Importance;
use crate::gguf::GgmlType;
use crate::quant::BlockFormat;
use regex::Regex;
use std::str::FromStr;

/// A named choice of formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// Routed experts IQ2_XXS (gate, up) and Q2_K (down); attention, shared expert and output matrix Q8_0; other matrices F16.
    Q2,
    /// Like q2, with Q4_K for the routed experts of the last six layers.
    Q2Q4,
    /// Like q2, with Q4_K for all routed experts.
    Q4,
    /// Like q2, with MXFP4 for all routed experts.
    Mxfp4,
    /// Like q2, with Q8_0 for all routed experts.
    Q8,
    /// All matrices F16.
    F16,
}

/// The purpose of a tensor, as far as recipes distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Gate or up matrices of the routed experts.
    ExpertsIn,
    /// Down matrices of the routed experts.
    ExpertsOut,
    /// Attention projections, shared expert, output matrix.
    Dense,
    /// Embedding, hyper-connections, compressors, indexer, router. Their errors matter much, or they are small.
    Sensitive,
    /// Position biases of the compressors, which are always F16.
    PositionBias,
    /// Norms, sinks, biases and other vectors, which are always F32.
    Vector,
    /// The experts of each token id, which are always I32.
    Table,
}

impl Role {
    /// Whether the tensor is a weight matrix, which may have any format.
    pub fn is_matrix(self) -> bool {
        matches!(self, Self::ExpertsIn | Self::ExpertsOut | Self::Dense | Self::Sensitive)
    }
}

/// Number of layers at the end whose experts the recipe q2-q4 keeps at four bits.
const LAST_LAYERS: usize = 6;

impl Recipe {
    /// All recipes.
    pub const ALL: [Self; 6] = [Self::Q2, Self::Q2Q4, Self::Q4, Self::Mxfp4, Self::Q8, Self::F16];

    /// The name in commands: `q2`, `q2-q4`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::Q2 => "q2",
            Self::Q2Q4 => "q2-q4",
            Self::Q4 => "q4",
            Self::Mxfp4 => "mxfp4",
            Self::Q8 => "q8",
            Self::F16 => "f16",
        }
    }

    /// The value of `general.file_type`: llama.cpp's number for the most similar of its own choices of formats.
    pub fn file_type(self) -> u32 {
        match self {
            Self::Q2 | Self::Q2Q4 => 19,
            Self::Q4 => 15,
            Self::Mxfp4 => 38,
            Self::Q8 => 7,
            Self::F16 => 1,
        }
    }

    /// The format of a tensor in layer `layer` of `layers`, or `None` for tables.
    pub fn format(self, role: Role, layer: usize, layers: usize) -> Option<BlockFormat> {
        let experts = |two_bits: BlockFormat| match self {
            Self::Q2 => two_bits,
            Self::Q2Q4 if layer + LAST_LAYERS < layers => two_bits,
            Self::Q2Q4 | Self::Q4 => BlockFormat::Q4K,
            Self::Mxfp4 => BlockFormat::Mxfp4,
            Self::Q8 => BlockFormat::Q8_0,
            Self::F16 => BlockFormat::F16,
        };
        Some(match role {
            Role::ExpertsIn => experts(BlockFormat::Iq2Xxs),
            Role::ExpertsOut => experts(BlockFormat::Q2K),
            Role::Dense if self != Self::F16 => BlockFormat::Q8_0,
            Role::Dense | Role::Sensitive | Role::PositionBias => BlockFormat::F16,
            Role::Vector => BlockFormat::F32,
            Role::Table => return None,
        })
    }
}

impl FromStr for Recipe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|r| r.name() == text).ok_or_else(|| format!("unknown recipe {text:?}; there are {}", names()))
    }
}

/// A format for the weight matrices whose names match a pattern. Written as `PATTERN=TYPE`.
#[derive(Clone, Debug)]
pub struct Override {
    /// A regular expression that must occur in the name.
    pub pattern: Regex,
    /// The format of these matrices.
    pub format: BlockFormat,
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pattern, name) = text.rsplit_once('=').ok_or("expected PATTERN=TYPE, for example attn_q_b=q4_k")?;
        let pattern = Regex::new(pattern).map_err(|error| format!("{pattern:?} is no regular expression: {error}"))?;
        let known = || BlockFormat::ALL.into_iter().filter(|f| GgmlType::of(*f).is_some());
        let format = known().find(|f| f.name().eq_ignore_ascii_case(name));
        let names = || known().map(BlockFormat::name).collect::<Vec<_>>().join(", ");
        Ok(Self { pattern, format: format.ok_or_else(|| format!("unknown type {name:?}; there are {}", names()))? })
    }
}

/// A request for a conversion.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The recipe, which gives each tensor a format by its purpose.
    pub recipe: Recipe,
    /// Formats that replace those of the recipe. Where several match a name, the last one counts.
    pub overrides: &'a [Override],
    /// The importance matrix, if there is one. Without it all errors have the same weight.
    pub importance: Option<&'a Importance>,
    /// Whether to convert the draft block instead of the model.
    pub draft: bool,
}

//! What to make: recipes, which give each tensor of a model its block format (SPEC 9.1), and requests for a conversion.

use super::importance::Importance;
use crate::gguf::GgmlType;
use crate::quant::BlockFormat;
use regex::Regex;
use std::str::FromStr;

/// A named mix of formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// Routed experts IQ2_XXS (gate, up) and Q2_K (down); attention, shared expert and output Q8_0; the rest F16.
    Q2,
    /// As q2, the last six layers' experts Q4_K.
    Q2Q4,
    /// Routed experts Q4_K, the rest as q2.
    Q4,
    /// Routed experts MXFP4, the rest as q2.
    Mxfp4,
    /// Routed experts Q8_0, the rest as q2.
    Q8,
    /// Everything F16.
    F16,
}

/// What a tensor is for, as far as recipes tell tensors apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Gate or up of the routed experts.
    ExpertsIn,
    /// Down of the routed experts.
    ExpertsOut,
    /// Attention projections, shared expert, output head.
    Dense,
    /// Embedding, hyper-connections, compressors, indexer, router: matrices that are small or decide much.
    Sensitive,
    /// The compressors' biases by position: always F16.
    PositionBias,
    /// Norms, sinks, biases and other vectors: always F32.
    Vector,
    /// The experts of token ids: always I32.
    Table,
}

impl Role {
    /// Whether it is a weight matrix, which may have any format.
    pub fn is_matrix(self) -> bool {
        matches!(self, Self::ExpertsIn | Self::ExpertsOut | Self::Dense | Self::Sensitive)
    }
}

/// How many of the last layers q2-q4 keeps at four bits.
const LAST_LAYERS: usize = 6;

impl Recipe {
    /// All recipes.
    pub const ALL: [Self; 6] = [Self::Q2, Self::Q2Q4, Self::Q4, Self::Mxfp4, Self::Q8, Self::F16];

    /// `q2`, `q2-q4`, ...
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

    /// What `general.file_type` says: llama.cpp's number of the nearest of its mixes.
    pub fn file_type(self) -> u32 {
        match self {
            Self::Q2 | Self::Q2Q4 => 19,
            Self::Q4 => 15,
            Self::Mxfp4 => 38,
            Self::Q8 => 7,
            Self::F16 => 1,
        }
    }

    /// The format of a tensor in layer `layer` of `layers`; `None` for tables.
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

/// A format for the weight matrices whose names match: `PATTERN=TYPE`, a regular expression found anywhere in the name.
#[derive(Clone, Debug)]
pub struct Override {
    /// Names that it is for.
    pub pattern: Regex,
    /// Their format.
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

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Formats by what a tensor is for.
    pub recipe: Recipe,
    /// Formats by name; of several that match, the last.
    pub overrides: &'a [Override],
    /// What squared errors weigh.
    pub importance: Option<&'a Importance>,
    /// The draft block into a file of its own, instead of the model.
    pub draft: bool,
}

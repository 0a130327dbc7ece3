//! Model files of any kind, with one way to look up a tensor.

use crate::gguf::{self, GgmlType};
use crate::hf::{self, Dtype};
use crate::quant::BlockFormat;
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// An opened model file or folder. Clones are cheap and share the map.
#[derive(Clone, Debug)]
pub enum Files {
    /// A GGUF file.
    Gguf(Arc<gguf::File>),
    /// A checkpoint folder.
    Folder(Arc<hf::Folder>),
    /// One safetensors file: a draft block without its model.
    Safetensors(Arc<hf::Safetensors>),
}

/// The type of a tensor's elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    /// A block format of GGUF, or plain F32, F16, BF16.
    Block(BlockFormat),
    /// FP8 codes of a checkpoint. Their scales are another tensor.
    Fp8,
    /// FP4 codes of a checkpoint, two in a byte. Their scales are another tensor.
    PackedFp4,
    /// Scales of FP8 or FP4 codes.
    E8m0,
    /// 32-bit signed integers.
    I32,
    /// 64-bit signed integers.
    I64,
    /// A type in which no weight is stored, by the file's name of it.
    Other(String),
}

/// A tensor as it is stored in a file.
pub(super) struct Raw<'a> {
    /// Dimensions, slowest first.
    pub shape: Vec<u64>,
    pub element: Element,
    pub bytes: &'a [u8],
}

/// A tensor of a file, for a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name in the file.
    pub name: String,
    /// Element type, by its name in GGUF or safetensors.
    pub kind: String,
    /// Dimensions, slowest first.
    pub shape: Vec<u64>,
    /// Number of values that the tensor stands for, 0 for the scales of other tensors.
    pub elements: u64,
    /// Size in bytes.
    pub bytes: u64,
}

impl Files {
    /// Every tensor, in the file's order.
    pub fn listing(&self) -> Vec<Listed> {
        let from_views = |views: &mut dyn Iterator<Item = hf::TensorView<'_>>| {
            views
                .map(|view| {
                    let shape: Vec<u64> = view.shape.iter().map(|&d| d as u64).collect();
                    // A checkpoint packs two FP4 values in a byte. Scales belong to the values of another tensor.
                    let values_per_element = match view.dtype {
                        Dtype::I8 => 2,
                        Dtype::F8E8m0 => 0,
                        _ => 1,
                    };
                    let elements = shape.iter().product::<u64>() * values_per_element;
                    Listed { name: view.name.into(), kind: view.dtype.name().into(), shape, elements, bytes: view.bytes.len() as u64 }
                })
                .collect()
        };
        match self {
            Self::Gguf(file) => file
                .tensors()
                .iter()
                .map(|t| Listed {
                    name: t.name.clone(),
                    kind: t.kind.name(),
                    shape: t.shape.iter().rev().copied().collect(),
                    elements: t.shape.iter().product(),
                    bytes: t.bytes,
                })
                .collect(),
            Self::Folder(folder) => from_views(&mut folder.names().filter_map(|name| folder.tensor(name))),
            Self::Safetensors(file) => from_views(&mut file.names().filter_map(|name| file.tensor(name))),
        }
    }

    /// One line for each metadata key, with its value or the beginning of it.
    pub fn metadata_lines(&self) -> Vec<String> {
        match self {
            Self::Gguf(file) => file.metadata().iter().map(|(key, value)| format!("{key} = {value}")).collect(),
            Self::Folder(folder) => {
                folder.config().as_object().map_or(Vec::new(), |o| o.iter().map(|(k, v)| format!("{k} = {v}")).collect())
            }
            Self::Safetensors(_) => Vec::new(),
        }
    }

    /// Opens the checkpoint folder, the `.safetensors` file or the GGUF file at `path`.
    ///
    /// # Errors
    /// Where it cannot be read or is not what it claims to be.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(Arc::new(hf::Folder::open(path)?)));
        }
        match path.extension().and_then(|e| e.to_str()) {
            Some("safetensors") => Ok(Self::Safetensors(Arc::new(hf::Safetensors::open(path)?))),
            Some("json") => Err(Error::file(path, "is not a model: expected a GGUF file or a checkpoint folder")),
            _ => Ok(Self::Gguf(Arc::new(gguf::File::open(path)?))),
        }
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        match self {
            Self::Gguf(file) => file.path(),
            Self::Folder(folder) => folder.path(),
            Self::Safetensors(file) => file.path(),
        }
    }

    /// Whether the tensors have GGUF's names.
    pub(super) fn is_gguf(&self) -> bool {
        matches!(self, Self::Gguf(_))
    }

    pub(super) fn find(&self, name: &str) -> Option<Raw<'_>> {
        match self {
            Self::Gguf(file) => {
                let tensor = file.tensor(name)?;
                let element = match tensor.kind {
                    GgmlType::I32 => Element::I32,
                    GgmlType::I64 => Element::I64,
                    kind => kind.format().map_or_else(|| Element::Other(kind.name()), Element::Block),
                };
                Some(Raw { shape: tensor.shape.iter().rev().copied().collect(), element, bytes: file.bytes(tensor) })
            }
            Self::Folder(folder) => folder.tensor(name).map(raw),
            Self::Safetensors(file) => file.tensor(name).map(raw),
        }
    }

    /// The bytes of a tensor that is known to be in the file, because it was bound.
    pub(super) fn bytes(&self, name: &str) -> &[u8] {
        self.find(name).map_or(&[], |raw| raw.bytes)
    }
}

fn raw(view: hf::TensorView<'_>) -> Raw<'_> {
    let element = match view.dtype {
        Dtype::F32 => Element::Block(BlockFormat::F32),
        Dtype::F16 => Element::Block(BlockFormat::F16),
        Dtype::Bf16 => Element::Block(BlockFormat::Bf16),
        Dtype::F8E4m3 => Element::Fp8,
        Dtype::I8 | Dtype::U8 => Element::PackedFp4,
        Dtype::F8E8m0 => Element::E8m0,
        Dtype::I32 => Element::I32,
        Dtype::I64 => Element::I64,
        Dtype::Other(name) => Element::Other(name.to_string()),
    };
    Raw { shape: view.shape.iter().map(|&d| d as u64).collect(), element, bytes: view.bytes }
}

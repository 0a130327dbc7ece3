//! Where a model comes from: a file or folder that the user named, or the demo model that is built in.

use super::args::ModelArgs;
use super::screen::note;
use crate::debug::environment;
use crate::gguf;
use crate::model::{Files, Model, Mtp};
use crate::text::Tokenizer;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The demo model: a GGUF file of recipe q8. The README of tools/demo says how it was made.
static MODEL: &[u8] = include_bytes!("demo/model.gguf");

/// The draft block of the demo model.
static DRAFT: &[u8] = include_bytes!("demo/draft.gguf");

/// How error messages call the demo model and its draft block.
const MODEL_NAME: &str = "bundled demo model";
const DRAFT_NAME: &str = "draft block of the bundled demo model";

/// The word that names the bundled draft block in `--mtp`.
const BUNDLED: &str = "bundled";

/// Where to load a model from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A GGUF file or a checkpoint folder, or a tokenizer.json for commands that need no weights.
    Named(PathBuf),
    /// The demo model.
    Bundled,
}

impl Source {
    /// The model that `-m` names, or else the environment. If neither does, it is the demo model, and a line on stderr says so.
    pub fn of(args: &ModelArgs) -> Self {
        match args.model.clone().or_else(|| environment().model.clone()) {
            Some(path) => Self::Named(path),
            None => {
                note("using the bundled demo model, which knows little; pass -m FILE (a GGUF file or a checkpoint folder) for a real one");
                Self::Bundled
            }
        }
    }

    /// The path for messages, or the name of the demo model.
    pub fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Bundled => Path::new(MODEL_NAME),
        }
    }

    /// Opens the files and checks their headers. No weights are read.
    pub fn files(&self) -> Result<Files> {
        match self {
            Self::Named(path) => Ok(Files::open(path)?),
            Self::Bundled => bundled(MODEL, MODEL_NAME),
        }
    }

    /// Reads the model's tokenizer, or the tokenizer.json if the source is one.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let file = match self {
            Self::Named(path) if path.is_dir() => path.join("tokenizer.json"),
            Self::Named(path) if path.extension().is_some_and(|e| e == "json") => path.clone(),
            _ => return self.tokenizer_in(&self.files()?),
        };
        let bytes = std::fs::read(&file).with_context(|| format!("{}: cannot read the tokenizer", file.display()))?;
        Ok(Tokenizer::from_json(&bytes, &file)?)
    }

    /// The tokenizer of a model whose files are open.
    pub fn tokenizer_in(&self, files: &Files) -> Result<Tokenizer> {
        match files {
            Files::Gguf(file) => Ok(Tokenizer::from_gguf(file)?),
            _ => self.tokenizer(),
        }
    }
}

/// Binds the draft block that `--mtp` names to `model`: a file, or the bundled one.
pub fn draft_block(model: &Model, name: &Path) -> Result<Mtp> {
    let files = if name == Path::new(BUNDLED) { bundled(DRAFT, DRAFT_NAME)? } else { Files::open(name)? };
    Ok(model.bind_mtp(&files)?)
}

fn bundled(bytes: &'static [u8], name: &str) -> Result<Files> {
    Ok(Files::Gguf(Arc::new(gguf::File::from_bytes(bytes, Path::new(name))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_model_and_its_draft_block_are_small_and_whole() {
        assert!(MODEL.len() + DRAFT.len() <= 8_000_000);
        let files = Source::Bundled.files().unwrap();
        let model = Model::bind(&files).unwrap();
        assert!(model.config.layers.iter().any(|l| l.ratio == 4) && model.config.layers.iter().any(|l| l.ratio == 128));
        assert_eq!(Source::Bundled.tokenizer().unwrap().vocab_size(), model.config.vocabulary as usize);
        assert!(!draft_block(&model, Path::new(BUNDLED)).unwrap().tensors().is_empty());
        let wrong = bundled(&MODEL[..100], MODEL_NAME).unwrap_err().to_string();
        assert!(wrong.starts_with("bundled demo model: the number of metadata keys"), "{wrong}");
    }

    #[test]
    fn the_bytes_are_not_copied() {
        let Files::Gguf(file) = Source::Bundled.files().unwrap() else { panic!("not a GGUF file") };
        let tensor = file.tensors().iter().max_by_key(|t| t.bytes).unwrap();
        assert!(MODEL.as_ptr_range().contains(&file.bytes(tensor).as_ptr()));
    }
}

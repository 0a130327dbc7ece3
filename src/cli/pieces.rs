//! Cuts texts into pieces of equal length, for the commands that measure a model on a text.

use crate::engine::TokenId;
use crate::text::Tokenizer;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
pub struct TextArgs {
    /// A text file in UTF-8; the option may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    pub text: Vec<PathBuf>,
    /// The number of tokens of a piece; each piece starts with the beginning-of-sentence token and does not see the piece before
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub piece: u32,
    /// The largest number of pieces to run [default: all]
    #[arg(short = 'n', long, value_name = "N")]
    pub pieces: Option<usize>,
    /// Turn special tokens that the text spells out into their ids, instead of treating them as plain text
    #[arg(long)]
    pub special: bool,
}

impl TextArgs {
    /// Reads the texts and cuts them into pieces. An incomplete piece at the end of a text is dropped.
    pub fn read(&self, tokenizer: &Tokenizer) -> Result<Vec<Vec<TokenId>>> {
        let mut pieces = Vec::new();
        let bos = tokenizer.bos();
        let content = self.piece as usize - usize::from(bos.is_some());
        for path in &self.text {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let ids = if self.special { tokenizer.encode(&text)? } else { tokenizer.encode_plain(&text)? };
            if ids.len() < content {
                bail!("{}: {} tokens, fewer than a piece of {}; lower --piece", path.display(), ids.len(), self.piece);
            }
            pieces.extend(ids.chunks_exact(content).map(|ids| bos.into_iter().chain(ids.iter().copied()).collect::<Vec<_>>()));
        }
        pieces.truncate(self.pieces.unwrap_or(usize::MAX));
        if pieces.is_empty() {
            bail!("no piece of text to run");
        }
        Ok(pieces)
    }

    /// Names of the texts.
    pub fn names(&self) -> Vec<String> {
        self.text.iter().map(|path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()).collect()
    }
}

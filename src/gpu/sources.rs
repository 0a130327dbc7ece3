//! The shader files that are built in, by their path under `shaders/`, and the names of their flags and constants.

use crate::debug::environment;
use crate::{Error, Result};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::OnceLock;

/// The path without extension and the text of each file. `shaders/build.rs` makes the list.
const SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// Flags that enable an extension of the shading language, and the extension of each.
pub(super) const EXTENSIONS: [(&str, &str); 2] = [("F16", "f16"), ("COOPERATIVE", "wgpu_cooperative_matrix")];

/// The name of a kernel without its folder.
pub(super) fn stem(path: &'static str) -> &'static str {
    path.rsplit('/').next().unwrap_or(path)
}

fn kernel_paths() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|(path, _)| *path).filter(|path| !path.starts_with("lib/"))
}

/// The names of all kernels.
pub fn kernels() -> impl Iterator<Item = &'static str> {
    kernel_paths().map(stem)
}

/// The path of the kernel `name`, without extension.
pub(super) fn kernel_path(name: &str) -> Option<&'static str> {
    kernel_paths().find(|path| stem(path) == name)
}

/// The path and text of the kernel `name`.
///
/// # Errors
/// There is no such kernel, or DWARFSTAR_SHADERS names a folder in which its file cannot be read.
pub(super) fn kernel_source(name: &str) -> Result<(&'static str, Cow<'static, str>)> {
    kernel_path(name).map_or_else(|| Err(missing(name)), import_source)
}

/// The path and text of the shader file at `path`.
///
/// # Errors
/// As [`kernel_source`].
pub(super) fn import_source(path: &str) -> Result<(&'static str, Cow<'static, str>)> {
    let &(path, text) = SOURCES.iter().find(|(known, _)| *known == path).ok_or_else(|| missing(path))?;
    match &environment().shaders {
        None => Ok((path, Cow::Borrowed(text))),
        Some(folder) => {
            let file = folder.join(path).with_extension("wgsl");
            let text = std::fs::read_to_string(&file).map_err(|e| Error::file(&file, e))?;
            Ok((path, Cow::Owned(text)))
        }
    }
}

fn missing(name: &str) -> Error {
    Error::Device(format!("there is no shader {name}"))
}

/// `name`, if a built-in shader uses a flag or constant of this name or if it is a flag of [`EXTENSIONS`].
pub(super) fn known_name(name: &str) -> Option<&'static str> {
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = || SOURCES.iter().flat_map(|(_, text)| text.split(|c| !is_part(c)));
    let names = NAMES.get_or_init(|| words().chain(EXTENSIONS.map(|(flag, _)| flag)).collect());
    names.get(name).copied().filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
}

//! The rules that a compiler cannot enforce: which room imports which, where the environment is read, how shaders are written.
//!
//! A rule is a function from files to breaches. Its test runs it on the repository, which has none, and on a few files with a planted
//! breach, which it must find, in the right line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod adding;
mod architecture;
mod circles;
mod documents;
mod headers;
mod imports;
mod modules;
mod places;
mod speed;
mod syntax;
mod texts;

use std::fmt;
use std::fs;
use std::path::Path;

/// A file by its path in the repository.
#[derive(Clone, Debug)]
struct File {
    path: String,
    text: String,
}

/// Where a rule is broken, and how.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    path: String,
    line: usize,
    what: String,
}

impl Breach {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_string(), line, what: what.into() }
    }
}

/// Assertions print it: as compilers print places.
impl fmt::Debug for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// All files with `extension` under `folder`, sorted by path.
fn read(folder: &str, extension: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let parts = path.strip_prefix(root).unwrap().iter().map(|part| part.to_str().unwrap());
                found.push(File { path: parts.collect::<Vec<_>>().join("/"), text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} files under {folder}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Asserts that the repository keeps a rule.
fn assert_none(breaches: &[Breach]) {
    let lines: Vec<String> = breaches.iter().map(|breach| format!("{breach:?}")).collect();
    assert!(lines.is_empty(), "{} in breach of the rule\n{}", lines.len(), lines.join("\n"));
}

/// Files with a breach in them.
fn planted(files: &[(&str, &str)]) -> Vec<File> {
    files.iter().map(|(path, text)| File { path: (*path).to_string(), text: (*text).to_string() }).collect()
}

//! The house rules that a compiler cannot enforce: who imports whom, where the environment is read, how shaders are written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that a room may import besides itself and what everyone may: `num`, `error`, `progress`, `debug`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("num", &[]),
    ("error", &[]),
    ("progress", &[]),
    ("debug", &[]),
    ("gpu", &[]),
    ("quant", &[]),
    ("gguf", &["quant"]),
    ("hf", &["quant"]),
    ("text", &["gguf"]),
    ("model", &["gguf", "hf", "quant"]),
    ("reference", &["model", "gguf", "hf", "quant"]),
    ("kernels", &["gpu", "quant"]),
    ("engine", &["kernels", "gpu", "reference", "model", "quant"]),
    ("convert", &["model", "gguf", "hf", "quant", "engine"]),
    ("cli", &["convert", "engine", "gguf", "gpu", "hf", "kernels", "model", "quant", "reference", "text"]),
];

const EVERYONE_MAY: &[&str] = &["num", "error", "progress", "debug", "Error", "Result"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with `extension` under `folder`, with their text.
fn files(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} files under {folder}");
    found
}

/// Lines outside `#[cfg(test)]`: test modules are at the end of a file, and are the only thing behind that attribute.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]").map(|(i, line)| (i + 1, line))
}

/// The rooms named in `line` as `crate::room` or in `crate::{room, ...}`.
fn rooms_named(line: &str) -> Vec<&str> {
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + 7..];
        let names = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
        let several = rest.starts_with('{');
        for name in names.split(if several { ',' } else { ' ' }) {
            let name = name.trim();
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            if end > 0 {
                rooms.push(&name[..end]);
            }
            if !several {
                break;
            }
        }
    }
    rooms
}

#[test]
fn rooms_import_only_what_they_may() {
    let rules: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for (path, text) in files("src", "rs") {
        let part = path.iter().nth(1).unwrap().to_str().unwrap();
        let room = part.trim_end_matches(".rs");
        if ["lib", "main"].contains(&room) {
            continue;
        }
        let allowed = rules.get(room).unwrap_or_else(|| panic!("{} is in no room", path.display()));
        for (number, line) in product_lines(&text).filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for named in rooms_named(line) {
                if named != room && !EVERYONE_MAY.contains(&named) {
                    if allowed.contains(&named) {
                        seen.insert((room.to_string(), named.to_string()));
                    } else {
                        wrong.push(format!("{}:{number}: {room} imports {named}", path.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The reader of imports works: it found edges that are known to be there.
    for edge in [("engine", "kernels"), ("kernels", "gpu"), ("model", "hf"), ("cli", "engine")] {
        assert!(seen.contains(&(edge.0.to_string(), edge.1.to_string())), "{edge:?} was not found");
    }
}

#[test]
fn the_environment_is_read_in_one_place() {
    for (path, text) in files("src", "rs") {
        if path.ends_with("debug.rs") {
            assert!(text.contains("env::var"));
            continue;
        }
        let reads = product_lines(&text).find(|(_, line)| line.contains("env::var") || line.contains("env!("));
        assert_eq!(reads, None, "{}", path.display());
    }
}

#[test]
fn gpu_types_stay_in_their_room() {
    for (path, text) in files("src", "rs").into_iter().filter(|(path, _)| !path.starts_with("src/gpu")) {
        let named = product_lines(&text).find(|(_, line)| line.contains("wgpu::") && !line.trim_start().starts_with("//"));
        assert_eq!(named, None, "{}", path.display());
    }
}

#[test]
fn files_stay_readable() {
    for (path, text) in files("src", "rs").into_iter().chain(files("shaders", "wgsl")).chain(files("tests", "rs")) {
        let lines = text.lines().count();
        // Tables are exempt.
        let is_table = path.ends_with("iq2_xxs_grid.rs");
        assert!(is_table || lines <= 700, "{} has {lines} lines", path.display());
    }
}

/// Kernel files: everything under shaders/ but lib/.
fn kernels() -> Vec<(String, String)> {
    files("shaders", "wgsl")
        .into_iter()
        .filter(|(path, _)| !path.starts_with("shaders/lib"))
        .map(|(path, text)| (path.file_stem().unwrap().to_str().unwrap().to_string(), text))
        .collect()
}

#[test]
fn every_kernel_opens_with_the_same_header() {
    const LINES: [&str; 7] = ["in", "out", "params", "grid", "needs", "cost", "source"];
    for (name, text) in kernels() {
        let comments: Vec<&str> = text.lines().take_while(|line| line.starts_with("//")).map(|line| line[2..].trim_start()).collect();
        assert!(comments[0].starts_with(&format!("{name}: ")), "{name}: the first line names the kernel and gives its formula");
        let words: Vec<&str> =
            comments.iter().filter_map(|line| line.split_whitespace().next()).filter(|word| LINES.contains(word)).collect();
        assert_eq!(words, LINES, "{name}: lines of the header");
        assert!(text.contains(&format!("fn {name}(")), "{name}: the entry point is named like the file");
    }
}

#[test]
fn every_kernel_is_built_in_and_checked_against_the_reference() {
    let sources = fs::read_to_string(root().join("src/gpu/sources.rs")).unwrap();
    let checks: String = files("src/cli/verify", "rs").into_iter().map(|(_, text)| text).collect();
    for (path, _) in files("shaders", "wgsl") {
        let listed = path.with_extension("").strip_prefix("shaders").unwrap().display().to_string();
        assert!(sources.contains(&format!("\"{listed}\"")), "{listed} is not listed in src/gpu/sources.rs");
    }
    // Two kernels are seen only through others: the grouping through the matmul that it feeds, the yardstick through the benchmark.
    let indirect = ["moe_group", "moe_combine", "stream_read"];
    for (name, _) in kernels().into_iter().filter(|(name, _)| !indirect.contains(&&name[..])) {
        assert!(checks.contains(&format!("\"{name}\"")), "{name} has no check under src/cli/verify");
    }
}

#[test]
fn no_unfinished_marks() {
    let marks = ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "XX".to_owned() + "X", "un".to_owned() + "implemented!"];
    for (path, text) in files("src", "rs").into_iter().chain(files("shaders", "wgsl")).chain(files("tests", "rs")) {
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} contains {mark}", path.display());
        }
    }
}

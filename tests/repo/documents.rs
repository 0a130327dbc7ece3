//! Everything that documents point to exists: targets of links, headings, and paths in code type. The manifest lists the tests' data.

use super::architecture::code;
use super::{Breach, File, assert_none, planted};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Entries of the root folder that do not belong to the repository.
const NOT_OURS: &[&str] = &["target", ".git"];

/// The paths of all files and folders of the repository; those of folders end with a slash.
fn paths() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}{}", entry.file_name().to_str().unwrap());
            if NOT_OURS.contains(&&path[..]) {
                continue;
            }
            let path = if entry.file_type().unwrap().is_dir() { format!("{path}/") } else { path };
            if path.ends_with('/') {
                folders.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

/// The documents among `paths`.
fn documents(paths: &BTreeSet<String>) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = paths.iter().filter(|path| path.ends_with(".md"));
    documents.map(|path| File { path: path.clone(), text: fs::read_to_string(root.join(path)).unwrap() }).collect()
}

/// The targets of links outside of blocks of code, with the numbers of their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut is_block = false;
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        is_block ^= line.starts_with("```");
        if !is_block {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            found.extend(targets.map(|(target, _)| (i + 1, target)));
        }
    }
    found
}

/// `path`, as it is written in a file of `folder`, from the root: without `.` and `..`.
fn resolved(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// What a link calls the heading `line`.
fn anchor(line: &str) -> String {
    let kept = line.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Whether there is a file or folder at `path`.
fn is_there(paths: &BTreeSet<String>, path: &str) -> bool {
    paths.contains(path) || paths.contains(&format!("{}/", path.trim_end_matches('/')))
}

/// Links of `documents` that lead nowhere.
fn dead_links(documents: &[File], paths: &BTreeSet<String>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for document in documents {
        let folder = document.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, target) in links(&document.text).into_iter().filter(|(_, target)| !target.contains("://")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { document.path.clone() } else { resolved(folder, path) };
            let read = documents.iter().find(|other| other.path == path);
            let has_heading = |read: &File| read.text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
            if !is_there(paths, &path) {
                breaches.push(Breach::new(&document.path, line, format!("there is no {path}")));
            } else if !heading.is_empty() && !read.is_some_and(has_heading) {
                breaches.push(Breach::new(&document.path, line, format!("{path} has no heading {heading}")));
            }
        }
    }
    breaches
}

/// Words in code type that begin like paths of the repository and are none. A file of `shaders/lib/` may have the name that imports use.
fn dead_paths(documents: &[File], paths: &BTreeSet<String>) -> Vec<Breach> {
    let tops: Vec<&str> = paths.iter().filter(|path| path.find('/') == Some(path.len() - 1)).map(String::as_str).collect();
    let mut breaches = Vec::new();
    for document in documents {
        for (line, code) in code(&document.text) {
            for word in code.split(|c: char| c.is_whitespace() || ",;:()\"'".contains(c)) {
                // A pattern stands for several names, or for one that the reader chooses.
                let is_pattern = word.contains(['*', '<', '{', '$', '|']);
                let shader = word.strip_prefix("lib/").map(|name| format!("shaders/lib/{}.wgsl", name.trim_end_matches(".wgsl")));
                let path = shader.unwrap_or_else(|| word.to_string());
                let is_path = tops.iter().any(|top| path.starts_with(top));
                if is_path && !is_pattern && !is_there(paths, &path) {
                    breaches.push(Breach::new(&document.path, line, format!("there is no {word}")));
                }
            }
        }
    }
    breaches
}

/// Where the list of the tests' data is, beside the data.
const MANIFEST: &str = "tests/data/MANIFEST.md";

/// Files beside the manifest that it does not name, and names of its tables that are no files. An asterisk stands for any part of a name.
fn listed_otherwise(manifest: &str, paths: &BTreeSet<String>) -> Vec<Breach> {
    let folder = MANIFEST.trim_end_matches("MANIFEST.md");
    let data: Vec<&str> = paths
        .iter()
        .filter_map(|path| path.strip_prefix(folder))
        .filter(|path| !path.is_empty() && !path.ends_with('/') && *path != "MANIFEST.md")
        .collect();
    let cells = manifest
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with("| `"))
        .map(|(i, line)| (i + 1, line.split(" | ").next().unwrap_or(line)));
    let names: Vec<(usize, &str)> =
        cells.flat_map(|(line, cell)| cell.split('`').skip(1).step_by(2).map(move |name| (line, name))).collect();
    let is_named = |name: &str, path: &str| match name.split_once('*') {
        Some((before, after)) => path.len() >= before.len() + after.len() && path.starts_with(before) && path.ends_with(after),
        None => name == path,
    };
    let missing = data.iter().filter(|path| !names.iter().any(|(_, name)| is_named(name, path)));
    let mut breaches: Vec<Breach> = missing.map(|path| Breach::new(MANIFEST, 1, format!("{path} is not listed"))).collect();
    let gone = names.iter().filter(|(_, name)| !data.iter().any(|path| is_named(name, path)));
    breaches.extend(gone.map(|(line, name)| Breach::new(MANIFEST, *line, format!("there is no {name}"))));
    breaches
}

#[test]
fn the_data_of_the_tests_are_listed() {
    let paths = paths();
    let manifest = documents(&paths).into_iter().find(|file| file.path == MANIFEST).unwrap_or_else(|| panic!("there is no {MANIFEST}"));
    assert_none(&listed_otherwise(&manifest.text, &paths));
}

#[test]
fn data_that_are_not_listed_are_found() {
    let paths = ["tests/data/", MANIFEST, "tests/data/a.json", "tests/data/b/", "tests/data/b/1.txt", "tests/data/b/2.txt"]
        .map(String::from)
        .into();
    let right = "| file | what |\n|---|---|\n| `a.json` | read by `c.rs` |\n| `b/*.txt` | more |\n";
    assert_eq!(listed_otherwise(right, &paths), []);
    let found = listed_otherwise(&right.replace("*", "2"), &paths);
    assert_eq!(found, [Breach::new(MANIFEST, 1, "b/1.txt is not listed")]);
    let found = listed_otherwise(&right.replace("`a.json`", "`a.json`, `c.json`"), &paths);
    assert_eq!(found, [Breach::new(MANIFEST, 3, "there is no c.json")]);
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let paths = paths();
    assert_none(&dead_links(&documents(&paths), &paths));
}

#[test]
fn paths_that_the_documents_name_are_there() {
    let paths = paths();
    assert_none(&dead_paths(&documents(&paths), &paths));
}

fn some_paths() -> BTreeSet<String> {
    let paths = [
        "doc/",
        "doc/a.md",
        "doc/b.svg",
        "README.md",
        "shaders/",
        "shaders/lib/",
        "shaders/lib/reduce/workgroup.wgsl",
        "tools/",
        "tools/test",
    ];
    paths.map(String::from).into()
}

#[test]
fn a_dead_link_is_found() {
    let text = "see [all](../README.md) and\n[one](a.md#the-first-heading-really) ![picture](b.svg) [out](https://example.org/x)\n";
    let documents = |text: &str| planted(&[("doc/a.md", &format!("# The first heading, really\n{text}")), ("README.md", "[docs](doc)\n")]);
    assert_eq!(dead_links(&documents(text), &some_paths()), []);
    let ways = [
        ("../README.md", "README.md", 2, "there is no doc/README.md"),
        ("b.svg", "c.svg", 3, "there is no doc/c.svg"),
        ("#the-first", "#the-second", 3, "doc/a.md has no heading the-second-heading-really"),
    ];
    for (right, wrong, line, what) in ways {
        assert_eq!(dead_links(&documents(&text.replace(right, wrong)), &some_paths()), [Breach::new("doc/a.md", line, what)], "{wrong}");
    }
}

#[test]
fn a_path_of_nothing_is_found() {
    let text = "`tools/test`, `lib/reduce/workgroup`, `shaders/lib/`\n`cat doc/a.md doc/*.md` and/or `src/x.rs` of another\n";
    assert_eq!(dead_paths(&planted(&[("README.md", text)]), &some_paths()), []);
    for (right, wrong, line) in [("tools/test", "tools/tests", 1), ("lib/reduce/workgroup", "lib/produce", 1), ("doc/a.md", "doc/c.md", 2)]
    {
        let found = dead_paths(&planted(&[("README.md", &text.replace(right, wrong))]), &some_paths());
        assert_eq!(found, [Breach::new("README.md", line, format!("there is no {wrong}"))]);
    }
}

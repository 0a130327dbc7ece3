//! No file is too long, and none has a mark of unfinished work.

use super::{Breach, File, assert_none, planted, read};

/// The largest number of lines of a file. Tables are exempt.
const LONGEST: usize = 700;
const TABLES: &[&str] = &["src/quant/iq2_xxs_grid.rs"];

/// All that is written for the project: program, shaders, tests.
fn all() -> Vec<File> {
    [read("src", "rs"), read("shaders", "wgsl"), read("tests", "rs")].concat()
}

fn long_files(files: &[File]) -> Vec<Breach> {
    let long = files.iter().filter(|file| !TABLES.contains(&&file.path[..])).map(|file| (file, file.text.lines().count()));
    let long = long.filter(|(_, lines)| *lines > LONGEST);
    long.map(|(file, lines)| Breach::new(&file.path, LONGEST + 1, format!("has {lines} lines, {LONGEST} are the most"))).collect()
}

/// Words that mark unfinished work; put together here, because this file is read too.
fn marks() -> [String; 5] {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["un", "implemented!"], ["to", "do!"]].map(|halves| halves.concat())
}

fn unfinished_marks(files: &[File]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files {
        for (i, line) in file.text.lines().enumerate() {
            let found = marks().into_iter().filter(|mark| line.contains(&mark[..]));
            breaches.extend(found.map(|mark| Breach::new(&file.path, i + 1, format!("contains {mark}"))));
        }
    }
    breaches
}

#[test]
fn files_stay_readable() {
    assert_none(&long_files(&all()));
}

#[test]
fn a_long_file_is_found() {
    let (most, more) = ("//\n".repeat(700), "//\n".repeat(701));
    let files = planted(&[("src/a.rs", &most), ("shaders/b/b.wgsl", &more), ("src/quant/iq2_xxs_grid.rs", &more)]);
    assert_eq!(long_files(&files), [Breach::new("shaders/b/b.wgsl", 701, "has 701 lines, 700 are the most")]);
}

#[test]
fn no_unfinished_marks() {
    assert_none(&unfinished_marks(&all()));
}

#[test]
fn an_unfinished_mark_is_found() {
    for mark in marks() {
        let text = format!("fn a() {{}}\n    // {mark}: the rest\n");
        let found = unfinished_marks(&planted(&[("src/a.rs", "fn a() {}\n"), ("tests/b.rs", &text)]));
        assert_eq!(found, [Breach::new("tests/b.rs", 2, format!("contains {mark}"))]);
    }
}

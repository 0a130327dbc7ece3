//! doc/architecture.md describes the code as it is: its drawing of the rooms equals the table of imports, its lists of files are complete,
//! and everything that it names exists.

use super::imports::{MAY_IMPORT, Row, floors};
use super::{Breach, File, assert_none, planted, read};
use std::collections::{BTreeMap, BTreeSet, HashSet};

const PAGE: &str = "doc/architecture.md";

/// Folders whose files the page lists, under a heading of the folder's name.
const LISTED: &[&str] = &["src/engine/", "src/engine/gpu/", "src/gpu/", "src/gpu/wgpu/"];

fn page() -> String {
    read("doc", "md").into_iter().find(|file| file.path == PAGE).unwrap_or_else(|| panic!("there is no {PAGE}")).text
}

fn breach(line: usize, what: impl Into<String>) -> Breach {
    Breach::new(PAGE, line, what)
}

/// The lines of the block of code that is marked as the drawing, with their numbers.
fn drawing(page: &str) -> Vec<(usize, &str)> {
    let lines = page.lines().enumerate().map(|(i, line)| (i + 1, line));
    lines.skip_while(|(_, line)| *line != "```rooms").skip(1).take_while(|(_, line)| *line != "```").collect()
}

/// Where the drawing differs from `table`. A line has a floor, the rooms on it, and after an arrow the rooms that each of them may import.
fn drawn_otherwise(page: &str, table: &[Row]) -> Vec<Breach> {
    let floors = floors(table).unwrap_or_else(|rooms| panic!("{rooms:?} stand on no floor"));
    let names = |list: &str| list.split(',').map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).collect::<BTreeSet<_>>();
    let (mut breaches, mut drawn, mut end) = (Vec::new(), BTreeSet::new(), 1);
    for (line, text) in drawing(page) {
        end = line;
        let (place, imports) = text.split_once("->").unwrap_or((text, ""));
        let (floor, rooms) = place.trim().split_once(' ').unwrap_or((place, ""));
        for room in names(rooms) {
            let Some((_, may)) = table.iter().find(|(name, _)| *name == room) else {
                breaches.push(breach(line, format!("{room} is no room")));
                continue;
            };
            if floors[&room[..]].to_string() != floor {
                breaches.push(breach(line, format!("{room} stands on floor {}, not on {floor}", floors[&room[..]])));
            }
            let may: BTreeSet<String> = may.iter().map(ToString::to_string).collect();
            if may != names(imports) {
                breaches.push(breach(line, format!("{room} may import {may:?}, not {:?}", names(imports))));
            }
            if !drawn.insert(room.clone()) {
                breaches.push(breach(line, format!("{room} is drawn twice")));
            }
        }
    }
    let missing = table.iter().filter(|(room, _)| !drawn.contains(*room));
    breaches.extend(missing.map(|(room, _)| breach(end, format!("{room} is not drawn"))));
    breaches
}

/// The texts in code type outside of blocks of code, with the numbers of their lines.
pub(super) fn code(page: &str) -> Vec<(usize, &str)> {
    let mut is_block = false;
    let mut found = Vec::new();
    for (i, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            is_block = !is_block;
        } else if !is_block {
            found.extend(line.split('`').skip(1).step_by(2).map(|name| (i + 1, name)));
        }
    }
    found
}

/// Files in the folders `listed` that the page does not name under the folder's heading, and names there that are no files.
fn listed_otherwise(page: &str, listed: &[&str], files: &[File]) -> Vec<Breach> {
    let headings: BTreeMap<usize, &str> =
        page.lines().enumerate().filter(|(_, line)| line.starts_with('#')).map(|(i, l)| (i + 1, l)).collect();
    let mut breaches = Vec::new();
    for folder in listed {
        let Some((&start, _)) = headings.iter().find(|(_, heading)| heading.contains(&format!("`{folder}`"))) else {
            breaches.push(breach(1, format!("there is no heading for {folder}")));
            continue;
        };
        let end = headings.range(start + 1..).next().map_or(usize::MAX, |(line, _)| *line);
        let named: BTreeMap<&str, usize> = code(page)
            .into_iter()
            .filter(|(line, name)| (start + 1..end).contains(line) && name.ends_with(".rs") && !name.contains('/'))
            .map(|(line, name)| (name, line))
            .collect();
        let there: BTreeSet<&str> =
            files.iter().filter_map(|file| file.path.strip_prefix(folder)).filter(|name| !name.contains('/')).collect();
        let missing = there.iter().filter(|name| !named.contains_key(*name));
        breaches.extend(missing.map(|name| breach(start, format!("{folder}{name} is not listed"))));
        let gone = named.iter().filter(|(name, _)| !there.contains(*name));
        breaches.extend(gone.map(|(name, line)| breach(*line, format!("there is no {folder}{name}"))));
    }
    breaches
}

/// Whether `name`, which looks like a path, is that of a file or folder, or the end of it.
fn is_path(name: &str, files: &[File]) -> bool {
    let end = format!("/{name}");
    files
        .iter()
        .map(|file| format!("/{}", file.path))
        .any(|path| if name.ends_with('/') { path.contains(&end) } else { path.ends_with(&end) })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

/// Names in code type that no file has: paths of `files`, and words that stand in none of `sources`.
fn names_of_nothing(page: &str, files: &[File], sources: &[File]) -> Vec<Breach> {
    let known: HashSet<&str> = sources.iter().flat_map(|file| words(&file.text)).collect();
    let mut breaches = Vec::new();
    for (line, name) in code(page) {
        let looks_like_path = name.contains('/') || [".rs", ".wgsl", ".md"].iter().any(|end| name.ends_with(end));
        let is_there = if looks_like_path {
            is_path(name, files)
        } else {
            // A name that ends with an asterisk stands for all that begin like it.
            words(name).all(|word| known.contains(word) || name.ends_with('*') && known.iter().any(|other| other.starts_with(word)))
        };
        if !is_there {
            breaches.push(breach(line, format!("there is no {name}")));
        }
    }
    breaches
}

/// Programs, shaders and tests; and with them what else the page may name.
fn repository() -> (Vec<File>, Vec<File>) {
    let sources = [read("src", "rs"), read("shaders", "wgsl"), read("tests", "rs")].concat();
    // This file is left out, because the names in its planted mistakes are no names of the program.
    let sources: Vec<File> = sources.into_iter().filter(|file| !file.path.ends_with("tests/repo/architecture.rs")).collect();
    let this = planted(&[("tests/repo/architecture.rs", "")]);
    let files = [sources.clone(), this, read("doc", "md"), read("benches", "txt")].concat();
    (sources, files)
}

#[test]
fn rooms_are_drawn_as_they_may_import() {
    assert_none(&drawn_otherwise(&page(), MAY_IMPORT));
}

#[test]
fn a_wrong_line_of_the_drawing_is_found() {
    const HOUSE: &[Row] = &[("num", &[]), ("error", &[]), ("progress", &[]), ("debug", &[]), ("gpu", &[]), ("kernels", &["gpu"])];
    const RIGHT: &str = "# House\n```rooms\n2  kernels -> gpu\n1  gpu\n0  num, error, progress, debug\n```\n3 attic\n";
    assert_eq!(drawn_otherwise(RIGHT, HOUSE), []);
    let ways = [
        ("2  kernels", "3  kernels", 3, "kernels stands on floor 2, not on 3"),
        ("-> gpu", "-> gpu, num", 3, "kernels may import {\"gpu\"}, not {\"gpu\", \"num\"}"),
        ("-> gpu", "", 3, "kernels may import {\"gpu\"}, not {}"),
        ("1  gpu", "1  gpu, attic", 4, "attic is no room"),
        ("num, error,", "num,", 5, "error is not drawn"),
        ("0  num", "0  num, gpu", 5, "gpu stands on floor 1, not on 0"),
    ];
    for (right, wrong, line, what) in ways {
        let found = drawn_otherwise(&RIGHT.replacen(right, wrong, 1), HOUSE);
        assert_eq!(found.first(), Some(&breach(line, what)), "{wrong}");
    }
    assert_eq!(drawn_otherwise("no drawing", HOUSE).len(), HOUSE.len());
    let twice = drawn_otherwise(&RIGHT.replacen("1  gpu\n", "1  gpu\n1  gpu\n", 1), HOUSE);
    assert_eq!(twice, [breach(5, "gpu is drawn twice")]);
}

#[test]
fn files_of_the_engine_and_of_the_gpu_are_listed() {
    assert_none(&listed_otherwise(&page(), LISTED, &read("src", "rs")));
}

#[test]
fn a_file_that_is_not_listed_is_found() {
    let files = planted(&[("src/a/mod.rs", ""), ("src/a/b.rs", ""), ("src/a/b/c.rs", "")]);
    let right = "## Files\n### `src/a/`: all of it\n* `mod.rs` is a door, `b.rs` a room, `a/other.rs` elsewhere.\n## Else\n`d.rs`\n";
    assert_eq!(listed_otherwise(right, &["src/a/"], &files), []);
    let found = listed_otherwise(&right.replace("`b.rs`", "`c.rs`"), &["src/a/"], &files);
    assert_eq!(found, [breach(2, "src/a/b.rs is not listed"), breach(3, "there is no src/a/c.rs")]);
    assert_eq!(listed_otherwise(right, &["src/b/"], &files), [breach(1, "there is no heading for src/b/")]);
}

#[test]
fn what_the_page_names_is_there() {
    let (sources, files) = repository();
    assert_none(&names_of_nothing(&page(), &files, &sources));
}

#[test]
fn a_name_of_nothing_is_found() {
    let files = planted(&[("src/a/mod.rs", "impl Door {\n    fn open_wide() {}\n}\n"), ("shaders/b.wgsl", "fn b() {}\n")]);
    let right = "`a/mod.rs`, `src/a/` and `shaders/b.wgsl`: `Door::open_wide`, `open_*`\n```rust\n`nothing`\n```\nand `fn b()`\n";
    assert_eq!(names_of_nothing(right, &files, &files), []);
    for (name, wrong) in [("a/mod.rs", "a/other.rs"), ("src/a/", "src/c/"), ("Door::open_wide", "Door::shut"), ("open_*", "close_*")] {
        let found = names_of_nothing(&right.replace(name, wrong), &files, &files);
        assert_eq!(found, [breach(1, format!("there is no {wrong}"))]);
    }
}

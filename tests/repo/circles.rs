//! Files of a room do not import each other in a circle.

use super::modules::{Modules, Target, room_of};
use super::{Breach, File, assert_none, planted, read};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The files of each room that a file imports, and in which line first.
type Graph = BTreeMap<String, BTreeMap<String, usize>>;

/// Imports between files of one room. A re-export from a module below does not count: `mod.rs` needs nothing of what it hands on.
fn graph(files: &[File]) -> Graph {
    let mut graph = Graph::new();
    for named in Modules::read(files).named() {
        let Target::File(to) = named.target else { continue };
        if named.room.is_none() && !named.handed_on && to != named.file && room_of(&to) == room_of(named.file) {
            graph.entry(named.file.to_string()).or_default().entry(to).or_insert(named.line);
        }
    }
    graph
}

/// The shortest way from `from` to `to` along imports, both included.
fn way(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(file) = queue.pop_front() {
        if file == to {
            let mut way = vec![to.to_string()];
            while way.last().is_some_and(|last| last != from) {
                way.extend(before.get(&way[way.len() - 1][..]).map(|file| (*file).to_string()));
            }
            way.reverse();
            return Some(way);
        }
        for next in graph.get(file).into_iter().flatten().map(|(next, _)| &next[..]) {
            if next != from && !before.contains_key(next) {
                before.insert(next, file);
                queue.push_back(next);
            }
        }
    }
    None
}

/// Where files of a room import each other in a circle: one breach for all files that reach each other.
fn circles(files: &[File]) -> Vec<Breach> {
    let graph = graph(files);
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    for (from, to_all) in &graph {
        let ways = to_all.iter().filter_map(|(to, line)| Some((way(&graph, to, from)?, line)));
        let Some((back, line)) = ways.min_by_key(|(back, _)| back.len()) else { continue };
        // Files that all reach each other may form many circles, of which the first is reported.
        let knot = graph.keys().filter(|file| way(&graph, from, file).is_some() && way(&graph, file, from).is_some());
        if seen.insert(knot.collect::<Vec<_>>()) {
            breaches.push(Breach::new(from, *line, format!("files import each other in a circle: {from} -> {}", back.join(" -> "))));
        }
    }
    breaches
}

#[test]
fn files_of_a_room_do_not_import_each_other_in_a_circle() {
    assert_none(&circles(&read("src", "rs")));
}

#[test]
fn a_circle_of_files_is_found() {
    let room = |first: &str, second: &str, third: &str| {
        let root = "mod first;\nmod second;\nmod third;\npub use first::First;\npub use second::Second;\npub struct Whole;\n";
        let files = [("lib.rs", "mod a;\n"), ("a/mod.rs", root), ("a/first.rs", first), ("a/second.rs", second), ("a/third.rs", third)];
        planted(&files.map(|(path, text)| (&*format!("src/{path}").leak(), text)))
    };
    // The circle leads through the re-exports of the room, which form none themselves.
    let (first, second, third) = ("pub struct First;\n", "use super::First;\npub struct Second;\n", "use super::{Second, Whole};\n");
    assert_eq!(circles(&room(first, second, third)), []);
    let back = "pub struct First;\n\npub type Other =\n    super::third::Third;\n";
    let what = "files import each other in a circle: src/a/first.rs -> src/a/third.rs -> src/a/second.rs -> src/a/first.rs";
    assert_eq!(circles(&room(back, second, third)), [Breach::new("src/a/first.rs", 4, what)]);
}

#[test]
fn a_macro_without_import_closes_a_circle_too() {
    let files = planted(&[
        ("src/lib.rs", "mod a;\n"),
        ("src/a/mod.rs", "#[macro_use]\nmod params;\nmod family;\n"),
        ("src/a/params.rs", "macro_rules! params {\n    () => {};\n}\n\npub use super::family::LAYOUTS;\n"),
        ("src/a/family.rs", "pub const LAYOUTS: u32 = 0;\nparams! {}\n"),
    ]);
    let what = "files import each other in a circle: src/a/family.rs -> src/a/params.rs -> src/a/family.rs";
    assert_eq!(circles(&files), [Breach::new("src/a/family.rs", 2, what)]);
}

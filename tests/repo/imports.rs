//! Which room may import which: rooms stand on floors, and import only rooms below.

use super::modules::{Modules, room_of};
use super::{Breach, File, assert_none, planted, read};
use std::collections::{BTreeMap, BTreeSet};

/// The rooms that each room may import, besides itself and [`EVERYONE_MAY`].
pub const MAY_IMPORT: &[Row] = &[
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
    ("verify", &["convert", "gpu", "kernels", "model", "quant", "reference"]),
    ("measure", &["engine", "gpu", "kernels", "model", "verify"]),
    ("cli", &["convert", "engine", "gguf", "gpu", "hf", "kernels", "measure", "model", "quant", "reference", "text", "verify"]),
];

/// The rooms of floor 0: every other room may import them, and they import nothing.
const EVERYONE_MAY: &[&str] = &["num", "error", "progress", "debug"];

pub type Row = (&'static str, &'static [&'static str]);

/// Imports of rooms that `table` does not allow.
fn foreign_imports(files: &[File], table: &[Row]) -> Vec<Breach> {
    let rules: BTreeMap<&str, &[&str]> = table.iter().copied().collect();
    let is_door = |file: &str| ["src/lib.rs", "src/main.rs"].contains(&file);
    let modules = Modules::read(files);
    let mut breaches = modules.lost.clone();
    for file in files.iter().filter(|file| !is_door(&file.path) && !rules.contains_key(room_of(&file.path))) {
        breaches.push(Breach::new(&file.path, 1, "is in no room"));
    }
    for named in modules.named().iter().filter(|named| !is_door(named.file)) {
        let (room, Some(other)) = (room_of(named.file), named.room) else { continue };
        let on_the_ground = EVERYONE_MAY.contains(&other) && !EVERYONE_MAY.contains(&room);
        if !on_the_ground && rules.get(room).is_some_and(|allowed| !allowed.contains(&other)) {
            breaches.push(Breach::new(named.file, named.line, format!("{room} imports {other}")));
        }
    }
    once(breaches)
}

/// The floor of each room: one above the highest that it may import. Fails with the rooms that have none, because a room that they may
/// import may import them, or does not exist.
pub fn floors(table: &[Row]) -> Result<BTreeMap<&'static str, usize>, Vec<&'static str>> {
    let mut floors: BTreeMap<&str, usize> = BTreeMap::new();
    while floors.len() < table.len() {
        let left: Vec<Row> = table.iter().copied().filter(|(room, _)| !floors.contains_key(room)).collect();
        let mut next = Vec::new();
        for (room, to) in &left {
            let ground = if EVERYONE_MAY.contains(room) { &[] } else { EVERYONE_MAY };
            let below: Option<Vec<usize>> = to.iter().chain(ground).map(|other| floors.get(other).copied()).collect();
            next.extend(below.map(|below| (*room, below.iter().max().map_or(0, |highest| highest + 1))));
        }
        if next.is_empty() {
            return Err(left.iter().map(|(room, _)| *room).collect());
        }
        floors.extend(next);
    }
    Ok(floors)
}

fn once(mut breaches: Vec<Breach>) -> Vec<Breach> {
    breaches.sort();
    breaches.dedup();
    breaches
}

#[test]
fn rooms_import_only_what_they_may() {
    let files = read("src", "rs");
    assert_none(&foreign_imports(&files, MAY_IMPORT));
    // Imports that are known to be there are seen.
    let modules = Modules::read(&files);
    let seen: BTreeSet<(&str, &str)> = modules.named().iter().filter_map(|named| Some((room_of(named.file), named.room?))).collect();
    for edge in [("engine", "kernels"), ("kernels", "gpu"), ("model", "hf"), ("cli", "engine"), ("cli", "error")] {
        assert!(seen.contains(&edge), "{edge:?} was not found");
    }
}

#[test]
fn rooms_stand_on_floors() {
    let floors = floors(MAY_IMPORT).unwrap_or_else(|rooms| panic!("{rooms:?} may import each other in a circle, or what is no room"));
    for (room, to) in MAY_IMPORT {
        let highest = to.iter().map(|other| floors[other]).max().unwrap_or(0);
        assert!(highest < floors[room] || EVERYONE_MAY.contains(room), "{room} is on floor {}, not above {to:?}", floors[room]);
    }
}

#[test]
fn a_circle_of_rooms_is_found() {
    const GROUND: [Row; 3] = [("error", &[]), ("progress", &[]), ("debug", &[])];
    let [error, progress, debug] = GROUND;
    let table = [error, progress, debug, ("num", &[]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &[])];
    assert_eq!(floors(&table), Err(vec!["a", "b", "c"]));
    // Up and down again, and to a room that there is none of.
    let table = [error, progress, debug, ("num", &["a"]), ("a", &[])];
    assert_eq!(floors(&table), Err(vec!["num", "a"]));
    let table = [error, progress, debug, ("num", &[]), ("a", &["attic"]), ("b", &[])];
    assert_eq!(floors(&table), Err(vec!["a"]));
}

/// A few files, of which `changed` gets another text. The engine may import the room gpu, and nobody may import the engine.
fn house(changed: &str, text: &str) -> Vec<File> {
    let mut files = vec![
        ("src/lib.rs", "pub mod engine;\npub mod error;\npub mod gpu;\npub use error::Error;\n"),
        ("src/engine/mod.rs", "mod session;\npub use session::Session;\npub use crate::gpu::Gpu;\n"),
        ("src/engine/session.rs", "pub struct Session;\nimpl Session {\n    pub fn new() -> Self {\n        Self\n    }\n}\n"),
        ("src/error.rs", "pub struct Error;\n"),
        ("src/gpu/mod.rs", "mod device;\npub use device::Gpu;\n"),
        ("src/gpu/device.rs", "pub struct Gpu;\n"),
    ];
    files.iter_mut().filter(|(path, _)| *path == changed).for_each(|file| file.1 = text);
    planted(&files)
}

const HOUSE: &[Row] = &[("error", &[]), ("gpu", &[]), ("engine", &["gpu"])];

#[test]
fn a_foreign_import_is_found_however_it_is_written() {
    let ways: &[(usize, &str)] = &[
        (1, "use crate::engine::Session;\n"),
        (5, "use crate::{\n    error::Error,\n    // The engine.\n    engine::{\n        Session,\n    },\n};\n"),
        (1, "use super::super::engine::Session;\n"),
        (1, "use self::super::super::engine as motor;\n"),
        (1, "use super::super::engine::*;\n"),
        (2, "use crate::{self as house};\npub fn f(_: house::engine::Session) {}\n"),
        (2, "use crate::*;\npub fn f(_: engine::Session) {}\n"),
        (2, "extern crate self as house;\npub type S = house::engine::Session;\n"),
        (2, "pub fn f() {\n    let _ = crate::engine::Session::new();\n}\n"),
        (3, "pub struct S {\n    pub a: u32,\n    pub b: Vec<Option<super::super::engine::Session>>,\n}\n"),
        (2, "pub fn f() {\n    use crate::engine::Session;\n}\n"),
        (2, "pub mod inner {\n    pub use super::super::super::engine::Session;\n}\n"),
        (2, "pub fn f() -> String {\n    format!(\"{}\", crate::engine::Session::NAME)\n}\n"),
        (3, "macro_rules! m {\n    () => {\n        $crate::engine::Session\n    };\n}\n"),
        (4, "macro_rules! m {\n    () => {\n        use crate::{\n            engine::Session,\n        };\n    };\n}\n"),
        (2, "pub trait T {}\nimpl T for crate::engine::Session {}\n"),
        (1, "#[cfg(not(test))]\nuse crate::engine::Session;\n"),
    ];
    for (line, text) in ways {
        let line = line + usize::from(text.starts_with("#[cfg"));
        let found = foreign_imports(&house("src/gpu/device.rs", &format!("{text}pub struct Gpu;\n")), HOUSE);
        assert_eq!(found, [Breach::new("src/gpu/device.rs", line, "gpu imports engine")], "{text}");
    }
}

#[test]
fn what_is_no_foreign_import_is_left_alone() {
    let ways = [
        "use crate::Error;\nuse crate::error::Error as E;\npub fn f(_: crate::Error) {}\n",
        "//! As `crate::engine::Session` does.\n/// See [`crate::engine::Session`].\npub struct Gpu;\n",
        "#[cfg(test)]\nmod tests {\n    use crate::engine::Session;\n}\n",
        "pub struct Gpu;\nimpl Gpu {\n    #[cfg(test)]\n    fn f(_: crate::engine::Session) {}\n}\n",
        "pub mod engine {\n    pub struct Session;\n}\npub fn f(_: engine::Session, _: self::engine::Session) {}\n",
        "pub fn f(engine: u32) -> u32 {\n    engine\n}\n",
    ];
    for text in ways {
        assert_eq!(foreign_imports(&house("src/gpu/device.rs", text), HOUSE), [], "{text}");
    }
    // The engine hands on a type of the device: who imports it imports the engine.
    let taken = "use super::Gpu;\nuse crate::gpu::Gpu as G;\npub struct Session;\n";
    assert_eq!(foreign_imports(&house("src/engine/session.rs", taken), HOUSE), []);
}

#[test]
fn the_ground_imports_nothing_and_every_file_is_in_a_room() {
    let found = foreign_imports(&house("src/error.rs", "pub struct Error(\n    super::gpu::Gpu,\n);\n"), HOUSE);
    assert_eq!(found, [Breach::new("src/error.rs", 2, "error imports gpu")]);
    let found = foreign_imports(&house("", ""), &HOUSE[..2]);
    assert_eq!(found, ["mod.rs", "session.rs"].map(|file| Breach::new(&format!("src/engine/{file}"), 1, "is in no room")));
    let found = foreign_imports(&house("src/gpu/mod.rs", "#[path = \"device.rs\"]\nmod other;\n"), HOUSE);
    assert_eq!(found, [Breach::new("src/gpu/device.rs", 1, "no `mod` declares this file")]);
}

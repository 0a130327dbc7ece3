//! The picture of speeds, doc/speed.svg, shows the table that it was drawn from.

use super::{Breach, assert_none, read};
use std::collections::BTreeMap;

const TABLE: &str = "benches/results/nvidia-h200/2026-11-30-peers.csv";
const PICTURE: &str = "doc/speed.svg";

/// The largest rounding error of a bar's length, in units of the picture: lengths have one decimal.
const ROUNDING: f64 = 0.051;

/// Length of the longest bar of each measurement.
const LONGEST: f64 = 200.0;

fn file(folder: &str, extension: &str, path: &str) -> String {
    read(folder, extension).into_iter().find(|file| file.path == path).unwrap_or_else(|| panic!("there is no {path}")).text
}

/// The cells of the table that are not empty: (engine, column) and what stands there.
fn cells(table: &str) -> BTreeMap<(String, String), String> {
    let mut rows = table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(',').collect::<Vec<_>>());
    let columns = rows.next().unwrap_or_default();
    let cell = |row: &[&str], i: usize| ((row[0].to_string(), columns[i].to_string()), row[i].to_string());
    rows.flat_map(|row| (1..row.len()).map(|i| cell(&row, i)).collect::<Vec<_>>()).filter(|(_, value)| !value.is_empty()).collect()
}

/// The text between `before` and `after` in `line`.
fn between<'a>(line: &'a str, before: &str, after: &str) -> &'a str {
    line.split_once(before).and_then(|(_, rest)| rest.split_once(after)).map_or("", |(found, _)| found)
}

/// A bar: its length, the value that its title names, and the number written behind it.
type Bar<'a> = (f64, &'a str, &'a str);

/// The bars of the picture by what their titles name, with the number of their line. A bar is a line, and its number the next one.
fn bars(picture: &str) -> BTreeMap<(String, String), (usize, Bar<'_>)> {
    let lines: Vec<&str> = picture.lines().collect();
    let mut found = BTreeMap::new();
    for (i, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("<rect ")) {
        let title = between(line, "<title>", "</title>");
        let (name, value) = title.rsplit_once(": ").unwrap_or((title, ""));
        let (engine, column) = name.rsplit_once(", ").unwrap_or((name, ""));
        let length = between(line, "width=\"", "\"").parse().unwrap_or(f64::NAN);
        let written = lines.get(i + 1).map_or("", |next| between(next, ">", "</text>"));
        found.insert((engine.to_string(), column.to_string()), (i + 1, (length, value, written)));
    }
    found
}

/// Where `picture` shows something else than `table`.
fn drawn_otherwise(table: &str, picture: &str) -> Vec<Breach> {
    let (cells, bars) = (cells(table), bars(picture));
    let number = |value: &str| value.parse::<f64>().unwrap_or(f64::NAN);
    let mut breaches = Vec::new();
    for ((engine, column), value) in &cells {
        let Some(&(line, (length, titled, written))) = bars.get(&(engine.clone(), column.clone())) else {
            breaches.push(Breach::new(PICTURE, 1, format!("there is no bar for {engine}, {column}")));
            continue;
        };
        if titled != value || written != value {
            breaches.push(Breach::new(PICTURE, line, format!("{engine}, {column} is {value}, not {titled} and {written}")));
        }
        let largest = cells.iter().filter(|((_, other), _)| other == column).map(|(_, v)| number(v)).fold(0.0, f64::max);
        let wanted = number(value) / largest * LONGEST;
        if length.is_nan() || (length - wanted).abs() >= ROUNDING {
            breaches.push(Breach::new(PICTURE, line, format!("{engine}, {column} is {length} long, not {wanted:.1}")));
        }
    }
    let more = bars.iter().filter(|(name, _)| !cells.contains_key(name));
    breaches
        .extend(more.map(|((engine, column), (line, _))| Breach::new(PICTURE, *line, format!("{engine}, {column} is not in the table"))));
    breaches
}

#[test]
fn the_picture_of_speeds_shows_its_table() {
    assert_none(&drawn_otherwise(&file("benches", "csv", TABLE), &file("doc", "svg", PICTURE)));
}

#[test]
fn a_bar_that_shows_something_else_is_found() {
    const TABLE: &str = "# a comment\nengine,fast_tps,load_s\nours,100.0,\ntheirs,25,8\n";
    const RIGHT: &str = "<svg>\n<rect width=\"200.0\"><title>ours, fast_tps: 100.0</title></rect>\n<text>100.0</text>\n\
                         <rect width=\"50.0\"><title>theirs, fast_tps: 25</title></rect>\n<text>25</text>\n\
                         <rect width=\"200.0\"><title>theirs, load_s: 8</title></rect>\n<text>8</text>\n</svg>\n";
    assert_eq!(drawn_otherwise(TABLE, RIGHT), []);
    let ways = [
        ("width=\"50.0\"", "width=\"60.0\"", 4, "theirs, fast_tps is 60 long, not 50.0"),
        ("fast_tps: 25", "fast_tps: 24", 4, "theirs, fast_tps is 25, not 24 and 25"),
        ("<text>8<", "<text>9<", 6, "theirs, load_s is 8, not 8 and 9"),
        ("theirs, load_s", "ours, load_s", 1, "there is no bar for theirs, load_s"),
    ];
    for (right, wrong, line, what) in ways {
        let found = drawn_otherwise(TABLE, &RIGHT.replacen(right, wrong, 1));
        assert_eq!(found.first(), Some(&Breach::new(PICTURE, line, what)), "{wrong}");
    }
    assert_eq!(drawn_otherwise("engine,fast_tps,load_s\nours,100.0,\n", RIGHT).len(), 2);
}

//! The tables of doc/adding.md name all files that name the example of their section, and no others. The table of doc/using.md has a row
//! for every command.

use super::architecture::code;
use super::{Breach, File, assert_none, planted, read};
use std::collections::BTreeSet;

const PAGE: &str = "doc/adding.md";
const COMMANDS: &str = "doc/using.md";

/// A section of the page: the names of its example, and the files of its table with the numbers of their lines.
struct Example<'a> {
    line: usize,
    names: BTreeSet<&'a str>,
    files: Vec<(usize, &'a str)>,
}

/// The sections of `page` that have an example: a line that begins with `Example:` and has the names in code type.
fn examples(page: &str) -> Vec<Example<'_>> {
    let (code, mut found) = (code(page), Vec::new());
    let lines: Vec<&str> = page.lines().collect();
    for (i, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("Example: ")) {
        let end = lines[i..].iter().position(|line| line.starts_with('#')).map_or(lines.len(), |n| i + n);
        let names = code.iter().filter(|(line, _)| *line == i + 1);
        let cells =
            lines[i..end].iter().enumerate().filter_map(|(n, line)| Some((i + n + 1, line.strip_prefix("| `")?.split_once('`')?.0)));
        found.push(Example { line: i + 1, names: names.map(|(_, name)| *name).collect(), files: cells.collect() });
    }
    found
}

/// Whether the file has one of `names` as its own name or as a word in its code. Comments and unit tests do not count.
fn names_one(file: &File, names: &BTreeSet<&str>) -> bool {
    let stem = file.path.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or("");
    let code = file.text.lines().take_while(|line| *line != "#[cfg(test)]").map(|line| line.split("//").next().unwrap_or(line));
    code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')).chain([stem]).any(|word| names.contains(word))
}

/// Files of tables that do not name their example, and files of `sources` that do and are in no table.
fn tables_otherwise(page: &str, sources: &[File]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for Example { line, names, files } in examples(page) {
        let naming: BTreeSet<&str> = sources.iter().filter(|file| names_one(file, &names)).map(|file| &file.path[..]).collect();
        let wrong = files.iter().filter(|(_, file)| !naming.contains(file));
        breaches.extend(wrong.map(|(line, file)| Breach::new(PAGE, *line, format!("{file} names none of {names:?}"))));
        let missing = naming.iter().filter(|path| !files.iter().any(|(_, file)| file == *path));
        breaches.extend(missing.map(|path| Breach::new(PAGE, line, format!("{path} names one of {names:?} and is not in the table"))));
    }
    breaches
}

/// The cases of `enum Command` as the program calls them: in lower case.
fn commands(text: &str) -> Vec<String> {
    let cases = text.lines().skip_while(|line| *line != "enum Command {").skip(1).take_while(|line| *line != "}");
    cases.filter_map(|line| line.trim().split_once('(')).map(|(name, _)| name.to_ascii_lowercase()).collect()
}

/// Commands that the table of `page` does not begin a row with.
fn commands_without_a_row(page: &str, commands: &[String]) -> Vec<Breach> {
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let has_row = |command: &str| {
        let names =
            |row: &str| code(row.split(" | ").next().unwrap_or(row)).iter().any(|(_, name)| name.split(' ').next() == Some(command));
        rows.iter().any(|row| names(row))
    };
    let missing = commands.iter().filter(|command| !has_row(command));
    missing.map(|command| Breach::new(COMMANDS, 1, format!("there is no row for the command {command}"))).collect()
}

fn page(path: &str) -> String {
    read("doc", "md").into_iter().find(|file| file.path == path).unwrap_or_else(|| panic!("there is no {path}")).text
}

/// Files of the program; those that are unit tests as a whole are left out.
fn sources() -> Vec<File> {
    let all = [read("src", "rs"), read("shaders", "wgsl")].concat();
    all.into_iter().filter(|file| !file.path.ends_with("/tests.rs")).collect()
}

#[test]
fn the_tables_of_the_page_are_complete() {
    let page = page(PAGE);
    assert!(examples(&page).iter().all(|example| !example.names.is_empty() && example.files.len() > 1));
    assert_eq!(examples(&page).len(), page.matches("\n## ").count(), "a section without an example");
    assert_none(&tables_otherwise(&page, &sources()));
}

#[test]
fn a_file_that_the_table_lacks_is_found() {
    let sources = planted(&[
        ("src/a/door.rs", "// a door\npub struct Door;\n"),
        ("src/a/mod.rs", "mod door;\n"),
        ("src/b.rs", "// Door\nfn b() {}\n#[cfg(test)]\nmod tests { use Door; }\n"),
    ]);
    let right =
        "# How\n## A door\nExample: `Door`, `door`.\n\n| file | what |\n|---|---|\n| `src/a/door.rs` | it |\n| `src/a/mod.rs` | all |\n";
    assert_eq!(tables_otherwise(right, &sources), []);
    let breach = |line: usize, what: &str| vec![Breach::new(PAGE, line, what)];
    let lacks = right.replace("| `src/a/mod.rs` | all |\n", "");
    let what = "src/a/mod.rs names one of {\"Door\", \"door\"} and is not in the table";
    assert_eq!(tables_otherwise(&lacks, &sources), breach(3, what));
    let more = format!("{right}| `src/b.rs` | nothing |\n");
    assert_eq!(tables_otherwise(&more, &sources), breach(9, "src/b.rs names none of {\"Door\", \"door\"}"));
}

#[test]
fn every_command_has_a_row() {
    let program = read("src/cli", "rs").into_iter().find(|file| file.path == "src/cli/mod.rs").unwrap();
    let commands = commands(&program.text);
    assert!(commands.len() > 10, "{commands:?}");
    assert_none(&commands_without_a_row(&page(COMMANDS), &commands));
}

#[test]
fn a_command_without_a_row_is_found() {
    let commands =
        commands("enum Command {\n    /// Opens it\n    Open(Open),\n    /// Shuts it\n    Shut(ShutCommand),\n}\nOther(Case),\n");
    assert_eq!(commands, ["open", "shut"]);
    let page = "| command | does |\n|---|---|\n| `open FILE` | as `shut` does not |\n";
    assert_eq!(commands_without_a_row(page, &commands), [Breach::new(COMMANDS, 1, "there is no row for the command shut")]);
    assert_eq!(commands_without_a_row(&page.replace("`open FILE`", "`open`, `shut`"), &commands), []);
}

//! Comments cite the specification as in `SPEC 3.1 (step 5)`. Every citation must name a section and steps that `doc/spec.md` has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

/// The numbers of the sections of `doc/spec.md`, and of the steps that each of them lists.
type Sections = BTreeMap<String, BTreeSet<u32>>;

/// The section and the steps that a reference names.
#[derive(Debug, PartialEq)]
struct Reference {
    section: String,
    steps: Vec<u32>,
}

/// The number of references in a text, and one line for each wrong one.
#[derive(Debug, Default)]
struct Findings {
    references: usize,
    wrong: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads the numbers of headings such as `### 3.1 Attention`, and of the items of numbered lists under them.
///
/// # Errors
/// Where two headings have the same number.
fn sections(spec: &str) -> Result<Sections, String> {
    let mut sections = Sections::new();
    let mut current = None;
    for line in spec.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let word = heading.trim_start_matches('#').split_whitespace().next().unwrap_or("").trim_end_matches('.');
            let numbered = word.starts_with(|c: char| c.is_ascii_digit());
            current = numbered.then(|| word.to_string());
            if numbered && sections.insert(word.to_string(), BTreeSet::new()).is_some() {
                return Err(format!("two sections have the number {word}"));
            }
        } else if let (Some(section), Some((number, _))) = (&current, line.split_once(". "))
            && let Ok(step) = number.parse()
            && let Some(steps) = sections.get_mut(section)
        {
            steps.insert(step);
        }
    }
    Ok(sections)
}

/// Reads the rest of a reference after its first word: ` 3.1`, ` 3.1 (step 5)` or ` 3.1 (steps 4, 5)`. `None` for any other form, and
/// where another section or a step follows outside the parentheses, because it would not be checked.
fn reference(rest: &str) -> Option<Reference> {
    let rest = rest.strip_prefix(' ')?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    // A full stop after the number ends the sentence.
    let section = rest[..end].trim_end_matches('.');
    if section.is_empty() {
        return None;
    }
    let mut remainder = &rest[section.len()..];
    let mut steps = Vec::new();
    if let Some(list) = remainder.strip_prefix(" (step") {
        let (list, after) = list.strip_prefix('s').unwrap_or(list).split_once(')')?;
        steps = list.split(',').map(|step| step.strip_prefix(' ')?.parse().ok()).collect::<Option<_>>()?;
        remainder = after;
    }
    let next = remainder.trim_start_matches([' ', ',', '-']);
    let next = next.strip_prefix("and ").unwrap_or(next);
    let continues = remainder.len() > next.len() && (next.starts_with(|c: char| c.is_ascii_digit()) || next.starts_with("step"));
    (!continues).then(|| Reference { section: section.to_string(), steps })
}

/// The fault of a reference, or `None` for a correct one.
fn judge(rest: &str, sections: &Sections) -> Option<String> {
    let Some(found) = reference(rest) else {
        let start: String = rest.chars().take(20).collect();
        return Some(format!("expected a section as in SPEC 3.1, SPEC 3.1 (step 5) or SPEC 3.1 (steps 4, 5), found {start:?}"));
    };
    let Some(steps) = sections.get(&found.section) else {
        return Some(format!("doc/spec.md has no section {}", found.section));
    };
    let missing = found.steps.iter().find(|step| !steps.contains(step))?;
    Some(format!("section {} of doc/spec.md has no step {missing}", found.section))
}

/// The line number of every `word` in `lines`, and the rest of its line.
fn mentions<'a>(lines: impl Iterator<Item = &'a str>, word: &str) -> Vec<(usize, &'a str)> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (number, line) in lines.enumerate() {
        for (at, _) in line.match_indices(word) {
            let rest = &line[at + word.len()..];
            if !line[..at].ends_with(in_word) && !rest.starts_with(in_word) {
                found.push((number + 1, rest));
            }
        }
    }
    found
}

fn check(file: &str, mentions: &[(usize, &str)], sections: &Sections) -> Findings {
    let wrong = mentions.iter().filter_map(|(line, rest)| Some(format!("{file}:{line}: {}", judge(rest, sections)?))).collect();
    Findings { references: mentions.len(), wrong }
}

/// The citations in the comments of a source file.
fn citations(file: &str, text: &str, sections: &Sections) -> Findings {
    let comments = text.lines().map(|line| line.find("//").map_or("", |at| &line[at..]));
    check(file, &mentions(comments, "SPEC"), sections)
}

/// Paths from the root and texts of all `.rs` and `.wgsl` files under `folder`. This file is left out, because it plants wrong citations.
fn sources(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "wgsl") && !path.ends_with(file!()) {
            let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            found.push((name, fs::read_to_string(&path)?));
        }
    }
    Ok(found)
}

fn specification() -> io::Result<String> {
    fs::read_to_string(root().join("doc/spec.md"))
}

#[test]
fn every_citation_names_a_section_and_steps_of_the_specification() {
    let sections = sections(&specification().unwrap()).unwrap();
    let mut all = Findings::default();
    for folder in ["src", "shaders", "tests"] {
        for (file, text) in sources(&root().join(folder)).unwrap() {
            let found = citations(&file, &text, &sections);
            all.references += found.references;
            all.wrong.extend(found.wrong);
        }
    }
    assert!(all.wrong.is_empty(), "{}", all.wrong.join("\n"));
    // The test does not pass because it finds no citations.
    assert!(all.references >= 60, "only {} citations were found", all.references);
}

#[test]
fn every_reference_within_the_specification_names_a_section_and_steps_of_it() {
    let spec = specification().unwrap();
    let sections = sections(&spec).unwrap();
    // The word "section" is a reference only where a number follows.
    let mut numbered = mentions(spec.lines(), "section");
    numbered.retain(|(_, rest)| rest.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    let found = check("doc/spec.md", &numbered, &sections);
    assert!(found.wrong.is_empty(), "{}", found.wrong.join("\n"));
    assert!(found.references >= 20, "only {} references were found", found.references);
}

#[test]
fn a_wrong_citation_is_reported_with_its_file_line_and_section() {
    let sections = sections("# Title\n## 1. One\n1. A step.\n2. Another.\n### 1.1 Part\n## 2. Two\n   3. Indented, so no step.\n").unwrap();
    let reported = |text: &str| citations("some/file.rs", text, &sections).wrong;
    let right = "// SPEC 1 and more\n//! (SPEC 1.1)\nlet x = 1; // SPEC 1 (step 2), SPEC 2.\n// source  SPEC 1 (steps 1, 2) (a hint)\n// SPECIAL 7\n";
    assert_eq!(reported(right), Vec::<String>::new());
    assert_eq!(citations("some/file.rs", right, &sections).references, 5);

    assert_eq!(reported("fn f() {}\n\n// source  SPEC 3.9\n"), ["some/file.rs:3: doc/spec.md has no section 3.9"]);
    assert_eq!(reported("/// SPEC 1 (step 3)."), ["some/file.rs:1: section 1 of doc/spec.md has no step 3"]);
    assert_eq!(reported("/// SPEC 2 (steps 3)."), ["some/file.rs:1: section 2 of doc/spec.md has no step 3"]);
    assert_eq!(reported("// SPEC 1, SPEC 5").len(), 1, "the second citation of a line is read too");
    for form in ["section 1", "1 and 2", "1, 2", "1, step 2", "1 step 2", "1 steps 1-2", "1 (step 1-2)", "1 (step 1", "", "one"] {
        let lines = reported(&format!("//\n// SPEC {form}"));
        let [line] = &lines[..] else { panic!("{form:?} gave {lines:?}") };
        assert!(line.starts_with("some/file.rs:2: ") && line.contains("expected a section as in"), "{line}");
    }
}

#[test]
fn two_sections_of_one_number_are_refused() {
    assert_eq!(sections("## 1. One\n## 1. Another\n"), Err("two sections have the number 1".to_string()));
}

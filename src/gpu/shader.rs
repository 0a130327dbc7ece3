//! The shader assembler makes the WGSL of one variant on one device, at run time, out of WGSL files with a few line directives.
//!
//! | directive | does |
//! |---|---|
//! | `#import lib/name` | the text of that file, once |
//! | `#ifdef NAME` `#ifndef NAME` `#else` `#endif` | keeps lines if the variant has (lacks) that flag or constant |
//! | `#for I COUNT` ... `#end` | the lines COUNT times (a number or a constant) with `$I` replaced by 0, 1, 2, ... |
//! | `#each F PREFIX` ... `#end` | the lines for every constant PREFIX*, with `$F` replaced by the rest of its name and `$f` by that in small letters |
//! | `@binding(auto)` | the next binding number |
//!
//! Values reach a shader only as typed constants (`const NAME: u32 = value;`), never by text replacement. `enable` lines and the variable
//! that holds a kernel's `struct Params` are written here, because they depend on the device and not on the kernel.

use super::sources::{EXTENSIONS, import_source};
use super::variant::Variant;
use crate::{Error, Result};
use std::collections::HashSet;

/// The WGSL of `variant`. With `immediates` the parameters are immediates, otherwise a uniform buffer at group 1, binding 0.
///
/// # Errors
/// A directive is wrong, which is a mistake in a shader and not in the input. The error names the file and line.
pub fn assemble(variant: &Variant, immediates: bool) -> Result<String> {
    let mut text = String::new();
    for (flag, extension) in EXTENSIONS {
        if variant.has(flag) {
            text.push_str(&format!("enable {extension};\n"));
        }
    }
    for (name, value) in variant.constants() {
        text.push_str(&format!("const {name}: u32 = {value}u;\n"));
    }
    let mut assembler = Assembler { variant, imported: HashSet::new(), out: text, bindings: 0 };
    let (path, body) = variant.source()?;
    let lines: Vec<&str> = body.lines().collect();
    assembler.block(path, &lines)?;
    if assembler.out.contains("struct Params") {
        assembler.out.push_str(if immediates {
            "var<immediate> params: Params;\n"
        } else {
            "@group(1) @binding(0) var<uniform> params: Params;\n"
        });
    }
    Ok(assembler.out)
}

/// Directives that `#end` closes.
const LOOPS: [&str; 2] = ["#for", "#each"];

/// The largest number of turns of a loop, because the count may be a constant of a variant that was read from a file.
const MOST_TURNS: u32 = 1024;

/// The largest size of a shader's text in bytes when another loop begins, because loops may nest.
const MOST_BYTES: usize = 4 << 20;

struct Assembler<'a> {
    variant: &'a Variant,
    imported: HashSet<String>,
    out: String,
    bindings: u32,
}

impl Assembler<'_> {
    fn block(&mut self, path: &str, lines: &[&str]) -> Result<()> {
        let mistake = |i: usize, what: &str| Error::Device(format!("shader {path}, line {}: {what}", i + 1));
        let mut i = 0;
        while i < lines.len() {
            let line = lines[i];
            let mut words = line.split_whitespace();
            match words.next() {
                Some("#import") => {
                    let name = words.next().ok_or_else(|| mistake(i, "#import needs a name"))?;
                    if self.imported.insert(name.to_string()) {
                        let (path, body) = import_source(name)?;
                        self.block(path, &body.lines().collect::<Vec<_>>())?;
                    }
                }
                Some(word @ ("#ifdef" | "#ifndef")) => {
                    let name = words.next().ok_or_else(|| mistake(i, "a condition needs a name"))?;
                    let (otherwise, end) = branches(lines, i).ok_or_else(|| mistake(i, "no #endif"))?;
                    let first = self.variant.has(name) == (word == "#ifdef");
                    let kept = if first { i + 1..otherwise.unwrap_or(end) } else { otherwise.map_or(end..end, |o| o + 1..end) };
                    self.block(path, &lines[kept])?;
                    i = end;
                }
                Some("#for") => {
                    let name = words.next().ok_or_else(|| mistake(i, "#for needs a name"))?;
                    let count = words.next().and_then(|w| w.parse().ok().or_else(|| self.variant.value(w)));
                    let count = count.ok_or_else(|| mistake(i, "#for needs a number or a constant"))?;
                    if count > MOST_TURNS || self.out.len() > MOST_BYTES {
                        let so_far = self.out.len();
                        return Err(mistake(i, &format!("{count} turns behind {so_far} bytes, at most {MOST_TURNS} and {MOST_BYTES}")));
                    }
                    let end = matching(lines, i, &LOOPS, "#end").ok_or_else(|| mistake(i, "no #end"))?;
                    for n in 0..count {
                        self.turn(path, &lines[i + 1..end], &[(format!("${name}"), n.to_string())])?;
                    }
                    i = end;
                }
                Some("#each") => {
                    let name = words.next().ok_or_else(|| mistake(i, "#each needs a name"))?;
                    let prefix = words.next().ok_or_else(|| mistake(i, "#each needs the beginning of a constant's name"))?;
                    let end = matching(lines, i, &LOOPS, "#end").ok_or_else(|| mistake(i, "no #end"))?;
                    for rest in self.variant.constants().iter().filter_map(|(constant, _)| constant.strip_prefix(prefix)) {
                        let small = (format!("${}", name.to_lowercase()), rest.to_lowercase());
                        self.turn(path, &lines[i + 1..end], &[(format!("${name}"), rest.to_string()), small])?;
                    }
                    i = end;
                }
                Some(word) if word.starts_with('#') => return Err(mistake(i, &format!("unknown directive {word}"))),
                _ => self.line(line),
            }
            i += 1;
        }
        Ok(())
    }

    /// Appends one turn of a loop: its lines with the names replaced.
    fn turn(&mut self, path: &str, lines: &[&str], names: &[(String, String)]) -> Result<()> {
        let replaced = |line: &&str| names.iter().fold(line.to_string(), |line, (from, to)| line.replace(from, to));
        let body: Vec<String> = lines.iter().map(replaced).collect();
        self.block(path, &body.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn line(&mut self, line: &str) {
        match line.split_once("@binding(auto)") {
            Some((before, after)) => {
                self.out.push_str(&format!("{before}@binding({}){after}", self.bindings));
                self.bindings += 1;
            }
            None => self.out.push_str(line),
        }
        self.out.push('\n');
    }
}

/// The line that closes the block opened at `start`.
fn matching(lines: &[&str], start: usize, opens: &[&str], close: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (i, line) in lines.iter().enumerate().skip(start) {
        let word = line.split_whitespace().next().unwrap_or("");
        if opens.contains(&word) {
            depth += 1;
        } else if word == close {
            depth -= 1;
            if depth == 0 {
                return Some(i);
            }
        }
    }
    None
}

/// The lines of the `#else` (if there is one) and of the `#endif` of the condition at `start`.
fn branches(lines: &[&str], start: usize) -> Option<(Option<usize>, usize)> {
    let opens = ["#ifdef", "#ifndef"];
    let end = matching(lines, start, &opens, "#endif")?;
    let mut depth = 0usize;
    for (i, line) in lines.iter().enumerate().take(end).skip(start) {
        let word = line.split_whitespace().next().unwrap_or("");
        match word {
            w if opens.contains(&w) => depth += 1,
            "#endif" => depth -= 1,
            "#else" if depth == 1 => return Some((Some(i), end)),
            _ => {}
        }
    }
    Some((None, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(variant: &Variant, text: &str) -> String {
        let mut assembler = Assembler { variant, imported: HashSet::new(), out: String::new(), bindings: 0 };
        assembler.block("test", &text.lines().collect::<Vec<_>>()).unwrap();
        assembler.out
    }

    #[test]
    fn conditions_nest_and_take_flags_and_constants() {
        let variant = Variant::new("x").flag("ONE").constant("TWO", 2);
        let text = "#ifdef ONE\na\n#ifdef MISSING\nb\n#else\nc\n#endif\n#else\nd\n#endif\n#ifndef TWO\ne\n#endif";
        assert_eq!(expand(&variant, text), "a\nc\n");
    }

    #[test]
    fn loops_repeat_nest_and_number() {
        let variant = Variant::new("x").constant("N", 2);
        assert_eq!(expand(&variant, "#for I N\n#for J 2\nv$I$J\n#end\n#end"), "v00\nv01\nv10\nv11\n");
    }

    #[test]
    fn each_goes_through_the_constants_of_a_prefix() {
        let variant = Variant::new("x").constant("FORMAT_Q8_0", 3).constant("WG", 64).constant("FORMAT_F16", 1);
        assert_eq!(
            expand(&variant, "#each F FORMAT_\nFORMAT_$F $f\n#for I 2\n$f$I\n#end\n#end"),
            "FORMAT_Q8_0 q8_0\nq8_00\nq8_01\nFORMAT_F16 f16\nf160\nf161\n"
        );
    }

    #[test]
    fn bindings_are_numbered_in_order() {
        let text = "@group(0) @binding(auto) a\n#for I 2\n@group(0) @binding(auto) b$I\n#end";
        assert_eq!(expand(&Variant::new("x"), text), "@group(0) @binding(0) a\n@group(0) @binding(1) b0\n@group(0) @binding(2) b1\n");
    }

    #[test]
    fn a_kernel_of_ones_own_is_assembled_like_the_others_under_a_name_of_its_own() {
        let text = "#ifdef SCALE\n@group(0) @binding(auto) var<storage> x: array<f32>;\n#endif\n@compute @workgroup_size(1) fn mine() {}";
        let variant = Variant::of_text("mine", text).unwrap().constant("SCALE", 3);
        let lines =
            ["const SCALE: u32 = 3u;", "@group(0) @binding(0) var<storage> x: array<f32>;", "@compute @workgroup_size(1) fn mine() {}"];
        assert_eq!(assemble(&variant, true).unwrap().lines().collect::<Vec<_>>(), lines);
        let error = Variant::of_text("embed", text).unwrap_err().to_string();
        assert!(error.ends_with("\"embed\" is built in (embed/embed)"), "{error}");
    }

    #[test]
    fn a_mistake_names_file_and_line() {
        let mut assembler = Assembler { variant: &Variant::new("x"), imported: HashSet::new(), out: String::new(), bindings: 0 };
        let error = assembler.block("test", &["a", "#ifdef B"]).unwrap_err().to_string();
        assert_eq!(error, "GPU: shader test, line 2: no #endif");
    }

    #[test]
    fn loops_of_absurd_length_are_refused() {
        for text in ["#for I N\n#end", "#for I 1000\n#for J 1000\nfar too many lines\n#end\n#end"] {
            let variant = Variant::new("x").constant("N", u32::MAX);
            let mut assembler = Assembler { variant: &variant, imported: HashSet::new(), out: String::new(), bindings: 0 };
            let error = assembler.block("test", &text.lines().collect::<Vec<_>>()).unwrap_err().to_string();
            assert!(error.contains("at most 1024"), "{error}");
        }
    }
}

//! The header with which each kernel begins is complete. The kernel tests check that each kernel is compared with the reference.

use super::{Breach, File, assert_none, planted, read};

/// The lines of a header after the first, by their first words.
const LINES: [&str; 7] = ["in", "out", "params", "grid", "needs", "cost", "source"];

/// Kernel files: everything under shaders/ but lib/.
fn kernels() -> Vec<File> {
    read("shaders", "wgsl").into_iter().filter(|file| !file.path.starts_with("shaders/lib/")).collect()
}

/// The name of the kernel in `file`, which is the name of the file.
fn name(file: &File) -> &str {
    file.path.rsplit('/').next().unwrap_or("").trim_end_matches(".wgsl")
}

/// Kernel files whose header lacks a line, has the lines in another order, leaves one empty, or has another name of the kernel.
fn headers(kernels: &[File]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in kernels {
        let name = name(file);
        let comments = file.text.lines().take_while(|line| line.starts_with("//")).map(|line| line[2..].trim_start());
        let comments: Vec<(usize, &str)> = comments.enumerate().map(|(i, line)| (i + 1, line)).collect();
        if !comments.first().is_some_and(|(_, line)| line.starts_with(&format!("{name}: "))) {
            breaches.push(Breach::new(&file.path, 1, format!("the first line must be `// {name}: ` and its formula")));
        }
        let word = |line: &str| LINES.into_iter().find(|word| line.split_whitespace().next() == Some(word));
        let mut lines = comments.iter().filter_map(|&(number, line)| Some((number, word(line)?, line)));
        for wanted in LINES {
            match lines.next() {
                Some((number, word, line)) if word == wanted => {
                    let value = line[word.len()..].trim();
                    if value.is_empty() {
                        breaches.push(Breach::new(&file.path, number, format!("`{word}` says nothing")));
                    } else if word == "params" && params_bytes(value).is_none() {
                        breaches.push(Breach::new(&file.path, number, format!("`params` must say `Params N B`, found `{value}`")));
                    }
                }
                found => {
                    let (number, found) = found.map_or((comments.len() + 1, "the end"), |(number, word, _)| (number, word));
                    breaches.push(Breach::new(&file.path, number, format!("expected the header's line `{wanted}`, found `{found}`")));
                    break;
                }
            }
        }
        if !file.text.contains(&format!("fn {name}(")) {
            breaches.push(Breach::new(&file.path, 1, format!("there is no entry point {name}")));
        }
    }
    breaches
}

/// The N of `Params N B`. The kernel tests check that it is the size of the parameters.
fn params_bytes(value: &str) -> Option<u32> {
    let (bytes, rest) = value.strip_prefix("Params ")?.split_once(" B")?;
    bytes.parse().ok().filter(|_| rest.is_empty() || rest.starts_with([';', ' ']))
}

#[test]
fn every_kernel_opens_with_the_same_header() {
    assert_none(&headers(&kernels()));
}

#[test]
fn a_header_that_lacks_something_is_found() {
    const WHOLE: &str = "// double: y = 2 x.\n// in      x (T) f32\n// out     y (T) f32\n// params  Params 4 B; the rest is said here\n// grid    x: T\n// needs   nothing\n// cost    8 bytes\n//         and in the cache\n// source  none\nfn double() {}\n";
    let breaches = |from: &str, to: &str| {
        assert!(WHOLE.contains(from), "{from}");
        headers(&planted(&[("shaders/a/double.wgsl", &WHOLE.replace(from, to))]))
    };
    let breach = |line: usize, what: &str| vec![Breach::new("shaders/a/double.wgsl", line, what)];
    assert_eq!(breaches("double", "double"), []);
    assert_eq!(breaches("// double: y", "// y"), breach(1, "the first line must be `// double: ` and its formula"));
    assert_eq!(breaches("// grid    x: T\n", ""), breach(5, "expected the header's line `grid`, found `needs`"));
    assert_eq!(breaches("// source  none\n", ""), breach(9, "expected the header's line `source`, found `the end`"));
    assert_eq!(breaches("needs   nothing", "needs"), breach(6, "`needs` says nothing"));
    assert_eq!(breaches("Params 4 B;", "4 bytes;"), breach(4, "`params` must say `Params N B`, found `4 bytes; the rest is said here`"));
    assert_eq!(breaches("fn double(", "fn twice("), breach(1, "there is no entry point double"));
}

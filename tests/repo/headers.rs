//! How shaders are written: the header that each kernel and each file that kernels import opens with. That each kernel is checked is a
//! test of the kernels.

use super::{Breach, File, assert_none, planted, read};

/// The lines of a header after the first, by their first words.
const LINES: [&str; 7] = ["in", "out", "params", "grid", "needs", "cost", "source"];

/// The entries of the header of a file under shaders/lib/, in this order. `declares` may be missing.
const LIBRARY_ENTRIES: [&str; 3] = ["needs", "declares", "gives"];

/// What a message calls the end of a header.
const END: &str = "the end";

/// The most lines that the header of such a file has.
const LIBRARY_LINES: usize = 5;

/// Kernel files: everything under shaders/ but lib/.
fn kernels() -> Vec<File> {
    read("shaders", "wgsl").into_iter().filter(|file| !file.path.starts_with("shaders/lib/")).collect()
}

/// The files that kernels import: everything under shaders/lib/.
fn library() -> Vec<File> {
    read("shaders/lib", "wgsl")
}

/// The name of `file` without folder and extension, which a kernel has too.
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
                    let (number, found) = found.map_or((comments.len() + 1, END), |(number, word, _)| (number, word));
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

/// Imported files whose header has another first line, other entries, an empty one or too many lines. The header ends with the first line
/// that has no text behind `// `; a line with a larger indent continues an entry.
fn library_headers(files: &[File]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files {
        let name = name(file);
        let header: Vec<&str> = file.text.lines().map_while(|line| line.strip_prefix("// ")).collect();
        if !header.first().is_some_and(|line| line.starts_with(&format!("{name}: "))) {
            breaches.push(Breach::new(&file.path, 1, format!("the first line must be `// {name}: ` and what the file gives")));
        }
        if header.len() > LIBRARY_LINES {
            let what = format!("expected a header of at most {LIBRARY_LINES} lines, found {}: more goes below a line `//`", header.len());
            breaches.push(Breach::new(&file.path, LIBRARY_LINES + 1, what));
        }
        let entries = header.iter().enumerate().skip(1).filter(|(_, line)| !line.starts_with(' '));
        let mut entries = entries.map(|(i, line)| (i + 1, line.split_once(' ').unwrap_or((line, "")))).peekable();
        for wanted in LIBRARY_ENTRIES.into_iter().chain([END]) {
            let (number, (word, value)) = entries.peek().copied().unwrap_or((header.len() + 1, (END, END)));
            if word == wanted {
                if value.trim().is_empty() {
                    breaches.push(Breach::new(&file.path, number, format!("`{wanted}` says nothing")));
                }
                entries.next();
            } else if wanted != "declares" {
                breaches.push(Breach::new(&file.path, number, format!("expected the header's line `{wanted}`, found `{word}`")));
                break;
            }
        }
    }
    breaches
}

/// The N of `Params N B`. That it is the size of the block is a test of the kernels.
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

#[test]
fn every_file_that_kernels_import_opens_with_the_same_header() {
    let files = library();
    assert!(
        files.iter().any(|file| file.text.contains("\n// declares ")) && files.iter().any(|file| !file.text.contains("\n// declares "))
    );
    assert_none(&library_headers(&files));
}

#[test]
fn a_header_of_an_imported_file_that_lacks_something_is_found() {
    const WHOLE: &str = "// twice: doubles x.\n// needs   x\n//         and y\n// declares z\n// gives   twice(x)\n//\n// more about it\n\n// of twice\nfn twice() {}\n";
    let breaches = |from: &str, to: &str| {
        assert!(WHOLE.contains(from), "{from}");
        library_headers(&planted(&[("shaders/lib/a/twice.wgsl", &WHOLE.replace(from, to))]))
    };
    let breach = |line: usize, what: &str| vec![Breach::new("shaders/lib/a/twice.wgsl", line, what)];
    assert_eq!(breaches("twice", "twice"), []);
    assert_eq!(breaches("// declares z\n", ""), []);
    assert_eq!(breaches("// twice: d", "// D"), breach(1, "the first line must be `// twice: ` and what the file gives"));
    assert_eq!(breaches("// needs   x\n", ""), breach(3, "expected the header's line `needs`, found `declares`"));
    assert_eq!(breaches("// gives   twice(x)\n", ""), breach(5, "expected the header's line `gives`, found `the end`"));
    assert_eq!(
        breaches("// declares z\n// gives   twice(x)", "// gives   twice(x)\n// declares z"),
        breach(5, "expected the header's line `the end`, found `declares`")
    );
    assert_eq!(breaches("needs   x", "needs"), breach(2, "`needs` says nothing"));
    assert_eq!(
        breaches("\n//\n", "\n// besides\n"),
        [
            breach(6, "expected a header of at most 5 lines, found 7: more goes below a line `//`"),
            breach(6, "expected the header's line `the end`, found `besides`")
        ]
        .concat()
    );
}

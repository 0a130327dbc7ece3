//! Without a GPU: each flag and constant that the host sets on a kernel is read by the kernel, and each name in a directive of a shader is
//! set by the host. Without these tests a misspelt flag would silently select the other branch.

use super::translate::devices;
use dwarfstar::kernels::{KernelProfile, variants};
use dwarfstar::num::KvType;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Names that are set on many kernels at once, some of which do not read them. A name that every such kernel reads must not stand here.
const SET_ON_MANY: &[(&str, &str)] = &[
    ("SUBGROUP", "KernelProfile::variant sets it on every kernel of a device with subgroups, whether it reduces by them or not"),
    ("DEPTH", "CoopShape::variant sets it on every cooperative kernel, and index_score_few stages whole rows"),
];

/// Flags that the assembler itself reads: it writes `enable` lines for them.
const READ_BY_THE_ASSEMBLER: &[&str] = &["F16", "COOPERATIVE"];

/// A shader file by its path under `shaders/`, without extension.
pub struct Shader {
    pub path: String,
    pub text: String,
}

/// All shader files: kernels and the files that they import.
pub fn shaders() -> Vec<Shader> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let (mut shaders, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            if file.is_dir() {
                folders.push(file);
            } else if file.extension().is_some_and(|extension| extension == "wgsl") {
                let path = file.with_extension("").strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                shaders.push(Shader { path, text: fs::read_to_string(file).unwrap() });
            }
        }
    }
    shaders.sort_by(|a, b| a.path.cmp(&b.path));
    shaders
}

impl Shader {
    /// The lines of code, numbered from 1, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line.split("//").next().unwrap_or(line)))
    }

    /// For each line with a directive its first word, the words after it, and the number of the line.
    fn directives(&self) -> impl Iterator<Item = (&str, Vec<&str>, usize)> {
        self.code().filter(|(_, line)| line.trim_start().starts_with('#')).filter_map(|(number, line)| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.collect(), number))
        })
    }

    /// Whether it may import `path`. A name that `#each` completes stands for all files whose names begin with it.
    fn imports(&self, path: &str) -> bool {
        let names = self.directives().filter(|(word, ..)| *word == "#import").filter_map(|(_, words, _)| words.first().copied());
        names.into_iter().any(|name| name.split_once('$').map_or(name == path, |(beginning, _)| path.starts_with(beginning)))
    }

    /// Names in directives, whose presence or value decides which lines are kept, and the numbers of their lines.
    fn asked(&self) -> impl Iterator<Item = (&str, usize)> {
        self.directives().filter_map(|(word, words, number)| {
            let at = match word {
                "#ifdef" | "#ifndef" => 0,
                "#for" => 1,
                _ => return None,
            };
            words.get(at).filter(|name| name.parse::<u32>().is_err()).map(|name| (*name, number))
        })
    }

    fn reads(&self, name: &str) -> bool {
        let is_each =
            |(word, words, _): (&str, Vec<&str>, usize)| word == "#each" && words.get(1).is_some_and(|prefix| name.starts_with(prefix));
        self.directives().any(is_each)
            || self.code().any(|(_, line)| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name))
    }
}

/// The names that variants of each kernel set.
type Names<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// For each kernel its file and all files that it imports, directly or through another.
fn kernels(shaders: &[Shader]) -> Vec<(&str, Vec<&Shader>)> {
    let own = shaders.iter().filter(|shader| !shader.path.starts_with("lib/"));
    own.map(|shader| {
        let mut files = vec![shader];
        let mut next = 0;
        while let Some(file) = files.get(next) {
            let is_new = |new: &&Shader| file.imports(&new.path) && files.iter().all(|file| file.path != new.path);
            let new: Vec<&Shader> = shaders.iter().filter(is_new).collect();
            files.extend(new);
            next += 1;
        }
        (shader.path.rsplit('/').next().unwrap_or(""), files)
    })
    .collect()
}

/// Names that the host sets on a kernel although neither its file nor an import reads them.
fn unread(shaders: &[Shader], set: &Names, exempt: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (kernel, files) in kernels(shaders) {
        let names = set.get(kernel).into_iter().flatten().filter(|name| !exempt.contains(*name));
        let unread = names.filter(|name| !files.iter().any(|file| file.reads(name)));
        wrong.extend(unread.map(|name| format!("{}: {name} is set and never read", files[0].path)));
    }
    wrong
}

/// Names in directives of a file that no variant of any kernel with this file sets.
fn unset(shaders: &[Shader], set: &Names) -> Vec<String> {
    let kernels = kernels(shaders);
    let mut wrong = Vec::new();
    for shader in shaders {
        let users = kernels.iter().filter(|(_, files)| files.iter().any(|file| file.path == shader.path));
        let names: BTreeSet<&str> = users.filter_map(|(kernel, _)| set.get(kernel)).flatten().copied().collect();
        let unset = shader.asked().filter(|(name, _)| !names.contains(name));
        wrong.extend(unset.map(|(name, line)| format!("{}:{line}: {name} is set by no variant", shader.path)));
    }
    wrong
}

/// The names that the variants of each kernel set on all kinds of devices.
fn set() -> Names<'static> {
    let mut set = Names::new();
    for device in devices() {
        for (kv, exact) in [(KvType::F16, false), (KvType::F32, true)] {
            for variant in variants(&KernelProfile { caps: device.caps.clone(), kv, exact }) {
                let names = variant.flags().iter().copied().chain(variant.constants().iter().map(|(name, _)| *name));
                set.entry(variant.kernel()).or_default().extend(names);
            }
        }
    }
    set
}

#[test]
fn what_the_host_sets_is_read_by_the_kernel() {
    let (shaders, set) = (shaders(), set());
    let many: Vec<&str> = SET_ON_MANY.iter().map(|(name, _)| *name).collect();
    let wrong = unread(&shaders, &set, &[&many, READ_BY_THE_ASSEMBLER].concat());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (name, reason) in SET_ON_MANY {
        let unread = unread(&shaders, &set, READ_BY_THE_ASSEMBLER);
        assert!(unread.iter().any(|line| line.contains(&format!(": {name} "))), "{name} is read wherever it is set, but listed: {reason}");
    }
}

#[test]
fn what_a_shader_asks_for_is_set_by_the_host() {
    let wrong = unset(&shaders(), &set());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Two kernels with a common import, for tests with planted mistakes.
fn planted() -> Vec<Shader> {
    let shader = |path: &str, text: &str| Shader { path: path.to_string(), text: text.to_string() };
    vec![
        shader("a/double", "// Reads OLD no more.\n#import lib/rows/rows\n#ifdef RUN_32\nlet x = array<f32, WG>();\n#endif\n"),
        shader("b/triple", "#import lib/rows/rows\n#for I 8\n#for J COUNT\n#end\n#end\n"),
        shader("lib/rows/rows", "#import lib/deep\n#import lib/rows/rows\n"),
        shader("lib/deep", "#ifndef WIDE\n#endif\n"),
    ]
}

#[test]
fn a_misspelt_flag_is_found_on_both_sides() {
    let set = |double: [&'static str; 2]| {
        let double = double.into_iter().chain(["WG"]).collect();
        Names::from([("double", double), ("triple", BTreeSet::from(["COUNT"]))])
    };
    let right = set(["RUN_32", "WIDE"]);
    assert_eq!((unread(&planted(), &right, &[]), unset(&planted(), &right)), (vec![], vec![]));
    // The host spells a name in another way than the kernel, or than an import of an import.
    let wrong = set(["RUN32", "WIDE"]);
    assert_eq!(unread(&planted(), &wrong, &[]), ["a/double: RUN32 is set and never read"]);
    assert_eq!(unset(&planted(), &wrong), ["a/double:3: RUN_32 is set by no variant"]);
    let wrong = set(["RUN_32", "WIDER"]);
    assert_eq!(unread(&planted(), &wrong, &[]), ["a/double: WIDER is set and never read"]);
    assert_eq!(unread(&planted(), &wrong, &["WIDER"]), Vec::<String>::new());
    assert_eq!(unset(&planted(), &wrong), ["lib/deep:1: WIDE is set by no variant"]);
}

#[test]
fn a_name_that_only_another_kernel_or_a_comment_reads_is_found() {
    let set = Names::from([("double", BTreeSet::from(["RUN_32", "WIDE", "WG", "COUNT", "OLD"])), ("triple", BTreeSet::new())]);
    let unread = unread(&planted(), &set, &[]);
    assert_eq!(unread, ["a/double: COUNT is set and never read", "a/double: OLD is set and never read"]);
    assert_eq!(unset(&planted(), &set), ["b/triple:3: COUNT is set by no variant"]);
}

#[test]
fn files_of_formats_belong_to_every_kernel_of_formats() {
    let shader = |path: &str, text: &str| Shader { path: path.to_string(), text: text.to_string() };
    let planted = [
        shader("c/half", "#each F W_\n#import lib/format_$f\n#end\n"),
        shader("lib/format_q4", "#ifdef EVEN\n#endif\n"),
        shader("lib/other", "#ifdef ODD\n#endif\n"),
    ];
    let set = |names: [&'static str; 2]| Names::from([("half", names.into_iter().collect())]);
    let other = "lib/other:1: ODD is set by no variant";
    let right = set(["W_Q4", "EVEN"]);
    assert_eq!((unread(&planted, &right, &[]), unset(&planted, &right)), (vec![], vec![other.to_string()]));
    assert_eq!(unread(&planted, &set(["V_Q4", "EVEN"]), &[]), ["c/half: V_Q4 is set and never read"]);
    assert_eq!(unset(&planted, &set(["W_Q4", "ODD"])), ["lib/format_q4:1: EVEN is set by no variant", other]);
}

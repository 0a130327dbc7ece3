//! Files of a room do not import each other in a circle, but for those that are listed.

use super::modules::{Modules, Target, room_of};
use super::{Breach, File, assert_none, planted, read};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Imports that close a circle between files of a room. The list may only shrink: an entry that closes no circle any more fails too.
const CIRCLES: &[Circle] = &[
    Circle {
        from: "src/cli/args.rs",
        to: &[
            "src/cli/bench/mod.rs",
            "src/cli/chat.rs",
            "src/cli/devices.rs",
            "src/cli/imatrix.rs",
            "src/cli/inspect.rs",
            "src/cli/logits.rs",
            "src/cli/perplexity.rs",
            "src/cli/quantize.rs",
            "src/cli/render.rs",
            "src/cli/run.rs",
            "src/cli/synth.rs",
            "src/cli/tokenize.rs",
            "src/cli/verify/mod.rs",
        ],
        reason: "the enum of all commands stands beside the flags that commands share",
    },
    Circle {
        from: "src/cli/common.rs",
        to: &["src/cli/source.rs"],
        reason: "opening a model prints notes, and the printing of notes stands beside what opens a model",
    },
    Circle {
        from: "src/cli/bench/mod.rs",
        to: &["src/cli/bench/kernels.rs", "src/cli/bench/trace.rs"],
        reason: "what the measurements share stands in the file that starts them",
    },
    Circle {
        from: "src/convert/metadata.rs",
        to: &["src/convert/quantize.rs"],
        reason: "the request of a conversion stands beside the conversion, not beside the recipe",
    },
    Circle {
        from: "src/gpu/device.rs",
        to: &["src/gpu/buffer.rs", "src/gpu/pipeline.rs", "src/gpu/profiler.rs", "src/gpu/queue.rs", "src/gpu/recording.rs"],
        reason: "Gpu owns the state of the files that its methods are split over",
    },
    Circle {
        from: "src/kernels/attention_long.rs",
        to: &["src/kernels/attention.rs"],
        reason: "the arguments of attention stand beside its kernels for few rows, which choose those for many",
    },
    Circle {
        from: "src/kernels/cost.rs",
        to: &["src/kernels/linear.rs"],
        reason: "Part, which every matrix product takes, stands beside one of them",
    },
    Circle {
        from: "src/kernels/quantized.rs",
        to: &["src/kernels/hc.rs"],
        reason: "the fused hc_mix stands beside hc_pre, which writes int8 by what stands in quantized.rs",
    },
    Circle {
        from: "src/kernels/params.rs",
        to: &[
            "src/kernels/attention.rs",
            "src/kernels/attention_long.rs",
            "src/kernels/compressor.rs",
            "src/kernels/embed.rs",
            "src/kernels/hc.rs",
            "src/kernels/indexer.rs",
            "src/kernels/kv.rs",
            "src/kernels/latents.rs",
            "src/kernels/linear.rs",
            "src/kernels/moe.rs",
            "src/kernels/moe_int8.rs",
            "src/kernels/norm.rs",
            "src/kernels/normed.rs",
            "src/kernels/quantized.rs",
            "src/kernels/rings.rs",
            "src/kernels/router.rs",
            "src/kernels/sample.rs",
            "src/kernels/stream.rs",
        ],
        reason: "the list of all parameter blocks stands beside the macro that defines each",
    },
    Circle { from: "src/quant/grouped.rs", to: &["src/quant/mod.rs"], reason: "BlockFormat stands beside the table of all formats" },
    Circle {
        from: "src/text/encoding/render.rs",
        to: &["src/text/encoding/mod.rs"],
        reason: "the error of the encoding stands beside its entry point",
    },
    Circle {
        from: "src/text/stream/calls.rs",
        to: &["src/text/stream/mod.rs"],
        reason: "the events of a stream stand beside the splitter that makes most of them",
    },
    Circle {
        from: "src/text/vocabulary.rs",
        to: &["src/text/tokenizer.rs"],
        reason: "TokenId stands beside the tokenizer, which reads vocabularies",
    },
];

/// Imports of one file that lead back to it.
struct Circle {
    from: &'static str,
    to: &'static [&'static str],
    reason: &'static str,
}

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

/// Circles of files that are not in the list, and entries of the list that close none.
fn circles(files: &[File], listed: &[Circle]) -> Vec<Breach> {
    let mut graph = graph(files);
    let mut breaches = Vec::new();
    let arrows: Vec<_> = listed.iter().flat_map(|circle| circle.to.iter().map(move |to| (circle, *to))).collect();
    let lines: Vec<Option<usize>> = arrows.iter().map(|(circle, to)| graph.get_mut(circle.from)?.remove(*to)).collect();
    for ((Circle { from, reason, .. }, to), line) in arrows.iter().zip(lines) {
        if line.is_none() || way(&graph, to, from).is_none() {
            let what = format!("imports {to} in no circle any more, and is listed ({reason})");
            breaches.push(Breach::new(from, line.unwrap_or(1), what));
        }
    }
    let mut seen = BTreeSet::new();
    for (from, to_all) in &graph {
        let ways = to_all.iter().filter_map(|(to, line)| Some((way(&graph, to, from)?, line)));
        let Some((back, line)) = ways.min_by_key(|(back, _)| back.len()) else { continue };
        // Files that all reach each other form many circles: the first is reported.
        let knot = graph.keys().filter(|file| way(&graph, from, file).is_some() && way(&graph, file, from).is_some());
        if seen.insert(knot.collect::<Vec<_>>()) {
            breaches.push(Breach::new(from, *line, format!("files import each other in a circle: {from} -> {}", back.join(" -> "))));
        }
    }
    breaches
}

#[test]
fn files_of_a_room_do_not_import_each_other_in_a_circle() {
    assert_none(&circles(&read("src", "rs"), CIRCLES));
}

#[test]
fn a_circle_of_files_is_found() {
    let room = |first: &str, second: &str, third: &str| {
        let root = "mod first;\nmod second;\nmod third;\npub use first::First;\npub use second::Second;\npub struct Whole;\n";
        let files = [("lib.rs", "mod a;\n"), ("a/mod.rs", root), ("a/first.rs", first), ("a/second.rs", second), ("a/third.rs", third)];
        planted(&files.map(|(path, text)| (&*format!("src/{path}").leak(), text)))
    };
    // Through the re-exports of the room, which themselves lead nobody back.
    let (first, second, third) = ("pub struct First;\n", "use super::First;\npub struct Second;\n", "use super::{Second, Whole};\n");
    assert_eq!(circles(&room(first, second, third), &[]), []);
    let back = "pub struct First;\n\npub type Other =\n    super::third::Third;\n";
    let what = "files import each other in a circle: src/a/first.rs -> src/a/third.rs -> src/a/second.rs -> src/a/first.rs";
    assert_eq!(circles(&room(back, second, third), &[]), [Breach::new("src/a/first.rs", 4, what)]);

    // A listed circle may be there, must be there, and must be one.
    let listed = |to| [Circle { from: "src/a/first.rs", to, reason: "for now" }];
    assert_eq!(circles(&room(back, second, third), &listed(&["src/a/third.rs"])), []);
    let gone = |line, to| [Breach::new("src/a/first.rs", line, format!("imports {to} in no circle any more, and is listed (for now)"))];
    assert_eq!(circles(&room(first, second, third), &listed(&["src/a/third.rs"])), gone(1, "src/a/third.rs"));
    assert_eq!(circles(&room(back, second, "use super::Whole;\n"), &listed(&["src/a/third.rs"])), gone(4, "src/a/third.rs"));
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
    assert_eq!(circles(&files, &[]), [Breach::new("src/a/family.rs", 2, what)]);
}

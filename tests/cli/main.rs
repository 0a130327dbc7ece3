//! The program as people run it: commands, results on stdout, an error of one clear line, exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod bench;
mod demo;

use dwarfstar::convert::{Recipe, Shape, directory, hyper_parameters};
use dwarfstar::gguf::{GgmlType, Writer};
use dwarfstar::gpu::{AdapterKind, adapters};
use dwarfstar::hf::Safetensors;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The adapter that tests run on: the software adapter, which is the same everywhere, or else the first.
fn gpu() -> &'static str {
    static INDEX: OnceLock<String> = OnceLock::new();
    INDEX.get_or_init(|| {
        let all = adapters();
        assert!(!all.is_empty(), "no adapter found: install a Vulkan driver, software Vulkan (lavapipe) will do");
        all.iter().position(|adapter| adapter.kind == AdapterKind::Software).unwrap_or(0).to_string()
    })
}

/// The program with `args`. A command that runs a model and names no device gets the adapter [`gpu`], which `auto` would not choose.
fn dwarfstar(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dwarfstar"));
    command.args(args).env_remove("DWARFSTAR_MODEL").stdin(Stdio::null());
    let runs_a_model = ["run", "bench", "logits", "perplexity", "imatrix"].contains(&args[0]);
    if runs_a_model && !args.contains(&"--device") && !args.contains(&"--help") {
        command.args(["--device", gpu()]);
    }
    command
}

fn run(args: &[&str]) -> Output {
    dwarfstar(args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Runs the program, expects success, and returns stdout.
fn ok(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    stdout(&output).to_string()
}

/// Runs the program, expects exit code 1 and nothing on stdout, and returns the error line of stderr.
fn refused(args: &[&str]) -> String {
    let output = run(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {:.300}", errors);
    assert_eq!(stdout(&output), "", "{args:?}");
    let said: Vec<&str> = errors.lines().filter(|line| line.starts_with("dwarfstar: ")).collect();
    assert_eq!(said.len(), 1, "{args:?}: {errors:.300}");
    said[0].to_string()
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn floats(file: &Path, name: &str) -> Vec<f32> {
    let file = Safetensors::open(file).unwrap();
    file.tensor(name).unwrap().bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn ids(file: &Path, name: &str) -> Vec<i32> {
    let file = Safetensors::open(file).unwrap();
    file.tensor(name).unwrap().bytes.as_chunks::<4>().0.iter().map(|&b| i32::from_le_bytes(b)).collect()
}

fn relative_l2(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |v: f64| v * v;
    let error: f64 = a.iter().zip(b).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    (error / b.iter().map(|&b| square(f64::from(b))).sum::<f64>()).sqrt()
}

/// A tiny synthetic model, made once for all tests.
fn tiny() -> &'static Path {
    static TINY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, file) = TINY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tiny.gguf");
        ok(&["synth", path(&file), "--shape", "tiny"]);
        (folder, file)
    });
    file
}

#[test]
fn logits_equal_the_golden_on_every_device() {
    let (model, folder) = (data("nano-s1-fp"), tempfile::tempdir().unwrap());
    for prompt in ["short", "long"] {
        let golden = model.join(format!("golden_{prompt}.safetensors"));
        let tokens = folder.path().join("tokens.json");
        std::fs::write(&tokens, json!(ids(&golden, "input_ids")).to_string()).unwrap();
        let mut ways = vec![("cpu", &[][..], 1e-5), (gpu(), &["--exact", "--step", "5"], 1e-4)];
        // In long steps the engine's tests run the long prompt of this model.
        if prompt == "short" {
            ways.push((gpu(), &["--exact"], 1e-4));
        }
        for (device, extra, limit) in ways {
            let out = folder.path().join("out.safetensors");
            let mut args = vec!["logits", "-m", path(&model), "--tokens", path(&tokens), "-o", path(&out), "--device", device];
            args.extend(extra);
            ok(&args);
            let error = relative_l2(&floats(&out, "logits"), &floats(&golden, "logits"));
            assert!(error <= limit, "{prompt} on {device} {extra:?}: {error:.2e}");
        }
    }
}

#[test]
fn logits_are_the_same_bytes_every_time_and_greedy_tokens_follow_them() {
    let (model, folder) = (data("nano-s1-fp"), tempfile::tempdir().unwrap());
    let tokens = folder.path().join("tokens.json");
    std::fs::write(&tokens, "[0, 5, 9, 300, 17]").unwrap();
    let make = |name: &str| {
        let out = folder.path().join(name);
        ok(&["logits", "-m", path(&model), "--tokens", path(&tokens), "-o", path(&out), "--greedy", "3", "--taps"]);
        out
    };
    let (a, b) = (make("a.safetensors"), make("b.safetensors"));
    assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    let logits = floats(&a, "logits");
    let last = &logits[logits.len() - 512..];
    let best = (0..512).max_by(|&i, &j| last[i].total_cmp(&last[j])).unwrap();
    let greedy = ids(&a, "greedy_ids");
    assert_eq!((greedy.len(), greedy[0]), (3, best as i32));
    assert_eq!(ids(&a, "l3.router.ids").len(), 5 * 2);
    assert_eq!(floats(&a, "hidden.5").len(), 5 * 4 * 256);
}

/// The JSON lines that a command answers to the JSON lines `input`.
fn lines(args: &[&str], input: &[Value]) -> Vec<Value> {
    let mut child = dwarfstar(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text: String = input.iter().map(|v| format!("{v}\n")).collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    stdout(&output).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn json_lines_go_through_tokenize_and_render() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = folder.path().join("tokenizer.json");
    std::fs::write(&tokenizer, dwarfstar::text::v4_tokenizer_json().unwrap()).unwrap();
    let model = ["-m", path(&tokenizer)];
    let with = |command: &[&'static str]| -> Vec<&str> { command.iter().copied().chain(model).collect() };
    let encoded = lines(&with(&["tokenize"]), &[json!({"text": "<think>Hi"}), json!({"bytes_hex": "48c3"})]);
    assert_eq!(encoded[0]["ids"][0], 128_821);
    let plain = lines(&with(&["tokenize", "--plain"]), &[json!({"text": "<think>Hi"})]);
    assert_ne!(plain[0]["ids"][0], 128_821);
    let decoded = lines(&with(&["tokenize", "--decode"]), &[encoded[0].clone(), encoded[1].clone()]);
    assert_eq!((&decoded[0]["text"], &decoded[1]["text"]), (&json!("<think>Hi"), &json!("H\u{fffd}")));

    let row = json!({"messages": [{"role": "user", "content": "2+2?"}], "thinking_mode": "thinking", "reasoning_effort": "max"});
    let bad = json!({"messages": [{"role": "nobody", "content": "x"}], "thinking_mode": "thinking"});
    let rendered = lines(&with(&["render"]), &[row.clone(), bad]);
    assert!(rendered[0]["prompt"].as_str().unwrap().starts_with("<｜begin▁of▁sentence｜>Reasoning Effort: Absolute maximum"));
    assert!(rendered[1]["error"].is_string());
    let refreshed = lines(&with(&["render", "--0731"]), &[row]);
    assert!(refreshed[0]["prompt"].as_str().unwrap().contains("Beyond maximum"));
    let parsed = lines(&["render", "--parse"], &[json!({"text": "a</think>b<｜end▁of▁sentence｜>", "thinking_mode": "thinking"})]);
    assert_eq!((&parsed[0]["reasoning_content"], &parsed[0]["content"]), (&json!("a"), &json!("b")));
}

#[test]
fn a_tiny_model_is_made_inspected_and_answers() {
    let file = tiny();
    assert!(std::fs::metadata(file).unwrap().len() < 100_000_000);
    let again = file.with_file_name("again.gguf");
    ok(&["synth", path(&again), "--shape", "tiny"]);
    assert!(std::fs::read(file).unwrap() == std::fs::read(&again).unwrap(), "the same seed makes the same bytes");
    std::fs::remove_file(again).unwrap();

    let summary = ok(&["inspect", "-m", path(file), "--ctx", "4096"]);
    for part in ["178 tensors", "IQ2_XXS", "Q2_K", "6 layers", "vocabulary 129280", "memory for 4096 tokens"] {
        assert!(summary.contains(part), "{part} is not in\n{summary}");
    }
    let answer = |extra: &[&str]| {
        let args = [&["run", "-m", path(file), "-p", "Hello there", "-n", "6", "--temp", "0", "--nothink"], extra].concat();
        ok(&args)
    };
    let (first, second) = (answer(&[]), answer(&[]));
    assert_eq!(first, second, "greedy answers are repeatable");
    assert!(first.trim().chars().count() > 3, "{first:?}");
    assert_eq!(answer(&["--device", "cpu"]), answer(&["--exact"]), "the reference and the exact kernels agree");
    assert!(!answer(&["--portable"]).is_empty());
    assert!(ok(&["bench", "-m", path(file), "--frontiers", "40,80", "-n", "3"]).lines().count() == 3);
}

/// A file with the header of Flash in the recipe q2. It is as long as the real file, but sparse: no data is written.
fn flash_header(folder: &Path) -> PathBuf {
    let file = folder.join("flash.gguf");
    let config = Shape::Flash.config();
    let tensors = directory(&config)
        .into_iter()
        .map(|entry| {
            let format = Recipe::Q2.format(entry.role, entry.layer, config.layers.len());
            (entry.name, entry.shape, format.map_or(GgmlType::I32, |f| GgmlType::of(f).unwrap()))
        })
        .collect();
    Writer::create(&file, hyper_parameters(&config), tensors, 32).unwrap().finish().unwrap();
    file
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_its_plan() {
    let folder = tempfile::tempdir().unwrap();
    let (file, tokens) = (flash_header(folder.path()), folder.path().join("tokens.json"));
    std::fs::write(&tokens, "[1]").unwrap();
    let adapter = &adapters()[gpu().parse::<usize>().unwrap()];
    if adapter.memory_bytes.is_none_or(|bytes| bytes > 80 << 30) {
        println!("SKIPPED: {} has room for 81 GiB, or does not say", adapter.name);
        return;
    }
    let out = folder.path().join("out.safetensors");
    let args = ["logits", "-m", path(&file), "--tokens", path(&tokens), "-o", path(&out)];
    let started = Instant::now();
    let line = refused(&args);
    assert!(line.contains(&adapter.name) && line.ends_with("of memory, which is too little"), "{line}");
    assert!(started.elapsed() < Duration::from_secs(10), "refused before anything is loaded");
    let plan = String::from_utf8(run(&args).stderr).unwrap();
    assert!(plan.contains("weights") && plan.contains("total"), "{plan}");
}

#[test]
fn a_full_size_header_has_the_known_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let file = flash_header(folder.path());
    let report: Value = serde_json::from_str(&ok(&["inspect", "-m", path(&file), "--json"])).unwrap();
    assert_eq!(report["tensors"], 1328);
    assert!((report["parameters"].as_f64().unwrap() / 1e9 - 284.33).abs() < 0.005, "{}", report["parameters"]);
    assert!((report["bytes"].as_f64().unwrap() / f64::from(1 << 30) - 80.76).abs() < 0.01, "{}", report["bytes"]);
    let mib = |value: &Value| value.as_f64().unwrap() / f64::from(1 << 20);
    // The sizes of compressed rows and rings in f16, in MiB (SPEC 5).
    for (plan, (context, want)) in report["plans"].as_array().unwrap().iter().zip([(32_768, 220.4), (131_072, 865.4), (1_048_576, 6885.4)])
    {
        assert_eq!(plan["context"], context);
        let rows = mib(&plan["compressed_rows"]) + mib(&plan["index_rows"]) + mib(&plan["rings"]);
        assert!((rows / want - 1.0).abs() < 0.01, "{context} tokens: {rows:.1} MiB, expected {want}");
        assert!(mib(&plan["frontiers"]) > 11.0 && mib(&plan["activations"]) > 100.0);
    }
    let text = ok(&["inspect", "-m", path(&file)]);
    assert!(text.contains("1328 tensors, 284.33 B parameters, 80.76 GiB"), "{text}");
}

#[test]
fn a_model_is_measured_quantised_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| path(&folder.path().join(name)).to_string();
    let (text, importance, small) = (file("text.txt"), file("imatrix.gguf"), file("small.gguf"));
    std::fs::write(&text, "The quick brown fox jumps over the lazy dog, as it does every single day of the year. ".repeat(8)).unwrap();
    let piece = ["--text", &text, "--piece", "32", "-n", "2", "--device", "cpu"];
    ok(&[&["imatrix", "-m", path(tiny()), "-o", &importance], &piece[..]].concat());
    let table = ok(&["quantize", path(tiny()), &small, "--recipe", "q2", "--imatrix", &importance, "--type", "attn_q_a.weight=q4_k"]);
    for format in ["q8_0", "q2_k", "iq2_xxs", "q4_k"] {
        let row: Vec<&str> = table.lines().find(|line| line.starts_with(format)).unwrap().split_whitespace().collect();
        assert!(row[2].parse::<u32>().unwrap() > 0, "{table}");
    }
    let compared = ok(&[&["perplexity", "-m", &small, "--base", path(tiny()), "--json"], &piece[..]].concat());
    let compared: Value = serde_json::from_str(&compared).unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    assert_eq!(compared["tokens"], 30);
    // Random weights predict nothing, so the perplexity is about the size of the vocabulary, 129280.
    assert!((1e4..1e7).contains(&number(&compared["perplexity"])), "{compared}");
    let kl = &compared["kl"];
    assert!(number(&kl["mean"]) > 1e-4 && number(&kl["maximum"]) >= number(&kl["p99"]), "{compared}");
    assert!(number(&kl["p99"]) >= number(&kl["median"]), "{compared}");
    let same = ok(&[&["perplexity", "-m", path(tiny()), "--base", path(tiny())], &piece[..]].concat());
    assert!(same.contains("KL maximum       0.000000\n") && same.contains("top-1 agreement  100.00 %\n"), "{same}");

    assert!(
        refused(&[&["perplexity", "-m", &small, "--text", &text, "--piece", "9999"][..]].concat()).contains("fewer than a piece of 9999")
    );
    let target = file("x.gguf");
    assert!(refused(&["quantize", &small, &target, "--recipe", "q2", "--imatrix", &small]).contains("general.type is"));
    assert!(refused(&["quantize", &small, "/no/such/folder/x.gguf", "--recipe", "q8"]).starts_with("dwarfstar: /no/such/folder/x.gguf"));
    assert!(!Path::new(&target).exists());
}

#[test]
fn every_error_is_one_line_that_names_the_fault() {
    let file = path(tiny());
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.json");
    assert!(refused(&["run", "-m", "/no/such/model.gguf", "-p", "x"]).starts_with("dwarfstar: /no/such/model.gguf: "));
    assert!(refused(&["run", "-m", file, "-p", "x", "--device", "toaster"]).starts_with("dwarfstar: no device \"toaster\"; there are: "));
    assert!(refused(&["run", "-m", file, "-p", "", "--raw", "--device", "cpu", "--ctx", "1"]).contains("leaves no room in a context of 1"));
    let long = "word ".repeat(300);
    assert!(refused(&["run", "-m", file, "-p", &long, "--ctx", "200"]).ends_with("leaves no room in a context of 200; raise --ctx"));
    std::fs::write(&tokens, "[]").unwrap();
    let out = folder.path().join("out.safetensors");
    let logits = |extra: &[&str]| refused(&[&["logits", "-m", file, "--tokens", path(&tokens), "-o", path(&out)], extra].concat());
    assert!(logits(&[]).ends_with("the list of tokens is empty"));
    std::fs::write(&tokens, "[1, 129280]").unwrap();
    assert_eq!(logits(&[]), "dwarfstar: token 1 has id 129280, the vocabulary has 129280 ids");
    std::fs::write(&tokens, "{").unwrap();
    assert!(logits(&[]).contains("expected a JSON array of token ids"));
    assert!(!out.exists(), "a refused command leaves no file behind");
    let broken = folder.path().join("broken.gguf");
    std::fs::write(&broken, b"GGUF\x03\x00\x00\x00").unwrap();
    assert!(refused(&["inspect", "-m", path(&broken)]).starts_with(&format!("dwarfstar: {}: ", broken.display())));
    for usage in [&["run"][..], &["walk"], &["run", "-p", "x", "--device"], &["logits", "-m", file]] {
        assert_eq!(run(usage).status.code(), Some(2), "{usage:?}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_an_answer_cleanly() {
    let args = ["run", "-m", path(tiny()), "-p", "Hello", "-n", "8000", "--raw", "--device", "cpu", "--seed", "1"];
    let child = dwarfstar(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    let started = Instant::now();
    // `kill` is built into the shell. Small systems have no program of that name.
    assert!(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).trim_end().ends_with("stopped"));
    assert!(!output.stdout.is_empty());
}

#[test]
fn devices_are_listed_with_the_kernels_that_they_get() {
    let text = ok(&["devices"]);
    assert!(text.starts_with("0  ") && text.contains("kernels: ") && text.contains("cpu  the reference"), "{text}");
    let rows: Value = serde_json::from_str(&ok(&["devices", "--json"])).unwrap();
    assert!(rows[0]["max_binding_bytes"].as_u64().unwrap() >= 128 << 20);
}

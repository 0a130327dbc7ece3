//! The bundled demo model, which a newcomer runs without a model file and perhaps without a GPU.

use super::{dwarfstar, floats, gpu, lines, ok, path, relative_l2, run, stdout};
use dwarfstar::gpu::{AdapterKind, adapters};
use serde_json::{Value, json};

const QUESTION: [&str; 7] = ["run", "-p", "What is the capital of France?", "--nothink", "--temp", "0", "--device"];

fn answer_on(device: &str) -> String {
    let output = run(&[&QUESTION[..], &[device]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.lines().filter(|line| line.starts_with("using the bundled demo model") && line.contains("-m FILE")).count(), 1);
    stdout(&output).to_string()
}

#[test]
fn the_demo_model_answers_on_the_cpu_and_on_the_adapter() {
    for device in ["cpu", gpu()] {
        assert_eq!(answer_on(device), "The capital of France is Paris.\n", "{device}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_gpu_the_reference_answers_and_says_so() {
    // Once without a driver, and once with a software driver only, which `auto` does not choose.
    let has_gpu = adapters().iter().any(|adapter| adapter.kind != AdapterKind::Software);
    for driver in [Some("/no/such/driver.json"), None].into_iter().filter(|driver| driver.is_some() || !has_gpu) {
        let mut command = dwarfstar(&[&QUESTION[..], &["auto"]].concat());
        if let Some(nothing) = driver {
            command.env("VK_DRIVER_FILES", nothing).env("VK_ICD_FILENAMES", nothing);
        }
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stdout(&output), "The capital of France is Paris.\n", "{errors}");
        assert!(errors.contains("no GPU found (Vulkan, Metal or Direct3D 12): the reference on the CPU runs instead"), "{errors}");
        assert!(errors.contains("\ncpu (reference): loaded in "), "{errors}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn compiled_kernels_are_kept_and_a_damaged_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let answer = || {
        let output = dwarfstar(&[&QUESTION[..], &[gpu(), "-n", "3"]].concat()).env("XDG_CACHE_HOME", folder.path()).output().unwrap();
        (output.status.success(), stdout(&output).to_string())
    };
    assert_eq!(answer(), (true, "The capital of\n".into()));
    let kept = || -> Vec<_> { std::fs::read_dir(folder.path().join("dwarfstar")).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let [file] = &kept()[..] else { panic!("{:?}", kept()) };
    let good = std::fs::read(file).unwrap();
    for damaged in [vec![0x5a; 4096], good[..good.len() / 2].to_vec(), Vec::new()] {
        std::fs::write(file, &damaged).unwrap();
        assert_eq!(answer(), (true, "The capital of\n".into()));
        assert_eq!(kept(), std::slice::from_ref(file));
        assert_ne!(std::fs::read(file).unwrap(), damaged);
    }
}

#[test]
fn a_batch_is_answered_line_by_line_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("batch.jsonl");
    let ask = |text: &str| json!({ "messages": [{ "role": "user", "content": text }], "thinking_mode": "chat" });
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let tool = json!({ "type": "function", "function": { "name": "get_weather", "description": "The weather.", "parameters": schema } });
    let mut call = ask("What is the weather in Paris?");
    call["tools"] = json!([tool]);
    let mut long = ask("Hello");
    long["messages"][0]["content"] = json!("word ".repeat(9000));
    let lines = [ask("What is 17 + 25?"), json!({ "messages": 3 }), call, long, ask("What is the capital of Italy?")];
    let text: String = lines.iter().map(|line| format!("{line}\n\n")).collect();
    std::fs::write(&file, text + "{\n").unwrap();
    let answers = |sessions: &str| -> Vec<Value> {
        let out = ok(&["run", "--batch", path(&file), "--sessions", sessions, "-n", "60"]);
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let several = answers("3");
    assert_eq!(several, answers("1"), "an answer does not depend on its company");
    assert_eq!(several.len(), 6);
    assert_eq!((&several[0]["text"], &several[0]["ending"]), (&json!("17 + 25 = 42."), &json!("stop")));
    assert_eq!(several[4]["text"], "The capital of Italy is Rome.");
    let call = several[2]["text"].as_str().unwrap();
    assert!(call.contains("<｜DSML｜invoke name=\"get_weather\">") && call.contains(">Paris</｜DSML｜parameter>"), "{call}");
    // The command line states what a line leaves out.
    std::fs::write(&file, json!({ "messages": [{ "role": "user", "content": "Hello" }] }).to_string()).unwrap();
    let prompt_tokens = |way: &str| -> u64 {
        let out = ok(&["run", "--batch", path(&file), way, "-n", "1", "--device", "cpu"]);
        serde_json::from_str::<Value>(&out).unwrap()["prompt_tokens"].as_u64().unwrap()
    };
    assert!(prompt_tokens("--think-max") > prompt_tokens("--nothink") + 20);
    for (line, part) in [(1, "messages: expected a list"), (3, "leaves no room in a context of 8192"), (5, "EOF while parsing")] {
        assert!(several[line]["error"].as_str().unwrap().contains(part), "{}", several[line]);
    }
}

#[test]
fn the_draft_block_runs_in_steps_that_end_in_a_single_token() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.json");
    std::fs::write(&tokens, "[0, 5, 9, 300, 17]").unwrap();
    let drafted = |extra: &[&str]| {
        let out = folder.path().join("out.safetensors");
        ok(&[&["logits", "--tokens", path(&tokens), "-o", path(&out), "--mtp", "bundled"], extra].concat());
        floats(&out, "mtp_logits")
    };
    let whole = drafted(&["--device", "cpu"]);
    assert!(relative_l2(&drafted(&["--device", "cpu", "--step", "2"]), &whole) <= 1e-5);
    assert!(relative_l2(&drafted(&["--exact", "--step", "2"]), &whole) <= 1e-4);
}

/// Mean KL divergence of the rows of `logits` from those of `base`, in nats.
fn divergence(base: &[f32], logits: &[f32], vocabulary: usize) -> f64 {
    let log_softmax = |row: &[f32]| -> Vec<f64> {
        let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
        row.iter().map(|&l| f64::from(l) - sum.ln()).collect()
    };
    let rows = base.chunks_exact(vocabulary).zip(logits.chunks_exact(vocabulary));
    let each = rows.map(|(b, l)| log_softmax(b).iter().zip(log_softmax(l)).map(|(b, l)| b.exp() * (b - l)).sum::<f64>());
    each.sum::<f64>() / (base.len() / vocabulary) as f64
}

#[test]
fn the_rounding_of_the_fast_kernels_hardly_changes_the_logits() {
    let folder = tempfile::tempdir().unwrap();
    let (tokens, out) = (folder.path().join("tokens.json"), folder.path().join("out.safetensors"));
    let messages = json!([{ "role": "user", "content": "What is 17 + 25?" }, { "role": "assistant", "content": "17 + 25 = 42." },
        { "role": "user", "content": "What is the capital of France?" }, { "role": "assistant", "content": "The capital of France is Paris." }]);
    let row = json!({ "messages": messages, "thinking_mode": "chat" });
    let ids = &lines(&["render"], &[row])[0]["ids"];
    std::fs::write(&tokens, ids.to_string()).unwrap();
    let logits = |extra: &[&str]| {
        ok(&[&["logits", "--tokens", path(&tokens), "-o", path(&out), "--step", "8"], extra].concat());
        floats(&out, "logits")
    };
    let (exact, fast) = (logits(&["--exact"]), logits(&[]));
    let divergence = divergence(&exact, &fast, exact.len() / ids.as_array().unwrap().len());
    println!("mean KL divergence of decode steps from --exact: {divergence:.1e}");
    assert!(divergence < 1e-3, "{divergence}");
    assert!(exact != fast, "no kernel rounds anything on this adapter: nothing was compared");
}

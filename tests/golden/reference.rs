//! The reference forward pass against the outputs of other implementations, on every file of the golden models.

use crate::recorder::{Recorder, assert_same_sets};
use crate::support::{assert_same_best, best, floats, golden, ids, relative_l2};
use dwarfstar::hf::Safetensors;
use dwarfstar::model::{Model, NoTaps, Tap, Taps};
use dwarfstar::num::KvType;
use dwarfstar::reference::{Reference, State};
use std::path::Path;

/// Logits of `tokens`, which run `step` at a time, or all at once where `step` is 0.
fn run(reference: &Reference, model: &Model, tokens: &[u32], step: usize, taps: &mut dyn Taps) -> (State, Vec<f32>) {
    let mut state = State::new(&model.config, KvType::F32);
    let mut logits = Vec::new();
    for chunk in tokens.chunks(if step == 0 { tokens.len() } else { step }) {
        let (x, _) = reference.step(&mut state, chunk, &[], taps);
        logits.extend(reference.logits(&x));
    }
    (state, logits)
}

fn check(folder: &Path, prompt: &str, step: usize) {
    let label = format!("{} {prompt} step {step}", folder.file_name().unwrap().display());
    let model = Model::open(folder).unwrap();
    let file = Safetensors::open(&folder.join(format!("golden_{prompt}.safetensors"))).unwrap();
    let tokens: Vec<u32> = ids(&file, "input_ids").iter().map(|&i| i as u32).collect();
    let (shape, want) = floats(&file, "logits");
    let mut seen = Recorder::default();
    let reference = Reference::new(&model);
    let started = std::time::Instant::now();
    let (mut state, logits) = run(&reference, &model, &tokens, step, &mut seen);
    let error = relative_l2(&logits, &want);
    println!("{label}: relative L2 {error:.1e}, {:.1} s", started.elapsed().as_secs_f64());
    assert!(error <= 1e-5, "{label}: relative L2 {error:.2e}");
    assert_same_best(&logits, &want, shape[1], 1e-3, &label);
    for l in 0..model.layers.len() {
        if file.tensor(&format!("l{l}.router.ids")).is_some() {
            let want = ids(&file, &format!("l{l}.router.ids"));
            assert_same_sets(&seen.ids[&Tap::Chosen(l)], &want, model.config.experts_used as usize, &format!("{label}: router {l}"));
        }
        if let Some(view) = file.tensor(&format!("l{l}.indexer.topk_ids")) {
            let width = view.shape[1];
            let want = ids(&file, &format!("l{l}.indexer.topk_ids"));
            let all = &seen.ids[&Tap::Selected(l)];
            // The golden file has no more columns than there are compressed rows.
            let top_k = model.config.index_top_k as usize;
            let got: Vec<u32> = all.chunks_exact(top_k).flat_map(|row| row[..width].iter().copied()).collect();
            assert_same_sets(&got, &want, width, &format!("{label}: indexer {l}"));
        }
        if file.tensor(&format!("hidden.{l}")).is_some() {
            let error = relative_l2(&seen.floats[&Tap::Hidden(l)], &floats(&file, &format!("hidden.{l}")).1);
            assert!(error <= 1e-5, "{label}: streams after layer {l}: {error:.2e}");
        }
    }
    if file.tensor("greedy_ids").is_some() {
        let mut last = logits[logits.len() - shape[1]..].to_vec();
        for (i, want) in ids(&file, "greedy_ids").into_iter().enumerate() {
            assert_eq!(best(&last), want as usize, "{label}: greedy token {i}");
            last = reference.logits(&reference.step(&mut state, &[want as u32], &[], &mut NoTaps).0);
        }
    }
}

fn check_all(model: &str, prompts: &[&str], steps: &[usize]) {
    let Some(folder) = golden(model) else { return };
    for prompt in prompts {
        for &step in steps {
            check(&folder, prompt, step);
        }
    }
}

#[test]
fn nano_equals_the_golden() {
    check_all("nano-s1", &["short", "medium"], &[0, 1, 5, 64]);
    check_all("nano-s1", &["long"], &[0, 5]);
}

#[test]
fn micro_equals_the_golden() {
    check_all("micro-s1", &["short"], &[0, 1, 5, 64]);
    check_all("micro-s1", &["medium"], &[0, 5]);
    check_all("micro-s1", &["long"], &[64]);
}

#[test]
fn nano_in_the_checkpoint_formats_equals_the_golden() {
    check_all("nano-s1-fp", &["short", "long"], &[0, 5]);
}

#[test]
fn dropped_tokens_leave_no_trace() {
    let Some(folder) = golden("nano-s1-fp") else { return };
    let model = Model::open(&folder).unwrap();
    let reference = Reference::new(&model);
    let tokens: Vec<u32> = (0..300u32).map(|i| i * 37 % 512).collect();
    // Cuts at, before and after the borders of windows of 4 and 128.
    for (kept, dropped) in [(120, 8), (127, 5), (128, 8), (130, 3), (255, 1), (256, 8), (0, 5)] {
        let mut state = State::new(&model.config, KvType::F32);
        if kept > 0 {
            reference.step(&mut state, &tokens[..kept], &[], &mut NoTaps);
        }
        let wrong: Vec<u32> = (0..dropped).map(|i| i * 91 % 512).collect();
        reference.step(&mut state, &wrong, &[], &mut NoTaps);
        state.drop_last(&model.config, dropped);
        let (after, _) = reference.step(&mut state, &tokens[kept..], &[], &mut NoTaps);
        let mut uncut = State::new(&model.config, KvType::F32);
        let (whole, _) = reference.step(&mut uncut, &tokens, &[], &mut NoTaps);
        assert!(after == whole[whole.len() - after.len()..], "{dropped} tokens dropped at {kept}");
    }
}

#[test]
fn draft_block_equals_the_golden() {
    for name in ["nano-s1", "micro-s1"] {
        let Some(folder) = golden(name) else { return };
        let model = Model::open(&folder).unwrap();
        let mut reference = Reference::new(&model);
        reference.load_mtp(&model.open_mtp(&folder.join("mtp.safetensors")).unwrap());
        let file = Safetensors::open(&folder.join("golden_mtp.safetensors")).unwrap();
        let tokens: Vec<u32> = ids(&file, "mtp_tokens").iter().map(|&i| i as u32).collect();
        let (_, streams) = floats(&file, "h_last_layer");
        let row = 4 * model.config.dim as usize;
        let mut state = State::new(&model.config, KvType::F32);
        let logits = reference.draft(&mut state.draft, 0, &streams[..tokens.len() * row], &tokens);
        let error = relative_l2(&logits, &floats(&file, "mtp_logits").1);
        println!("{name} draft block: relative L2 {error:.1e}");
        assert!(error <= 1e-5, "{name}: {error:.2e}");
    }
}

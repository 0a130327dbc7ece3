//! The engine on every adapter found, against the outputs of other implementations: logits, greedy tokens, expert and indexer choices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

use crate::recorder::{Recorder, assert_same_sets};
use crate::support::{assert_same_best, floats, golden, ids, relative_l2};
use dwarfstar::engine::{DeviceChoice, Engine, Generation, LoadOptions, Session, TokenId, Want};
use dwarfstar::gpu::{OpenOptions, adapters};
use dwarfstar::hf::Safetensors;
use dwarfstar::model::{Model, Mtp};
use dwarfstar::num::KvType;
use dwarfstar::progress::Progress;
use dwarfstar::reference::{NoTaps, Sampling, Tap, Taps};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;

const GO_ON: AtomicBool = AtomicBool::new(false);

/// Options for exact runs on adapter `index`.
fn exact(index: usize, open: OpenOptions) -> LoadOptions {
    LoadOptions { device: DeviceChoice::Index(index), context: 1024, exact: true, open, ..Default::default() }
}

fn each_adapter(mut run: impl FnMut(usize)) {
    let count = adapters().len();
    assert!(count > 0, "no adapter found: install a Vulkan driver, software Vulkan (lavapipe) will do");
    (0..count).for_each(&mut run);
}

/// Logits of all `tokens`, `step` at a time.
fn logits(engine: &mut Engine, session: &mut Session, tokens: &[TokenId], step: usize, taps: &mut dyn Taps) -> Vec<f32> {
    let mut logits = Vec::new();
    for chunk in tokens.chunks(step.min(engine.max_rows())) {
        let wants = (0..chunk.len() as u32).map(|row| (row, Want::Logits)).collect();
        logits.extend(session.step(engine, chunk, wants, Vec::new(), taps).unwrap().logits);
    }
    logits
}

fn check(folder: &Path, prompt: &str, steps: &[usize], options: &LoadOptions) {
    let model = Model::open(folder).unwrap();
    let mut engine = Engine::load(&model, None, options, &GO_ON).unwrap();
    let file = Safetensors::open(&folder.join(format!("golden_{prompt}.safetensors"))).unwrap();
    let tokens: Vec<TokenId> = ids(&file, "input_ids").iter().map(|&i| i as u32).collect();
    let (shape, want) = floats(&file, "logits");
    for &step in steps {
        let label = format!("{} {prompt} step {step} on {}", folder.file_name().unwrap().display(), engine.device());
        let mut seen = Recorder::default();
        let mut session = engine.open().unwrap();
        let started = std::time::Instant::now();
        let got = logits(&mut engine, &mut session, &tokens, step, &mut seen);
        let error = relative_l2(&got, &want);
        println!("{label}: relative L2 {error:.1e}, {:.1} s", started.elapsed().as_secs_f64());
        assert!(error <= 1e-4, "{label}: relative L2 {error:.2e}");
        assert_same_best(&got, &want, shape[1], 1e-3, &label);
        for l in 0..model.layers.len() {
            if file.tensor(&format!("l{l}.router.ids")).is_some() {
                let want = ids(&file, &format!("l{l}.router.ids"));
                assert_same_sets(&seen.ids[&Tap::Chosen(l)], &want, model.config.experts_used as usize, &format!("{label}: router {l}"));
            }
            if let Some(view) = file.tensor(&format!("l{l}.indexer.topk_ids")) {
                let (width, top_k) = (view.shape[1], model.config.index_top_k as usize);
                let want = ids(&file, &format!("l{l}.indexer.topk_ids"));
                let got: Vec<u32> = seen.ids[&Tap::Selected(l)].chunks_exact(top_k).flat_map(|row| row[..width].to_vec()).collect();
                assert_same_sets(&got, &want, width, &format!("{label}: indexer {l}"));
            }
        }
        engine.close(session);
    }
    if file.tensor("greedy_ids").is_some() {
        let want: Vec<TokenId> = ids(&file, "greedy_ids").iter().map(|&i| i as u32).collect();
        assert_eq!(greedy(&mut engine, &tokens, want.len()), want, "{prompt}: greedy tokens");
    }
}

fn greedy(engine: &mut Engine, prompt: &[TokenId], count: usize) -> Vec<TokenId> {
    let mut session = engine.open().unwrap();
    let mut got = Vec::new();
    let generation = Generation { sampling: Sampling::GREEDY, limit: count, stops: Vec::new() };
    let sink = |id| {
        got.push(id);
        ControlFlow::Continue(())
    };
    session.generate(engine, prompt, &generation, &Progress::hidden(), &GO_ON, sink).unwrap();
    engine.close(session);
    got
}

#[test]
fn nano_equals_the_golden() {
    let Some(folder) = golden("nano-s1") else { return };
    each_adapter(|i| {
        let options = exact(i, OpenOptions::default());
        check(&folder, "short", &[1, 5, 64], &options);
        check(&folder, "medium", &[1, 5, 64, 1000], &options);
        check(&folder, "long", &[5, 64, 1000], &options);
    });
}

#[test]
fn micro_equals_the_golden() {
    let Some(folder) = golden("micro-s1") else { return };
    each_adapter(|i| {
        let options = exact(i, OpenOptions::default());
        check(&folder, "short", &[1, 5, 64], &options);
        check(&folder, "medium", &[5, 1000], &options);
        check(&folder, "long", &[64, 1000], &options);
    });
}

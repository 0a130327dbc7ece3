//! The engine on every adapter, against the outputs of other implementations: logits, greedy tokens, and the choices of router and indexer.

use crate::recorder::{Recorder, assert_same_sets};
use crate::running::{bits, each_adapter, exact, greedy, load, logits, nano, quiet};
use crate::support::{assert_same_best, floats, golden, ids, relative_l2};
use dwarfstar::convert::{Request, Shape, quantize, synth};
use dwarfstar::engine::RowKind::{self, Generated, Prompt};
use dwarfstar::engine::{Capacity, DeviceChoice, Engine, Layout, LoadOptions, MemoryPlan, Part, TokenId, Tokens};
use dwarfstar::gpu::{Caps, OpenOptions};
use dwarfstar::hf::Safetensors;
use dwarfstar::model::{Files, Model, NoTaps, Tap};
use dwarfstar::num::KvType;
use dwarfstar::text::v4_tokenizer_json;
use std::path::Path;

fn check(folder: &Path, prompt: &str, steps: &[(RowKind, usize)], options: &LoadOptions) {
    let model = Model::open(folder).unwrap();
    let mut engine = load(&model, options);
    let file = Safetensors::open(&folder.join(format!("golden_{prompt}.safetensors"))).unwrap();
    let tokens: Vec<TokenId> = ids(&file, "input_ids").iter().map(|&i| i as u32).collect();
    let (shape, want) = floats(&file, "logits");
    for &step in steps {
        let label = format!("{} {prompt} step {step:?} on {}", folder.file_name().unwrap().display(), engine.device());
        let mut seen = Recorder::default();
        let mut session = engine.open().unwrap();
        let started = std::time::Instant::now();
        let got = logits(&mut engine, &mut session, step, &tokens, &mut seen);
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
    let (held, plan) = (engine.gpu().unwrap().held_bytes(), engine.plan().unwrap().total());
    assert!(held <= plan && held > plan / 2, "{held} bytes of GPU memory in use, the plan says {plan}");
}

// A prompt gives the same bits wherever it is cut, and a generated row for any number of rows in its step (`timeline.rs`). So one length of
// each kind stands for all.
const WHOLE: (RowKind, usize) = (Prompt, 1000);
const FEW: (RowKind, usize) = (Generated, 16);
const ONE: (RowKind, usize) = (Generated, 1);

#[test]
fn nano_equals_the_golden() {
    let Some(folder) = golden("nano-s1") else { return };
    each_adapter(|i| {
        let options = exact(i, OpenOptions::default());
        check(&folder, "short", &[ONE, WHOLE], &options);
        check(&folder, "medium", &[FEW, WHOLE], &options);
        check(&folder, "long", &[FEW, WHOLE], &options);
    });
}

#[test]
fn micro_equals_the_golden() {
    let Some(folder) = golden("micro-s1") else { return };
    each_adapter(|i| {
        let options = exact(i, OpenOptions::default());
        check(&folder, "short", &[ONE, WHOLE], &options);
        check(&folder, "medium", &[FEW], &options);
        check(&folder, "long", &[WHOLE], &options);
    });
}

#[test]
fn checkpoint_formats_equal_the_golden() {
    let folder = golden("nano-s1-fp").unwrap();
    each_adapter(|i| {
        check(&folder, "short", &[FEW, WHOLE], &exact(i, OpenOptions::default()));
        check(&folder, "long", &[WHOLE], &exact(i, OpenOptions::default()));
    });
}

#[test]
fn portable_kernels_equal_the_golden() {
    let folder = golden("nano-s1-fp").unwrap();
    each_adapter(|i| {
        let options = exact(i, OpenOptions { portable: true, ..Default::default() });
        check(&folder, "short", &[FEW], &options);
        check(&folder, "long", &[WHOLE], &options);
    });
}

#[test]
fn small_bindings_split_everything_and_change_nothing() {
    let open = OpenOptions { binding_cap: Some(256 << 10), ..Default::default() };
    each_adapter(|i| {
        check(&golden("nano-s1-fp").unwrap(), "long", &[WHOLE], &exact(i, open));
        if let Some(folder) = golden("nano-s1") {
            check(&folder, "medium", &[FEW], &exact(i, open));
        }
        if let Some(folder) = golden("micro-s1") {
            check(&folder, "medium", &[WHOLE], &exact(i, open));
        }
    });
}

#[test]
fn draft_block_equals_the_golden() {
    for name in ["nano-s1", "micro-s1"] {
        let Some(folder) = golden(name) else { return };
        let model = Model::open(&folder).unwrap();
        let mtp = model.open_mtp(&folder.join("mtp.safetensors")).unwrap();
        let file = Safetensors::open(&folder.join("golden_mtp.safetensors")).unwrap();
        let next: Vec<TokenId> = ids(&file, "mtp_tokens").iter().map(|&i| i as u32).collect();
        let input = Safetensors::open(&folder.join("golden_medium.safetensors")).unwrap();
        let tokens: Vec<TokenId> = ids(&input, "input_ids").iter().map(|&i| i as u32).collect();
        assert_eq!(tokens[1..], next);
        each_adapter(|i| {
            for (kind, step) in [FEW, WHOLE] {
                let mut engine = Engine::load(&model, Some(&mtp), &exact(i, OpenOptions::default()), quiet()).unwrap();
                let mut session = engine.open().unwrap();
                let mut got = Vec::new();
                for (n, chunk) in tokens.chunks(step.min(engine.max_rows())).enumerate() {
                    let drafts = &next[n * step..next.len().min((n + 1) * step)];
                    let part = Part { session: &mut session, tokens: Tokens::Given(chunk), wants: Vec::new(), drafts };
                    got.extend(engine.step(kind, vec![part], &mut NoTaps).unwrap().draft_logits);
                }
                let error = relative_l2(&got, &floats(&file, "mtp_logits").1);
                assert!(error <= 1e-4, "{name} step {step}: {error:.2e}");
                assert!(engine.gpu().unwrap().held_bytes() <= engine.plan().unwrap().total());
            }
        });
    }
}

/// Generated steps on activations rounded to int8, where the device has such kernels.
#[test]
fn rounded_activations_stay_close_and_do_not_depend_on_their_company() {
    let folder = tempfile::tempdir().unwrap();
    let (_, tokens) = nano();
    for (shape, recipe, cap) in [("nano", "q8", 256 << 10), ("nano", "q2", 256 << 10), ("tiny", "q2", 2 << 20)] {
        let path = folder.path().join(format!("{shape}-{recipe}.gguf"));
        let parsed = recipe.parse().unwrap();
        if shape == "nano" {
            let request = Request { recipe: parsed, overrides: &[], importance: None, draft: false };
            quantize(&Files::open(&golden("nano-s1-fp").unwrap()).unwrap(), &path, request, quiet().cancel).unwrap();
        } else {
            // A model of random weights that is wide enough for every kernel of generated steps.
            synth(&path, Shape::Tiny, None, parsed, 1, &v4_tokenizer_json().unwrap()).unwrap();
        }
        let model = Model::open(&path).unwrap();
        each_adapter(|i| {
            let run = |exactly: bool, step: usize, binding_cap: Option<u64>| {
                let options = LoadOptions { exact: exactly, ..exact(i, OpenOptions { binding_cap, ..Default::default() }) };
                let mut engine = load(&model, &options);
                let mut session = engine.open().unwrap();
                let got = logits(&mut engine, &mut session, (Generated, step), &tokens[..96], &mut NoTaps);
                (got, engine.gpu().unwrap().held_bytes(), engine.plan().unwrap().total())
            };
            let (alone, held, plan) = run(false, 1, None);
            assert!(held <= plan, "{held} bytes of GPU memory in use, the plan says {plan}");
            // Rounding can turn a near tie in the router of a random model, which changes that row by more than any rounding. So the median
            // is compared.
            let (want, vocabulary) = (run(true, 1, None).0, model.config.vocabulary as usize);
            // Matrices that are split over many bindings are summed in another order, which gives other bits and the same error.
            for (what, got) in [("whole", &alone), ("split", &run(false, 1, Some(cap)).0)] {
                let mut errors: Vec<f64> = got.chunks(vocabulary).zip(want.chunks(vocabulary)).map(|(a, b)| relative_l2(a, b)).collect();
                errors.sort_by(f64::total_cmp);
                let (median, most) = (errors[errors.len() / 2], errors[errors.len() - 1]);
                println!("{shape} {recipe}, {what}: relative L2 of a row {median:.1e}, at most {most:.1e}");
                assert!(median < 0.05, "{shape} {recipe}, {what}: relative L2 of a row {median:.2e}, at most {most:.2e}");
            }
            for step in [2, 3, 8, 16] {
                assert!(bits(&run(false, step, None).0) == bits(&alone), "{shape} {recipe}: steps of {step}");
            }
        });
    }
}

#[test]
fn the_reference_generates_as_the_gpu_does() {
    let (model, tokens) = nano();
    let prompt = &tokens[..140];
    let cpu = LoadOptions { device: DeviceChoice::Cpu, context: 1024, ..Default::default() };
    let want = greedy(&mut load(&model, &cpu), prompt, 24);
    each_adapter(|i| {
        let mut engine = load(&model, &exact(i, OpenOptions::default()));
        assert_eq!(greedy(&mut engine, prompt, 24), want);
    });
}

#[test]
fn steps_are_shortened_where_memory_is_short() {
    let (model, _) = nano();
    let caps = Caps::portable();
    let layout = Layout::new(&model, None, &caps).unwrap();
    let capacity = |rows| Capacity { context: 8192, sessions: 1, rows, kv: KvType::F16 };
    let plan = |rows, available| MemoryPlan::within(&model.config, &layout, capacity(rows), &caps, 512, available).unwrap();
    let totals = [4096, 2048, 1024, 512].map(|rows| plan(rows, None).total());
    assert!(totals.is_sorted_by(|more, fewer| more > fewer), "{totals:?}");
    for (available, rows) in [(totals[0], 4096), (totals[0] - 1, 2048), (totals[1] - 1, 1024), (totals[2] - 1, 512), (0, 512)] {
        assert_eq!(plan(4096, Some(available)).capacity, capacity(rows), "{available} of {totals:?}");
    }
    assert_eq!(plan(700, Some(0)).capacity, capacity(512));
    assert_eq!(plan(300, Some(0)).capacity, capacity(300));
}

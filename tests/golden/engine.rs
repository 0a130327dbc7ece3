//! The engine on every adapter found, against the outputs of other implementations: logits, greedy tokens, expert and indexer choices.

use crate::recorder::{Recorder, assert_same_sets};
use crate::support::{assert_same_best, floats, golden, ids, relative_l2};
use dwarfstar::convert::{Request, Shape, quantize, synth};
use dwarfstar::engine::{
    Capacity, DeviceChoice, Ending, Engine, Generation, Layout, LoadOptions, MemoryPlan, Part, Report, Session, TokenId, Want,
};
use dwarfstar::gpu::{Caps, OpenOptions, adapters};
use dwarfstar::hf::Safetensors;
use dwarfstar::model::{Files, Model};
use dwarfstar::num::KvType;
use dwarfstar::progress::Progress;
use dwarfstar::reference::{NoTaps, Sampling, Tap, Taps};
use dwarfstar::text::v4_tokenizer_json;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;

static GO_ON: AtomicBool = AtomicBool::new(false);

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
    let (held, plan) = (engine.held_bytes(), engine.plan().unwrap().total());
    assert!(held <= plan && held > plan / 2, "{held} bytes of GPU memory in use, the plan says {plan}");
}

fn greedy(engine: &mut Engine, prompt: &[TokenId], count: usize) -> Vec<TokenId> {
    let mut session = engine.open().unwrap();
    let (got, _) = generate(engine, &mut session, prompt, Sampling::GREEDY, count, &[]);
    engine.close(session);
    got
}

fn generate(
    engine: &mut Engine,
    session: &mut Session,
    prompt: &[TokenId],
    sampling: Sampling,
    limit: usize,
    stops: &[TokenId],
) -> (Vec<TokenId>, Report) {
    let mut got = Vec::new();
    let generation = Generation { sampling, limit, stops: stops.to_vec() };
    let sink = |id| {
        got.push(id);
        ControlFlow::Continue(())
    };
    let report = session.generate(engine, prompt, &generation, &Progress::hidden(), &GO_ON, sink).unwrap();
    (got, report)
}

/// The small model that the project carries, and tokens for it.
fn nano() -> (Model, Vec<TokenId>) {
    let model = Model::open(&golden("nano-s1-fp").unwrap()).unwrap();
    (model, (0..400u32).map(|i| (i * 37 + i * i % 11) % 512).collect())
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

#[test]
fn checkpoint_formats_equal_the_golden() {
    let folder = golden("nano-s1-fp").unwrap();
    each_adapter(|i| {
        check(&folder, "short", &[1, 1000], &exact(i, OpenOptions::default()));
        check(&folder, "long", &[1000], &exact(i, OpenOptions::default()));
    });
}

#[test]
fn portable_kernels_equal_the_golden() {
    let folder = golden("nano-s1-fp").unwrap();
    each_adapter(|i| {
        let options = exact(i, OpenOptions { portable: true, ..Default::default() });
        check(&folder, "short", &[1], &options);
        check(&folder, "long", &[1000], &options);
    });
}

#[test]
fn small_bindings_split_everything_and_change_nothing() {
    let open = OpenOptions { binding_cap: Some(256 << 10), ..Default::default() };
    each_adapter(|i| {
        check(&golden("nano-s1-fp").unwrap(), "long", &[1000], &exact(i, open));
        if let Some(folder) = golden("nano-s1") {
            check(&folder, "medium", &[1, 1000], &exact(i, open));
        }
        if let Some(folder) = golden("micro-s1") {
            check(&folder, "long", &[1000], &exact(i, open));
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
            for step in [7, 64, 1000] {
                let mut engine = Engine::load(&model, Some(&mtp), &exact(i, OpenOptions::default()), &GO_ON).unwrap();
                let mut session = engine.open().unwrap();
                let mut got = Vec::new();
                for (n, chunk) in tokens.chunks(step.min(engine.max_rows())).enumerate() {
                    let draft = next[n * step..].iter().take(chunk.len()).copied().collect();
                    got.extend(session.step(&mut engine, chunk, Vec::new(), draft, &mut NoTaps).unwrap().draft_logits);
                }
                let error = relative_l2(&got, &floats(&file, "mtp_logits").1);
                assert!(error <= 1e-4, "{name} step {step}: {error:.2e}");
                assert!(engine.held_bytes() <= engine.plan().unwrap().total());
            }
        });
    }
}

/// Bits of the logits of the last row of each part.
fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|l| l.to_bits()).collect()
}

#[test]
fn rows_of_a_decode_step_do_not_depend_on_their_company() {
    let (model, tokens) = nano();
    let last = |n: usize| vec![(n as u32 - 1, Want::Logits)];
    each_adapter(|i| {
        for exactly in [true, false] {
            let options = LoadOptions { sessions: 5, exact: exactly, ..exact(i, OpenOptions::default()) };
            let mut engine = Engine::load(&model, None, &options, &GO_ON).unwrap();
            // The row alone, after histories that end inside, at and behind windows of 4, 16 and 128.
            for history in [0usize, 3, 15, 127, 130] {
                let open = |engine: &mut Engine, len: usize| {
                    // In steps of fixed length: those of a prefill depend on how fast the device is.
                    let mut session = engine.open().unwrap();
                    for chunk in tokens[..len].chunks(16) {
                        session.step(engine, chunk, Vec::new(), Vec::new(), &mut NoTaps).unwrap();
                    }
                    session
                };
                let mut alone = open(&mut engine, history);
                let want = bits(&alone.step(&mut engine, &tokens[history..][..1], last(1), Vec::new(), &mut NoTaps).unwrap().logits);
                engine.close(alone);
                // The same row first, in the middle and last among rows of other sessions, 1 to 5 each.
                for (place, others) in [(0, &[1usize][..]), (1, &[1, 1]), (2, &[5, 2, 1]), (3, &[4, 5, 3, 3]), (0, &[5, 5, 2, 3])] {
                    let mut sessions: Vec<Session> = (0..others.len()).map(|n| open(&mut engine, 11 * n + 2)).collect();
                    let mut own = open(&mut engine, history);
                    let mut parts: Vec<Part<'_>> = sessions
                        .iter_mut()
                        .zip(others)
                        .enumerate()
                        .map(|(n, (session, &count))| Part { session, tokens: &tokens[11 * n + 2..][..count], wants: Vec::new() })
                        .collect();
                    parts.insert(place, Part { session: &mut own, tokens: &tokens[history..][..1], wants: last(1) });
                    let rows: usize = parts.iter().map(|p| p.tokens.len()).sum();
                    let got = bits(&engine.step(&mut parts, Vec::new(), &mut NoTaps).unwrap().logits);
                    assert!(got == want, "history {history}, {rows} rows, place {place}, exact {exactly}");
                    sessions.into_iter().chain([own]).for_each(|session| engine.close(session));
                }
                // And as one of several rows of its own session, whose earlier rows are decode steps both times.
                for count in [2usize, 8, 16].into_iter().filter(|count| history + 1 >= *count) {
                    let before = history + 1 - count;
                    let mut session = open(&mut engine, before);
                    let run = &tokens[before..=history];
                    let got = bits(&session.step(&mut engine, run, last(run.len()), Vec::new(), &mut NoTaps).unwrap().logits);
                    engine.close(session);
                    assert!(got == want, "history {history} in a step of {count}, exact {exactly}");
                }
            }
        }
    });
}

/// Decode steps on activations rounded to int8, where the device has them.
#[test]
fn rounded_activations_stay_close_and_do_not_depend_on_their_company() {
    let folder = tempfile::tempdir().unwrap();
    let (_, tokens) = nano();
    for (shape, recipe, cap) in [("nano", "q8", 256 << 10), ("nano", "q2", 256 << 10), ("tiny", "q2", 2 << 20)] {
        let path = folder.path().join(format!("{shape}-{recipe}.gguf"));
        let parsed = recipe.parse().unwrap();
        if shape == "nano" {
            let request = Request { recipe: parsed, overrides: &[], importance: None, draft: false };
            quantize(&Files::open(&golden("nano-s1-fp").unwrap()).unwrap(), &path, request, &GO_ON).unwrap();
        } else {
            // Of random weights, wide enough for every kernel of decode steps.
            synth(&path, Shape::Tiny, None, parsed, 1, &v4_tokenizer_json().unwrap()).unwrap();
        }
        let model = Model::open(&path).unwrap();
        each_adapter(|i| {
            let run = |exactly: bool, step: usize, binding_cap: Option<u64>| {
                let options = LoadOptions { exact: exactly, ..exact(i, OpenOptions { binding_cap, ..Default::default() }) };
                let mut engine = Engine::load(&model, None, &options, &GO_ON).unwrap();
                let mut session = engine.open().unwrap();
                let got = logits(&mut engine, &mut session, &tokens[..96], step, &mut NoTaps);
                (got, engine.held_bytes(), engine.plan().unwrap().total())
            };
            let (alone, held, plan) = run(false, 1, None);
            assert!(held <= plan, "{held} bytes of GPU memory in use, the plan says {plan}");
            // Near ties of a random model's router go the other way now and then, which moves that row by more than any rounding.
            let (want, vocabulary) = (run(true, 1, None).0, model.config.vocabulary as usize);
            // Everything split over many bindings adds up in another order, which is not bit-identical but as close.
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
fn chunks_of_any_length_agree() {
    let (model, tokens) = nano();
    each_adapter(|i| {
        let mut engine = Engine::load(&model, None, &exact(i, OpenOptions::default()), &GO_ON).unwrap();
        let mut run = |step: usize| {
            let mut session = engine.open().unwrap();
            let got = logits(&mut engine, &mut session, &tokens, step, &mut NoTaps);
            engine.close(session);
            got
        };
        let want = run(400);
        for step in [1, 2, 16, 17, 127, 128, 129] {
            let error = relative_l2(&run(step), &want);
            assert!(error <= 1e-5, "chunks of {step}: {error:.2e}");
        }
    });
}

#[test]
fn dropped_tokens_leave_no_trace() {
    let (model, tokens) = nano();
    each_adapter(|i| {
        let mut engine = Engine::load(&model, None, &LoadOptions { sessions: 2, ..exact(i, OpenOptions::default()) }, &GO_ON).unwrap();
        // Cuts on, before and after the borders of windows of 4, 16 and 128, and of pages of 512 tokens with 140 tokens repeated.
        for (kept, dropped) in [(120, 8), (127, 5), (128, 8), (130, 3), (255, 1), (256, 8), (0, 5), (9, 8)] {
            let (mut cut, mut fresh) = (engine.open().unwrap(), engine.open().unwrap());
            let wrong: Vec<TokenId> = (0..dropped).map(|i| i * 91 % 512).collect();
            for session in [&mut cut, &mut fresh] {
                logits(&mut engine, session, &tokens[..kept], 8, &mut NoTaps);
            }
            logits(&mut engine, &mut cut, &wrong, 3, &mut NoTaps);
            cut.drop_last(&mut engine, wrong.len()).unwrap();
            assert_eq!(cut.tokens(), &tokens[..kept]);
            let [after, want] = [&mut cut, &mut fresh].map(|session| logits(&mut engine, session, &tokens[kept..], 8, &mut NoTaps));
            assert!(bits(&after) == bits(&want), "{dropped} tokens dropped at {kept}");
            assert!(cut.drop_last(&mut engine, 9).is_err());
            engine.close(cut);
            engine.close(fresh);
        }
    });
}

#[test]
fn generation_is_repeatable_stops_and_goes_on() {
    let (model, tokens) = nano();
    let prompt = &tokens[..50];
    let warm = Sampling { temperature: 1.0, top_p: 0.9, seed: 42, ..Sampling::GREEDY };
    each_adapter(|i| {
        let mut engine = Engine::load(&model, None, &exact(i, OpenOptions::default()), &GO_ON).unwrap();
        let mut fresh = |sampling: Sampling, limit: usize, stops: &[TokenId]| {
            let mut session = engine.open().unwrap();
            let (got, report) = generate(&mut engine, &mut session, prompt, sampling, limit, stops);
            let held = session.tokens().to_vec();
            engine.close(session);
            (got, report.ending, held)
        };
        let (long, ending, _) = fresh(warm, 30, &[]);
        assert_eq!((long.len(), ending), (30, Ending::Length));
        assert_eq!(fresh(warm, 30, &[]).0, long, "the same seed");
        assert_ne!(fresh(Sampling { seed: 43, ..warm }, 30, &[]).0, long, "another seed");
        assert_eq!(fresh(warm, 12, &[]).0, long[..12]);
        // Stop at the first token that did not occur before.
        let at = (5..30).find(|&n| !long[..n].contains(&long[n])).unwrap();
        let (got, ending, held) = fresh(warm, 30, &[long[at]]);
        assert_eq!((&got[..], ending), (&long[..at], Ending::Stop));
        assert_eq!(held, [prompt, &long[..at]].concat(), "the stop token is not part of the timeline");

        // A second turn on the same session equals one from scratch: what ran ahead of the stop left no trace.
        let second: Vec<TokenId> = [&held[..], &tokens[60..70]].concat();
        let mut session = engine.open().unwrap();
        generate(&mut engine, &mut session, prompt, warm, 30, &[long[at]]);
        let (continued, report) = generate(&mut engine, &mut session, &second, Sampling::GREEDY, 20, &[]);
        assert_eq!(report.reused, held.len());
        engine.close(session);
        assert_eq!(continued, greedy(&mut engine, &second, 20));
    });
}

#[test]
fn the_reference_generates_as_the_gpu_does() {
    let (model, tokens) = nano();
    let prompt = &tokens[..140];
    let cpu = LoadOptions { device: DeviceChoice::Cpu, context: 1024, ..Default::default() };
    let want = greedy(&mut Engine::load(&model, None, &cpu, &GO_ON).unwrap(), prompt, 24);
    each_adapter(|i| {
        let mut engine = Engine::load(&model, None, &exact(i, OpenOptions::default()), &GO_ON).unwrap();
        assert_eq!(greedy(&mut engine, prompt, 24), want);
    });
}

#[test]
fn steps_are_shortened_where_memory_is_short() {
    let (model, _) = nano();
    let caps = Caps::portable();
    let layout = Layout::new(&model, None, &caps).unwrap();
    let of = |rows| Capacity { context: 8192, sessions: 1, rows, kv: KvType::F16 };
    let plan = |rows, there| MemoryPlan::within(&model.config, &layout, of(rows), &caps, 512, there).unwrap();
    let totals = [4096, 2048, 1024, 512].map(|rows| plan(rows, None).total());
    assert!(totals.is_sorted_by(|more, fewer| more > fewer), "{totals:?}");
    for (there, rows) in [(totals[0], 4096), (totals[0] - 1, 2048), (totals[1] - 1, 1024), (totals[2] - 1, 512), (0, 512)] {
        assert_eq!(plan(4096, Some(there)).capacity, of(rows), "{there} of {totals:?}");
    }
    assert_eq!(plan(700, Some(0)).capacity, of(512));
    assert_eq!(plan(300, Some(0)).capacity, of(300));
}

#[test]
fn requests_that_cannot_be_served_are_refused_with_numbers() {
    let (model, tokens) = nano();
    let load = |options: &LoadOptions| Engine::load(&model, None, options, &GO_ON).map(|_| ()).unwrap_err().to_string();
    let named = |name: &str| LoadOptions { device: name.parse().unwrap(), ..Default::default() };
    assert!(load(&named("no such card")).starts_with("no device \"no such card\"; there are: 0 "));
    assert!(load(&named("99")).starts_with("no device 99; there are: 0 "));
    let too_long = load(&LoadOptions { context: 2 << 20, ..Default::default() });
    assert_eq!(too_long, "context of 2097152 tokens for 1 session(s): the model has room for 1 to 1048576");
    each_adapter(|i| {
        let huge = LoadOptions { context: 1 << 20, sessions: 4000, ..exact(i, OpenOptions::default()) };
        let refused = load(&huge);
        assert!(refused.contains("MiB") || refused.contains("GiB"), "{refused}");

        let options = LoadOptions { context: 64, ..exact(i, OpenOptions::default()) };
        let mut engine = Engine::load(&model, None, &options, &GO_ON).unwrap();
        let mut session = engine.open().unwrap();
        let generation = Generation { sampling: Sampling::GREEDY, limit: 1, stops: Vec::new() };
        let mut refuse = |prompt: &[TokenId], generation: &Generation| {
            let sink = |_| ControlFlow::Continue(());
            session.generate(&mut engine, prompt, generation, &Progress::hidden(), &GO_ON, sink).unwrap_err().to_string()
        };
        assert_eq!(refuse(&[], &generation), "the prompt is empty");
        assert_eq!(refuse(&tokens[..100], &generation), "100 tokens do not fit in a context of 64; raise --ctx");
        assert_eq!(refuse(&tokens[..64], &generation), "the prompt has 64 tokens, which leaves no room in a context of 64; raise --ctx");
        assert_eq!(refuse(&[1, 512], &generation), "token 1 has id 512, the vocabulary has 512 ids");
        let odd = Generation { sampling: Sampling { top_p: 0.0, ..Sampling::GREEDY }, ..generation.clone() };
        assert_eq!(refuse(&[1], &odd), "top-p is 0, it must be above 0 and at most 1");
        assert!(engine.open().is_err(), "there is room for one session");
    });
}

#[test]
fn logits_that_are_not_finite_name_the_session_and_the_position() {
    let source = golden("nano-s1-fp").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(source.join("config.json"), folder.path().join("config.json")).unwrap();
    let file = Safetensors::open(&source.join("model.safetensors")).unwrap();
    let norm = file.tensor("norm.weight").unwrap().bytes;
    let mut bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let at = bytes.windows(norm.len()).position(|window| window == norm).unwrap();
    bytes[at..at + 2].copy_from_slice(&0x7f80u16.to_le_bytes());
    std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    let model = Model::open(folder.path()).unwrap();
    for device in ["cpu", "0"] {
        let options = LoadOptions { device: device.parse().unwrap(), context: 64, ..Default::default() };
        let mut engine = Engine::load(&model, None, &options, &GO_ON).unwrap();
        let mut session = engine.open().unwrap();
        let generation = Generation { sampling: Sampling::GREEDY, limit: 4, stops: Vec::new() };
        let sink = |_| ControlFlow::Continue(());
        // The second prompt leaves room for one token: nothing of the first may be left behind.
        for tokens in [3, 63] {
            let prompt: Vec<TokenId> = (1..=tokens).collect();
            let error = session.generate(&mut engine, &prompt, &generation, &Progress::hidden(), &GO_ON, sink).unwrap_err();
            let last = tokens - 1;
            assert_eq!(error.to_string(), format!("session 0: the logits after position {last} are not finite numbers"), "{device}");
            assert_eq!(session.tokens(), prompt, "{device}");
        }
    }
}

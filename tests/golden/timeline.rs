//! A row's bits depend on its own timeline alone: not on where a prompt was cut, how long a step is, what else runs in it, or what was dropped.

use crate::running::{bits, each_adapter, exact, load, logits, nano};
use crate::support::relative_l2;
use dwarfstar::engine::RowKind::{Generated, Prompt};
use dwarfstar::engine::{Engine, LoadOptions, Part, Session, TokenId, Want};
use dwarfstar::gpu::OpenOptions;
use dwarfstar::model::NoTaps;
use std::collections::BTreeSet;

/// Every way to run the kernels: exact or not, and how the device is opened.
fn ways() -> [(&'static str, bool, OpenOptions); 5] {
    let best = OpenOptions::default();
    [
        ("exact", true, best),
        ("best", false, best),
        ("portable", false, OpenOptions { portable: true, ..best }),
        ("narrow", false, OpenOptions { narrow: true, ..best }),
        ("small bindings", false, OpenOptions { binding_cap: Some(256 << 10), ..best }),
    ]
}

#[test]
fn prompts_cut_anywhere_give_the_same_bits() {
    let (model, tokens) = nano();
    // Beyond the window of 128, and four windows of 4 beyond what the indexer takes.
    let tokens = &tokens[..150];
    each_adapter(|i| {
        for (way, is_exact, open) in ways() {
            let mut engine = load(&model, &LoadOptions { exact: is_exact, ..exact(i, open) });
            let mut run = |sizes: &[usize]| {
                let mut session = engine.open().unwrap();
                let (mut got, mut rest) = (Vec::new(), tokens);
                for size in sizes.iter().copied().chain([tokens.len()]) {
                    let (piece, behind) = rest.split_at(size.min(rest.len()));
                    if !piece.is_empty() {
                        got.extend(logits(&mut engine, &mut session, (Prompt, size), piece, &mut NoTaps));
                    }
                    rest = behind;
                }
                engine.close(session);
                bits(&got)
            };
            let want = run(&[]);
            // Pieces on both sides of the kernels' tiles and of the borders of windows, a row by itself first and two late.
            let sizes = [1, 16, 17, 33, 62, 2];
            let row = run(&sizes).iter().zip(&want).position(|(a, b)| a != b).map(|at| at / model.config.vocabulary as usize);
            assert_eq!(row, None, "{way}, pieces of {sizes:?}: the first row that differs");
        }
    });
}

#[test]
fn prompts_beside_one_another_give_the_same_bits() {
    let (model, tokens) = nano();
    let all = |n: usize| (0..n as u32).map(|row| (row, Want::Logits)).collect::<Vec<_>>();
    each_adapter(|i| {
        // Small bindings leave room for 16 rows.
        for (way, is_exact, open) in ways().into_iter().filter(|(_, _, open)| open.binding_cap.is_none()) {
            let options = LoadOptions { exact: is_exact, sessions: 3, ..exact(i, open) };
            let mut engine = load(&model, &options);
            let mut alone = |tokens: &[TokenId]| {
                let mut session = engine.open().unwrap();
                let got = logits(&mut engine, &mut session, (Prompt, tokens.len()), tokens, &mut NoTaps);
                engine.close(session);
                bits(&got)
            };
            let lengths = [3, 70, 18];
            let want: Vec<u32> = lengths.iter().flat_map(|&n| alone(&tokens[n..2 * n])).collect();
            let mut sessions: Vec<Session> = lengths.iter().map(|_| engine.open().unwrap()).collect();
            let prompts = sessions.iter_mut().zip(lengths);
            let parts = prompts.map(|(session, n)| Part::given(session, &tokens[n..2 * n], all(n))).collect();
            assert!(bits(&engine.step(Prompt, parts, &mut NoTaps).unwrap().logits) == want, "{way}");
        }
    });
}

#[test]
fn both_numerics_are_close() {
    let (model, tokens) = nano();
    // As long as cut prompts are. How many generated rows share a step does not matter (below).
    let tokens = &tokens[..150];
    each_adapter(|i| {
        let mut engine = load(&model, &exact(i, OpenOptions::default()));
        let [prompt, generated] = [(Prompt, 150), (Generated, 16)].map(|step| {
            let mut session = engine.open().unwrap();
            let got = logits(&mut engine, &mut session, step, tokens, &mut NoTaps);
            engine.close(session);
            got
        });
        let error = relative_l2(&generated, &prompt);
        assert!(error > 0.0 && error <= 1e-5, "{error:.2e}");
    });
}

/// Copies of one timeline of `tokens`, in generated rows, where it has each of these lengths, which ascend.
fn stages(engine: &mut Engine, tokens: &[TokenId], lengths: &[usize]) -> Vec<Session> {
    let mut session = engine.open().unwrap();
    let mut copies = Vec::new();
    for &length in lengths {
        for chunk in tokens[session.tokens().len()..length].chunks(16) {
            engine.step(Generated, vec![Part::given(&mut session, chunk, Vec::new())], &mut NoTaps).unwrap();
        }
        copies.push(engine.fork(&session).unwrap());
    }
    engine.close(session);
    copies
}

#[test]
fn rows_of_a_decode_step_do_not_depend_on_their_company() {
    let (model, tokens) = nano();
    let step = |engine: &mut Engine, parts: Vec<Part<'_>>| bits(&engine.step(Generated, parts, &mut NoTaps).unwrap().logits);
    let last = |n: usize| vec![(n as u32 - 1, Want::Logits)];
    // Histories that end inside, at and behind windows of 4, 16 and 128, and how many rows of its own session a row shares its step with.
    let histories = [0usize, 3, 15, 127, 130];
    let counts = |history: usize| [2usize, 8, 16].into_iter().filter(move |count| history + 1 >= *count);
    let others = [2, 13, 24, 35];
    let starts = histories.iter().flat_map(|&history| counts(history).map(move |count| history + 1 - count).chain([history]));
    let lengths: Vec<usize> = starts.chain(others).collect::<BTreeSet<_>>().into_iter().collect();
    each_adapter(|i| {
        for exactly in [true, false] {
            let options =
                LoadOptions { sessions: lengths.len() as u32 + 5, context: 256, exact: exactly, ..exact(i, OpenOptions::default()) };
            let mut engine = load(&model, &options);
            let stages = stages(&mut engine, &tokens, &lengths);
            let stage = |length: usize| &stages[lengths.binary_search(&length).unwrap()];
            for history in histories {
                // The row alone.
                let mut alone = engine.fork(stage(history)).unwrap();
                let want = step(&mut engine, vec![Part::given(&mut alone, &tokens[history..][..1], last(1))]);
                engine.close(alone);
                // The same row first, in the middle and last among rows of other sessions, 1 to 5 each.
                for (place, company) in [(0, &[1usize][..]), (1, &[1, 1]), (2, &[5, 2, 1]), (3, &[4, 5, 3, 3]), (0, &[5, 5, 2, 3])] {
                    let mut sessions: Vec<Session> = others[..company.len()].iter().map(|&n| engine.fork(stage(n)).unwrap()).collect();
                    let mut own = engine.fork(stage(history)).unwrap();
                    let mut parts: Vec<Part<'_>> = sessions
                        .iter_mut()
                        .zip(others)
                        .zip(company)
                        .map(|((session, from), &count)| Part::given(session, &tokens[from..][..count], Vec::new()))
                        .collect();
                    parts.insert(place, Part::given(&mut own, &tokens[history..][..1], last(1)));
                    let got = step(&mut engine, parts);
                    assert!(got == want, "history {history}, beside {company:?}, place {place}, exact {exactly}");
                    sessions.into_iter().chain([own]).for_each(|session| engine.close(session));
                }
                // And as one of several rows of its own session, whose earlier rows are decode steps both times.
                for count in counts(history) {
                    let before = history + 1 - count;
                    let mut session = engine.fork(stage(before)).unwrap();
                    let run = &tokens[before..=history];
                    let got = step(&mut engine, vec![Part::given(&mut session, run, last(run.len()))]);
                    engine.close(session);
                    assert!(got == want, "history {history} in a step of {count}, exact {exactly}");
                }
            }
        }
    });
}

#[test]
fn dropped_tokens_leave_no_trace() {
    let (model, tokens) = nano();
    each_adapter(|i| {
        let mut engine = load(&model, &LoadOptions { sessions: 2, ..exact(i, OpenOptions::default()) });
        // Cuts on, before and after the borders of windows of 4, 16 and 128, and one over the end of the longest ring, of 136 tokens.
        let cuts = [(0, 5), (9, 8), (120, 8), (127, 5), (128, 8), (130, 3), (131, 8), (255, 1), (256, 8)];
        // Until every window that was open at a cut has closed.
        let end = 388;
        let mut fresh = engine.open().unwrap();
        let want = logits(&mut engine, &mut fresh, (Generated, 16), &tokens[..end], &mut NoTaps);
        let want: Vec<&[f32]> = want.chunks_exact(model.config.vocabulary as usize).collect();
        let mut cut = engine.open().unwrap();
        for (n, (kept, dropped)) in cuts.into_iter().enumerate() {
            let wrong: Vec<TokenId> = (0..dropped).map(|i| i * 91 % 512).collect();
            logits(&mut engine, &mut cut, (Generated, 3), &wrong, &mut NoTaps);
            engine.drop_last(&mut cut, wrong.len()).unwrap();
            assert_eq!(cut.tokens(), &tokens[..kept]);
            let next = cuts.get(n + 1).map_or(end, |cut| cut.0);
            let after = logits(&mut engine, &mut cut, (Generated, 16), &tokens[kept..next], &mut NoTaps);
            assert!(bits(&after) == bits(&want[kept..next].concat()), "{dropped} tokens dropped at {kept}, rows up to {next}");
        }
        assert!(engine.drop_last(&mut cut, 9).is_err());
    });
}

#[test]
fn launches_that_do_not_follow_from_positions_are_the_same_in_every_step() {
    let (model, tokens) = nano();
    each_adapter(|i| {
        for is_exact in [true, false] {
            let mut engine = load(&model, &LoadOptions { exact: is_exact, ..exact(i, OpenOptions::default()) });
            let mut session = engine.open().unwrap();
            logits(&mut engine, &mut session, (Prompt, 120), &tokens[..120], &mut NoTaps);
            // Over the borders of a window of 128, and of two of 4; the labels of all launches, and of those that are not marked.
            let steps: Vec<[Vec<String>; 2]> = (120..130)
                .map(|at| {
                    engine.gpu().unwrap().capture(true);
                    logits(&mut engine, &mut session, (Generated, 1), &tokens[at..=at], &mut NoTaps);
                    let step = engine.gpu().unwrap().capture(false);
                    [false, true].map(|only_fixed| {
                        let kept = step.dispatches().iter().filter(|launch| !(only_fixed && launch.by_position));
                        let mut labels: Vec<String> = kept.map(ToString::to_string).collect();
                        labels.sort();
                        labels
                    })
                })
                .collect();
            let [all, fixed] = &steps[0];
            assert!(fixed.len() > all.len() / 2 && fixed.len() < all.len(), "{} of {} launches are not marked", fixed.len(), all.len());
            for [_, other_fixed] in &steps[1..] {
                assert_eq!(other_fixed, fixed, "exact {is_exact}");
            }
            assert!(steps.iter().any(|[other_all, _]| other_all != all), "no launch followed from the positions");
        }
    });
}

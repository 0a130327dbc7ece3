//! The bits of a row depend on its own timeline alone: not on where a prompt was cut, on the other rows of a step, or on dropped tokens.

use crate::running::{bits, each_adapter, exact, load, logits, nano};
use crate::support::relative_l2;
use dwarfstar::engine::RowKind::{Generated, Prompt};
use dwarfstar::engine::{Engine, LoadOptions, Part, Session, TokenId, Want};
use dwarfstar::gpu::OpenOptions;
use dwarfstar::model::NoTaps;

/// Every way to run the kernels: a name, whether they are exact, and how the device is opened.
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
    // More tokens than the sliding window has, and four more compressed rows than the indexer chooses.
    let tokens = &tokens[..150];
    each_adapter(|i| {
        for (way, is_exact, open) in ways() {
            let mut engine = load(&model, &LoadOptions { exact: is_exact, ..exact(i, open) });
            let mut run = |sizes: &[usize]| {
                let mut session = engine.open().unwrap();
                let (mut got, mut rest) = (Vec::new(), tokens);
                for size in sizes.iter().copied().chain([tokens.len()]) {
                    let (piece, after) = rest.split_at(size.min(rest.len()));
                    if !piece.is_empty() {
                        got.extend(logits(&mut engine, &mut session, (Prompt, size), piece, &mut NoTaps));
                    }
                    rest = after;
                }
                engine.close(session);
                bits(&got)
            };
            let want = run(&[]);
            // Pieces shorter and longer than the kernels' tiles, cut on both sides of the borders of windows.
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
    each_adapter(|i| {
        let mut engine = load(&model, &exact(i, OpenOptions::default()));
        let mut run = |kind, step| {
            let mut session = engine.open().unwrap();
            let got = logits(&mut engine, &mut session, (kind, step), &tokens, &mut NoTaps);
            engine.close(session);
            got
        };
        let want = run(Prompt, 400);
        for step in [1, 2, 16] {
            let error = relative_l2(&run(Generated, step), &want);
            assert!(error > 0.0 && error <= 1e-5, "generated rows, {step} at a time: {error:.2e}");
        }
    });
}

#[test]
fn rows_of_a_decode_step_do_not_depend_on_their_company() {
    let (model, tokens) = nano();
    let step = |engine: &mut Engine, parts: Vec<Part<'_>>| bits(&engine.step(Generated, parts, &mut NoTaps).unwrap().logits);
    let last = |n: usize| vec![(n as u32 - 1, Want::Logits)];
    each_adapter(|i| {
        for exactly in [true, false] {
            let options = LoadOptions { sessions: 6, exact: exactly, ..exact(i, OpenOptions::default()) };
            let mut engine = load(&model, &options);
            // The row alone, after histories that end inside, at and after the borders of windows of 4, 16 and 128.
            for history in [0usize, 3, 15, 127, 130] {
                let open = |engine: &mut Engine, len: usize| {
                    let mut session = engine.open().unwrap();
                    for chunk in tokens[..len].chunks(16) {
                        engine.step(Generated, vec![Part::given(&mut session, chunk, Vec::new())], &mut NoTaps).unwrap();
                    }
                    session
                };
                let base = open(&mut engine, history);
                let mut alone = engine.fork(&base).unwrap();
                let want = step(&mut engine, vec![Part::given(&mut alone, &tokens[history..][..1], last(1))]);
                engine.close(alone);
                // The same row first, in the middle and last among rows of other sessions, 1 to 5 each.
                for (place, others) in [(0, &[1usize][..]), (1, &[1, 1]), (2, &[5, 2, 1]), (3, &[4, 5, 3, 3]), (0, &[5, 5, 2, 3])] {
                    let mut sessions: Vec<Session> = (0..others.len()).map(|n| open(&mut engine, 11 * n + 2)).collect();
                    let mut tested = engine.fork(&base).unwrap();
                    let mut parts: Vec<Part<'_>> = sessions
                        .iter_mut()
                        .zip(others)
                        .enumerate()
                        .map(|(n, (session, &count))| Part::given(session, &tokens[11 * n + 2..][..count], Vec::new()))
                        .collect();
                    parts.insert(place, Part::given(&mut tested, &tokens[history..][..1], last(1)));
                    let got = step(&mut engine, parts);
                    assert!(got == want, "history {history}, beside {others:?}, place {place}, exact {exactly}");
                    sessions.into_iter().chain([tested]).for_each(|session| engine.close(session));
                }
                engine.close(base);
                // The same row as the last of several rows of its session. The earlier rows are generated ones in both cases.
                for count in [2usize, 8, 16].into_iter().filter(|count| history + 1 >= *count) {
                    let before = history + 1 - count;
                    let mut session = open(&mut engine, before);
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
        // Cuts at, before and after the borders of windows of 4, 16 and 128.
        for (kept, dropped) in [(120, 8), (127, 5), (128, 8), (130, 3), (255, 1), (256, 8), (0, 5), (9, 8)] {
            let mut cut = engine.open().unwrap();
            let wrong: Vec<TokenId> = (0..dropped).map(|i| i * 91 % 512).collect();
            logits(&mut engine, &mut cut, (Generated, 16), &tokens[..kept], &mut NoTaps);
            let mut uncut = engine.fork(&cut).unwrap();
            logits(&mut engine, &mut cut, (Generated, 3), &wrong, &mut NoTaps);
            engine.drop_last(&mut cut, wrong.len()).unwrap();
            assert_eq!(cut.tokens(), &tokens[..kept]);
            // The sessions continue until every window that was open at the cut has closed.
            let end = (kept + 1).next_multiple_of(128) + 4;
            let [after, want] =
                [&mut cut, &mut uncut].map(|session| logits(&mut engine, session, (Generated, 16), &tokens[kept..end], &mut NoTaps));
            assert!(bits(&after) == bits(&want), "{dropped} tokens dropped at {kept}");
            assert!(engine.drop_last(&mut cut, 9).is_err());
            engine.close(cut);
            engine.close(uncut);
        }
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
            // The steps cross the borders of a window of 128 and of several windows of 4. Each has the labels of all its launches, and of
            // those that are not marked as following from positions.
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

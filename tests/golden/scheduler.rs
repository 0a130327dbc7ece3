//! The scheduler: streams alone and beside one another, how they end, and requests that are refused.

use crate::running::{each_adapter, exact, generate, greedy, load, nano, quiet};
use crate::support::golden;
use dwarfstar::engine::{Ending, Engine, Event, Generation, LoadOptions, Request, Scheduler, StreamId, TokenId};
use dwarfstar::gpu::OpenOptions;
use dwarfstar::hf::Safetensors;
use dwarfstar::model::{Model, Sampling};
use std::ops::ControlFlow;

#[test]
fn generation_is_repeatable_stops_and_continues_in_a_second_turn() {
    let (model, tokens) = nano();
    let prompt = &tokens[..50];
    let warm = Sampling { temperature: 1.0, top_p: 0.9, seed: 42, ..Sampling::GREEDY };
    each_adapter(|i| {
        let mut engine = load(&model, &exact(i, OpenOptions::default()));
        let mut generate_once = |sampling: Sampling, limit: usize, stops: &[TokenId]| {
            let mut session = engine.open().unwrap();
            let (got, report) = generate(&mut engine, &mut session, prompt, sampling, limit, stops);
            let held = session.tokens().to_vec();
            engine.close(session);
            (got, report.ending, held)
        };
        let (long, ending, _) = generate_once(warm, 30, &[]);
        assert_eq!((long.len(), ending), (30, Ending::Length));
        assert_eq!(generate_once(warm, 30, &[]).0, long, "the same seed");
        assert_ne!(generate_once(Sampling { seed: 43, ..warm }, 30, &[]).0, long, "another seed");
        assert_eq!(generate_once(warm, 12, &[]).0, long[..12]);
        // The stop id is the first token that did not occur before.
        let at = (5..30).find(|&n| !long[..n].contains(&long[n])).unwrap();
        let (got, ending, held) = generate_once(warm, 30, &[long[at]]);
        assert_eq!((&got[..], ending), (&long[..at], Ending::Stop));
        assert_eq!(held, [prompt, &long[..at]].concat(), "the stop token is not part of the timeline");

        // A second turn on the same session equals one on a new session: the rows that ran beyond the stop left no trace.
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
fn requests_that_cannot_be_served_are_refused_with_numbers() {
    let (model, tokens) = nano();
    let refusal = |options: &LoadOptions| Engine::load(&model, None, options, quiet()).map(|_| ()).unwrap_err().to_string();
    let named = |name: &str| LoadOptions { device: name.parse().unwrap(), ..Default::default() };
    assert!(refusal(&named("no such card")).starts_with("no device \"no such card\"; there are: 0 "));
    assert!(refusal(&named("99")).starts_with("no device 99; there are: 0 "));
    let too_long = refusal(&LoadOptions { context: 2 << 20, ..Default::default() });
    assert_eq!(too_long, "context of 2097152 tokens for 1 session(s): the model has room for 1 to 1048576");
    each_adapter(|i| {
        let huge = LoadOptions { context: 1 << 20, sessions: 4000, ..exact(i, OpenOptions::default()) };
        let refused = refusal(&huge);
        assert!(refused.contains("MiB") || refused.contains("GiB"), "{refused}");

        let options = LoadOptions { context: 64, ..exact(i, OpenOptions::default()) };
        let mut engine = load(&model, &options);
        let mut session = engine.open().unwrap();
        let generation = Generation { sampling: Sampling::GREEDY, limit: 1, stops: Vec::new() };
        let mut refuse = |prompt: &[TokenId], generation: &Generation| {
            let sink = |_| ControlFlow::Continue(());
            session.generate(&mut engine, prompt, generation, quiet(), sink).unwrap_err().to_string()
        };
        assert_eq!(refuse(&[], &generation), "the prompt is empty");
        assert_eq!(refuse(&tokens[..100], &generation), "the prompt has 100 tokens, which leaves no room in a context of 64");
        assert_eq!(refuse(&tokens[..64], &generation), "the prompt has 64 tokens, which leaves no room in a context of 64");
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
        let mut engine = load(&model, &options);
        let mut session = engine.open().unwrap();
        let generation = Generation { sampling: Sampling::GREEDY, limit: 4, stops: Vec::new() };
        let sink = |_| ControlFlow::Continue(());
        // The second prompt leaves room for one token, so that rows of the first one that were not dropped would be noticed.
        for tokens in [3, 63] {
            let prompt: Vec<TokenId> = (1..=tokens).collect();
            let error = session.generate(&mut engine, &prompt, &generation, quiet(), sink).unwrap_err();
            let last = tokens - 1;
            assert_eq!(error.to_string(), format!("session 0: the logits after position {last} are not finite numbers"), "{device}");
            assert_eq!(session.tokens(), prompt, "{device}");
        }
    }
}

/// Runs the scheduler until no stream is left. Returns the tokens of each stream in the order of `ids`.
fn finish(engine: &mut Engine, scheduler: &mut Scheduler, ids: &[StreamId]) -> Vec<Vec<TokenId>> {
    let mut got = vec![Vec::new(); ids.len()];
    while !scheduler.is_idle() {
        for event in scheduler.turn(engine) {
            match event {
                Event::Prompt { .. } => {}
                Event::Token { stream, token } => got[ids.iter().position(|id| *id == stream).unwrap()].push(token),
                Event::Ended { session, result, .. } => {
                    result.unwrap();
                    engine.close(session);
                }
            }
        }
    }
    got
}

#[test]
fn streams_beside_one_another_say_what_they_say_alone() {
    let (model, tokens) = nano();
    let warm = |seed| Sampling { temperature: 1.0, seed, ..Sampling::GREEDY };
    let requests: Vec<Request> = [(0, 40, 12), (7, 150, 5), (30, 3, 20), (90, 17, 1)]
        .into_iter()
        .map(|(first, len, limit)| Request {
            prompt: tokens[first..first + len].to_vec(),
            generation: Some(Generation { sampling: warm(first as u64), limit, stops: Vec::new() }),
        })
        .collect();
    each_adapter(|i| {
        // The fast kernels round what they add up. Other rows in a step must not change that.
        let options = LoadOptions { sessions: 4, exact: false, ..exact(i, OpenOptions::default()) };
        let mut engine = load(&model, &options);
        let start = |engine: &mut Engine, scheduler: &mut Scheduler, request: &Request| {
            let session = engine.open().unwrap();
            scheduler.start(engine, session, request.clone()).map_err(|(_, error)| error).unwrap()
        };
        let alone: Vec<Vec<TokenId>> = requests
            .iter()
            .map(|request| {
                let mut scheduler = Scheduler::default();
                let id = start(&mut engine, &mut scheduler, request);
                finish(&mut engine, &mut scheduler, &[id]).remove(0)
            })
            .collect();
        // The first stream generates already when the others start. The prompt of the second takes several pieces.
        let mut scheduler = Scheduler::default();
        let first = start(&mut engine, &mut scheduler, &requests[0]);
        let mut early = Vec::new();
        while early.len() < 3 {
            early.extend(scheduler.turn(&mut engine).into_iter().filter_map(|event| match event {
                Event::Token { token, .. } => Some(token),
                _ => None,
            }));
        }
        let mut ids = vec![first];
        ids.extend(requests[1..].iter().map(|request| start(&mut engine, &mut scheduler, request)));
        let mut together = finish(&mut engine, &mut scheduler, &ids);
        together[0].splice(0..0, early);
        assert_eq!(together, alone);
    });
}

#[test]
fn a_cancelled_stream_leaves_the_others_and_a_usable_session() {
    let (model, tokens) = nano();
    each_adapter(|i| {
        let options = LoadOptions { sessions: 2, ..exact(i, OpenOptions::default()) };
        let mut engine = load(&model, &options);
        let want = greedy(&mut engine, &tokens[..30], 10);
        let request = |first: usize, limit| Request {
            prompt: tokens[first..first + 30].to_vec(),
            generation: Some(Generation { sampling: Sampling::GREEDY, limit, stops: Vec::new() }),
        };
        let mut scheduler = Scheduler::default();
        let sessions = [engine.open().unwrap(), engine.open().unwrap()];
        let ids: Vec<StreamId> = sessions
            .into_iter()
            .zip([request(0, 10), request(50, 500)])
            .map(|(session, request)| scheduler.start(&mut engine, session, request).map_err(|(_, error)| error).unwrap())
            .collect();
        let (mut got, mut said, mut back) = (Vec::new(), Vec::new(), Vec::new());
        while !scheduler.is_idle() {
            for event in scheduler.turn(&mut engine) {
                match event {
                    Event::Prompt { .. } => {}
                    Event::Token { stream, token } if stream == ids[0] => got.push(token),
                    Event::Token { stream, token } => {
                        said.push(token);
                        if said.len() == 4 {
                            scheduler.cancel(stream);
                        }
                    }
                    Event::Ended { stream, session, result } => back.push((stream, session, result.unwrap())),
                }
            }
        }
        assert_eq!((got, said.len()), (want, 4));
        let (_, mut session, report) = back.remove(back.iter().position(|(stream, ..)| *stream == ids[1]).unwrap());
        assert_eq!(report.ending, Ending::Cancelled);
        let held = [&tokens[50..80], &said].concat();
        assert!(
            held.starts_with(session.tokens()) && session.tokens().len() >= 33,
            "it holds the tokens that the caller got, or all but the last"
        );
        // The rows that ran beyond the cancellation left no trace.
        let next = [&held[..], &tokens[5..15]].concat();
        let (continued, _) = generate(&mut engine, &mut session, &next, Sampling::GREEDY, 6, &[]);
        back.into_iter().for_each(|(_, session, _)| engine.close(session));
        let mut twin = engine.open().unwrap();
        let (same, _) = generate(&mut engine, &mut twin, &tokens[50..80], Sampling::GREEDY, 4, &[]);
        assert_eq!(same, said);
        assert_eq!(generate(&mut engine, &mut twin, &next, Sampling::GREEDY, 6, &[]).0, continued);
    });
}

#[test]
fn a_caller_that_polls_gets_the_same_tokens_and_is_never_blocked() {
    let (model, tokens) = nano();
    each_adapter(|i| {
        let mut engine = load(&model, &exact(i, OpenOptions::default()));
        let want = greedy(&mut engine, &tokens[..40], 8);
        let mut scheduler = Scheduler::default();
        let generation = Some(Generation { sampling: Sampling::GREEDY, limit: 8, stops: Vec::new() });
        let session = engine.open().unwrap();
        scheduler.start(&mut engine, session, Request { prompt: tokens[..40].to_vec(), generation }).map_err(|(_, error)| error).unwrap();
        let (mut got, mut idle) = (Vec::new(), 0);
        while !scheduler.is_idle() {
            let events = scheduler.poll(&mut engine);
            idle += usize::from(events.is_empty());
            got.extend(events.into_iter().filter_map(|event| match event {
                Event::Token { token, .. } => Some(token),
                _ => None,
            }));
        }
        assert_eq!(got, want);
        // The first poll submits a prompt, which takes the device longer than a poll takes the host.
        assert!(idle > 1, "{idle} polls found nothing");
    });
}

#[test]
fn sessions_that_generate_get_tokens_between_the_pieces_of_a_prompt() {
    let (model, tokens) = nano();
    each_adapter(|i| {
        let mut engine = load(&model, &LoadOptions { sessions: 2, ..exact(i, OpenOptions::default()) });
        let mut scheduler = Scheduler::default();
        let start = |engine: &mut Engine, scheduler: &mut Scheduler, prompt: &[TokenId], limit| {
            let generation = Some(Generation { sampling: Sampling::GREEDY, limit, stops: Vec::new() });
            let session = engine.open().unwrap();
            scheduler.start(engine, session, Request { prompt: prompt.to_vec(), generation }).map_err(|(_, error)| error).unwrap()
        };
        let first = start(&mut engine, &mut scheduler, &tokens[..10], 900);
        while !scheduler.turn(&mut engine).iter().any(|event| matches!(event, Event::Token { .. })) {}
        let second = start(&mut engine, &mut scheduler, &tokens[50..250], 1);
        // The events until the prompt is done: 'p' is a piece of it, 't' a token of the session that generates beside it.
        let mut order = String::new();
        while !order.ends_with('.') {
            for event in scheduler.turn(&mut engine) {
                match event {
                    Event::Prompt { stream, .. } if stream == second => order.push('p'),
                    Event::Token { stream, .. } if stream == first => order.push('t'),
                    Event::Ended { stream, .. } if stream == second => order.push('.'),
                    _ => {}
                }
            }
        }
        scheduler.cancel_all();
        assert!(order.matches('p').count() >= 2 && !order.contains("pp"), "{order}");
    });
}

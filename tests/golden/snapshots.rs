//! Snapshots and copies of sessions continue with the same bits, and sessions that share pages do not disturb each other.

use crate::running::{bits, each_adapter, exact, load, logits, nano, quiet};
use dwarfstar::engine::RowKind::{Generated, Prompt};
use dwarfstar::engine::{
    CheckpointStore, DeviceChoice, Engine, Event, Generation, LoadOptions, Request, Scheduler, Session, Snapshot, TokenId,
};
use dwarfstar::gpu::OpenOptions;
use dwarfstar::model::{NoTaps, Sampling};
use std::cell::RefCell;
use std::rc::Rc;

/// A session after a prompt and a few generated rows. Windows of every ratio have closed, and others are open.
fn begun(engine: &mut Engine, tokens: &[TokenId]) -> Session {
    let mut session = engine.open().unwrap();
    logits(engine, &mut session, (Prompt, 100), &tokens[..130], &mut NoTaps);
    logits(engine, &mut session, (Generated, 3), &tokens[130..141], &mut NoTaps);
    session
}

/// Bits of the logits of `tokens` in the session: generated rows, then a piece of a prompt.
fn continued(engine: &mut Engine, session: &mut Session, tokens: &[TokenId]) -> Vec<u32> {
    let (few, many) = tokens.split_at(9);
    let mut got = logits(engine, session, (Generated, 4), few, &mut NoTaps);
    got.extend(logits(engine, session, (Prompt, many.len()), many, &mut NoTaps));
    bits(&got)
}

fn each_device(mut run: impl FnMut(&LoadOptions)) {
    run(&LoadOptions { device: DeviceChoice::Cpu, context: 1024, sessions: 3, ..Default::default() });
    each_adapter(|i| {
        for (is_exact, binding_cap) in [(true, None), (false, Some(256 << 10))] {
            let open = OpenOptions { binding_cap, ..Default::default() };
            run(&LoadOptions { sessions: 3, exact: is_exact, context: 300, ..exact(i, open) });
        }
    });
}

#[test]
fn restored_and_copied_sessions_go_on_with_the_same_bits() {
    let (model, tokens) = nano();
    each_device(|options| {
        let mut engine = load(&model, options);
        let mut first = begun(&mut engine, &tokens);
        let snapshot = engine.snapshot(&first).unwrap();
        assert_eq!(snapshot.tokens(), &tokens[..141]);
        let mut copy = engine.fork(&first).unwrap();
        let (ours, theirs) = (&tokens[141..165], &tokens[200..224]);
        // Both continue, so that each writes to pages that they shared.
        let want = continued(&mut engine, &mut first, ours);
        let other = continued(&mut engine, &mut copy, theirs);
        assert_ne!(want, other);
        let mut again = engine.open().unwrap();
        logits(&mut engine, &mut again, (Prompt, 20), &tokens[300..320], &mut NoTaps);
        engine.restore(&mut again, &snapshot).unwrap();
        assert_eq!(again.tokens(), &tokens[..141]);
        assert!(continued(&mut engine, &mut again, ours) == want, "{}: restored", engine.device());
        engine.restore(&mut again, &snapshot).unwrap();
        assert!(continued(&mut engine, &mut again, theirs) == other, "{}: restored a second time", engine.device());
        // A copy outlives its original, and can be cut like any session.
        engine.close(first);
        engine.drop_last(&mut copy, 8).unwrap();
        let mut second = engine.fork(&copy).unwrap();
        engine.close(copy);
        let held = second.tokens().to_vec();
        engine.restore(&mut again, &snapshot).unwrap();
        let (few, many) = held[141..].split_at(9);
        logits(&mut engine, &mut again, (Generated, 4), few, &mut NoTaps);
        logits(&mut engine, &mut again, (Prompt, 20), many, &mut NoTaps);
        let [a, b] = [&mut second, &mut again].map(|session| continued(&mut engine, session, &tokens[50..70]));
        assert!(a == b, "{}: a copy of a cut copy", engine.device());
    });
}

#[test]
fn a_snapshot_of_another_engine_is_refused() {
    let (model, tokens) = nano();
    let options = LoadOptions { device: DeviceChoice::Cpu, context: 64, ..Default::default() };
    let [mut one, mut other] = [load(&model, &options), load(&model, &options)];
    let mut session = one.open().unwrap();
    session.sync(&mut one, &tokens[..5], quiet()).unwrap();
    let snapshot = one.snapshot(&session).unwrap();
    let mut foreign = other.open().unwrap();
    assert_eq!(other.restore(&mut foreign, &snapshot).unwrap_err().to_string(), "the snapshot was made by another engine");
    assert!(one.fork(&session).unwrap_err().to_string().contains("in use"), "there is room for one session");
}

/// A store that keeps every snapshot where the test can see it.
#[derive(Clone, Default)]
struct Shelf(Rc<RefCell<Vec<Snapshot>>>);

impl CheckpointStore for Shelf {
    fn find(&mut self, prompt: &[TokenId], more_than: usize) -> Option<Snapshot> {
        let held = self.0.borrow();
        let fits = held.iter().filter(|snapshot| prompt.starts_with(snapshot.tokens()) && snapshot.tokens().len() > more_than);
        fits.max_by_key(|snapshot| snapshot.tokens().len()).cloned()
    }

    fn wants(&self, tokens: &[TokenId]) -> bool {
        tokens.len() > 20
    }

    fn keep(&mut self, snapshot: Snapshot) {
        self.0.borrow_mut().push(snapshot);
    }
}

#[test]
fn a_prompt_that_a_store_knows_is_not_run_again() {
    let (model, tokens) = nano();
    each_device(|options| {
        let mut engine = load(&model, options);
        let shelf = Shelf::default();
        let mut scheduler = Scheduler::with_store(Box::new(shelf.clone()));
        let generation = Generation { sampling: Sampling::GREEDY, limit: 6, stops: Vec::new() };
        let mut run = |engine: &mut Engine, prompt: &[TokenId]| {
            let session = engine.open().unwrap();
            let request = Request { prompt: prompt.to_vec(), generation: Some(generation.clone()) };
            scheduler.start(engine, session, request).map_err(|(_, error)| error).unwrap();
            let mut got = Vec::new();
            loop {
                for event in scheduler.turn(engine) {
                    match event {
                        Event::Prompt { .. } => {}
                        Event::Token { token, .. } => got.push(token),
                        Event::Ended { session, result, .. } => {
                            engine.close(session);
                            return (got, result.unwrap().reused);
                        }
                    }
                }
            }
        };
        let (first, reused) = run(&mut engine, &tokens[..60]);
        assert_eq!((first.len(), reused, shelf.0.borrow().len()), (6, 0, 1));
        // The next turn begins with the first one and its answer. The row of the answer's last token has never run.
        let second = [&tokens[..60], &first, &tokens[70..75]].concat();
        let (with_store, reused) = run(&mut engine, &second);
        assert_eq!(reused, 65);
        // A session that goes through both turns gives the same tokens.
        let mut session = engine.open().unwrap();
        for prompt in [&tokens[..60], &second] {
            let mut got = Vec::new();
            let sink = |id| {
                got.push(id);
                std::ops::ControlFlow::Continue(())
            };
            session.generate(&mut engine, prompt, &generation, quiet(), sink).unwrap();
            assert_eq!(got, if prompt.len() == 60 { first.clone() } else { with_store.clone() });
        }
        run(&mut engine, &tokens[..10]);
        assert_eq!(shelf.0.borrow().len(), 2, "a short session is not wanted");
    });
}

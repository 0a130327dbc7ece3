//! Helpers of the engine's tests: adapters, options, the small model, and runs of it.

use crate::support::golden;
use dwarfstar::engine::{DeviceChoice, Engine, Generation, LoadOptions, Part, Report, RowKind, Session, TokenId, Want, Watch};
use dwarfstar::gpu::{OpenOptions, adapters};
use dwarfstar::model::{Model, Sampling, Taps};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

static NEVER_CANCELLED: AtomicBool = AtomicBool::new(false);

/// A caller that neither follows nor cancels the work.
pub fn quiet() -> Watch<'static> {
    Watch::quiet(&NEVER_CANCELLED)
}

pub fn load(model: &Model, options: &LoadOptions) -> Engine {
    Engine::load(model, None, options, quiet()).unwrap()
}

/// Options for exact runs on adapter `index`.
pub fn exact(index: usize, open: OpenOptions) -> LoadOptions {
    LoadOptions { device: DeviceChoice::Index(index), context: 1024, exact: true, open, ..Default::default() }
}

pub fn each_adapter(mut run: impl FnMut(usize)) {
    let count = adapters().len();
    assert!(count > 0, "no adapter found: install a Vulkan driver, software Vulkan (lavapipe) will do");
    (0..count).for_each(&mut run);
}

/// The small model in the repository, and tokens for it.
pub fn nano() -> (Model, Vec<TokenId>) {
    let model = Model::open(&golden("nano-s1-fp").unwrap()).unwrap();
    (model, (0..400u32).map(|i| (i * 37 + i * i % 11) % 512).collect())
}

/// Logits of all `tokens`, which run `step` at a time.
pub fn logits(
    engine: &mut Engine,
    session: &mut Session,
    (kind, step): (RowKind, usize),
    tokens: &[TokenId],
    taps: &mut dyn Taps,
) -> Vec<f32> {
    let mut logits = Vec::new();
    for chunk in tokens.chunks(step.min(engine.max_rows())) {
        let wants = (0..chunk.len() as u32).map(|row| (row, Want::Logits)).collect();
        logits.extend(engine.step(kind, vec![Part::given(session, chunk, wants)], taps).unwrap().logits);
    }
    logits
}

pub fn generate(
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
    let report = session.generate(engine, prompt, &generation, quiet(), sink).unwrap();
    (got, report)
}

pub fn greedy(engine: &mut Engine, prompt: &[TokenId], count: usize) -> Vec<TokenId> {
    let mut session = engine.open().unwrap();
    let (got, _) = generate(engine, &mut session, prompt, Sampling::GREEDY, count, &[]);
    engine.close(session);
    got
}

/// The bits of floats, to compare results that must be identical.
pub fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|f| f.to_bits()).collect()
}

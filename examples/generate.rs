//! Generates one answer and prints it as it comes.
//!
//! `cargo run --release --example generate -- [PROMPT [MODEL.gguf [DEVICE]]]`; without a model it is the demo model of the program.

use anyhow::{Result, bail};
use dwarfstar::engine::{DeviceChoice, Engine, Generation, LoadOptions, Watch};
use dwarfstar::model::{Files, Model, Sampling};
use dwarfstar::text::encoding::{Chat, ChatTurn, EffortTable, ThinkingMode};
use dwarfstar::text::{Detokenizer, Tokenizer};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let question = arguments.next().unwrap_or_else(|| "What is the capital of France?".into());
    let demo = || Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/model.gguf");
    let path = arguments.next().map_or_else(demo, PathBuf::from);
    let Ok(device) = arguments.next().unwrap_or_else(|| "auto".into()).parse::<DeviceChoice>();

    // This checks the headers of the file and binds every tensor. No weight is read yet.
    let files = Files::open(&path)?;
    let model = Model::bind(&files)?;
    let Files::Gguf(file) = &files else { bail!("{}: expected a GGUF file", path.display()) };
    let tokenizer = Tokenizer::from_gguf(file)?;

    // A flag like this ends any long call early.
    let cancel = AtomicBool::new(false);
    let context = model.config.max_context.min(8192);
    let mut engine = Engine::load(&model, None, &LoadOptions { device, context, ..LoadOptions::default() }, Watch::quiet(&cancel))?;
    let mut session = engine.open()?;

    // The user's text never becomes a special token, even if it spells one.
    let chat = Chat { system: None, turns: vec![ChatTurn::User(question)], thinking: ThinkingMode::Chat, effort: None };
    let prompt = chat.render(EffortTable::Original)?.ids(&tokenizer)?;

    let sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 1 };
    let generation = Generation { sampling, limit: 512, stops: tokenizer.eos().into_iter().collect() };
    let mut detokenizer = Detokenizer::new(tokenizer);
    let mut out = std::io::stdout();
    let report = session.generate(&mut engine, &prompt, &generation, Watch::quiet(&cancel), |id| {
        // The answer ends if the reader of a pipe has closed it.
        let written = out.write_all(detokenizer.push(id).as_bytes()).and_then(|()| out.flush());
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let rate = report.decoded as f64 / report.decode_seconds.max(f64::EPSILON);
    let last = format!(
        "{}\n{:?} on {}: {} tokens of prompt, {rate:.1} tokens/s\n",
        detokenizer.finish(),
        report.ending,
        engine.device(),
        report.prefilled
    );
    engine.close(session);
    Ok(out.write_all(last.as_bytes())?)
}

//! Runs several prompts at a time through the scheduler. Each generated step has a row of every session, and prompts run in between.
//!
//! `cargo run --release --example batch -- [DEVICE [PROMPT ...]]`, with the demo model of the program.

use anyhow::{Result, bail};
use dwarfstar::engine::{DeviceChoice, Engine, Event, Generation, LoadOptions, Request, Scheduler, StreamId, Watch};
use dwarfstar::model::{Files, Model, Sampling};
use dwarfstar::text::encoding::{Chat, ChatTurn, EffortTable, ThinkingMode};
use dwarfstar::text::{Detokenizer, Tokenizer};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;

const QUESTIONS: [&str; 3] = ["What is the capital of France?", "What is 17 + 25?", "Count from 1 to 10."];

/// An answer that is being generated.
struct Answer {
    question: String,
    detokenizer: Detokenizer,
    text: String,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Ok(device) = arguments.next().unwrap_or_else(|| "auto".into()).parse::<DeviceChoice>();
    let asked: Vec<String> = arguments.collect();
    let questions = if asked.is_empty() { QUESTIONS.map(String::from).to_vec() } else { asked };

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/model.gguf");
    let files = Files::open(&path)?;
    let model = Model::bind(&files)?;
    let Files::Gguf(file) = &files else { bail!("{}: expected a GGUF file", path.display()) };
    let tokenizer = Tokenizer::from_gguf(file)?;

    // The engine takes the memory of all sessions here, so that none of them can run out of it later.
    let options = LoadOptions { device, context: 2048, sessions: questions.len() as u32, ..LoadOptions::default() };
    let cancel = AtomicBool::new(false);
    let mut engine = Engine::load(&model, None, &options, Watch::quiet(&cancel))?;

    let mut scheduler = Scheduler::default();
    let mut answers: BTreeMap<StreamId, Answer> = BTreeMap::new();
    for question in questions {
        let chat = Chat { system: None, turns: vec![ChatTurn::User(question.clone())], thinking: ThinkingMode::Chat, effort: None };
        let prompt = chat.render(EffortTable::Original)?.ids(&tokenizer)?;
        let sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 1 };
        let generation = Generation { sampling, limit: 256, stops: tokenizer.eos().into_iter().collect() };
        let session = engine.open()?;
        // A request that is refused gives its session back.
        let stream = scheduler.start(&mut engine, session, Request { prompt, generation: Some(generation) }).map_err(|(_, error)| error)?;
        answers.insert(stream, Answer { question, detokenizer: Detokenizer::new(tokenizer.clone()), text: String::new() });
    }

    while !scheduler.is_idle() {
        for event in scheduler.turn(&mut engine) {
            match event {
                Event::Prompt { .. } => {}
                Event::Token { stream, token } => {
                    if let Some(answer) = answers.get_mut(&stream) {
                        answer.text.push_str(&answer.detokenizer.push(token));
                    }
                }
                // Answers are printed in the order in which they end. The session comes back with its tokens, for another prompt or to be
                // closed.
                Event::Ended { stream, session, result } => {
                    engine.close(session);
                    let report = result?;
                    if let Some(mut answer) = answers.remove(&stream) {
                        let text = answer.text + &answer.detokenizer.finish();
                        let line =
                            format!("{}\n  {text}\n  {:?} after {} tokens of prompt\n", answer.question, report.ending, report.prefilled);
                        std::io::stdout().write_all(line.as_bytes())?;
                    }
                }
            }
        }
    }
    Ok(())
}

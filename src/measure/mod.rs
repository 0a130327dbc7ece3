//! Measurements: how fast a model and its kernels run, and how well a model predicts a text. They return numbers and tables; the caller
//! prints them, and can end a measurement early.

mod bandwidth;
mod cases;
mod kinds;
mod launches;
mod scores;
mod sessions;
mod speed;
mod table;
mod trace;
mod workload;

pub use bandwidth::read_bandwidth;
pub use cases::{CaseTime, time_cases};
pub use launches::{CapturedStep, decode_step, prefill_step};
pub use scores::{Scores, score};
pub use sessions::{Beside, fill, generate_together, prompt_beside};
pub use speed::{Speed, measured_warm, prefill_and_decode};
pub use table::Table;
pub use trace::{TracedStep, events, trace};
pub use workload::prompt;

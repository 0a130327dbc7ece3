//! `cargo bench`: every kernel by itself on the first GPU, as `dwarfstar bench --kernels` times it. Its options follow behind `--`:
//! `cargo bench -- --device llvmpipe --family hc`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Cargo itself says `--bench`.
    let own = std::env::args_os().skip(1).filter(|argument| argument != "--bench");
    dwarfstar::cli::run(["dwarfstar", "bench", "--kernels"].map(Into::into).into_iter().chain(own))
}

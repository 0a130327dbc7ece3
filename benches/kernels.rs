//! `cargo bench` times every kernel alone on the first GPU, as `dwarfstar bench --kernels` does. The options of that command follow after
//! `--`: `cargo bench -- --device llvmpipe --family hc`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Cargo passes `--bench`, which is no option of the command.
    let own = std::env::args_os().skip(1).filter(|argument| argument != "--bench");
    dwarfstar::cli::run(["dwarfstar", "bench", "--kernels"].map(Into::into).into_iter().chain(own))
}

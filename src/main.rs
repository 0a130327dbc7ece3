//! The `dwarfstar` command.

fn main() -> std::process::ExitCode {
    dwarfstar::cli::main()
}

//! The `kchaos` binary: nothing but the exit code.

fn main() -> std::process::ExitCode {
    chaos_daemon::cli::main()
}

//! The `dosimeter` command.

fn main() -> std::process::ExitCode {
    dosimeter::cli::main()
}

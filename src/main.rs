//! The program: see [`cortado::cli`].

fn main() -> std::process::ExitCode {
    cortado::cli::run(std::env::args_os())
}

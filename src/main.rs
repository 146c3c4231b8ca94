fn main() -> std::process::ExitCode {
    cortado::cli::run(std::env::args_os())
}

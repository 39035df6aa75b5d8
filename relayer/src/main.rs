//! The `relayer` program; see [`cip22_relayer::cli`].

fn main() -> std::process::ExitCode {
    cip22_relayer::cli::run()
}

//! `tel-control`: see [`tel_control::cli`].

fn main() -> std::process::ExitCode {
    tel_control::cli::main()
}

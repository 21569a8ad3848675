//! The command line.

/// Runs the command that the arguments ask for; the process's exit code.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

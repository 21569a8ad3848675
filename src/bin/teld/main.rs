//! teld: delivers access-log lines for hosts that cannot embed the library, and follows the client list for all on the
//! machine. It uses the crate's public interface only, and librdkafka for the list.

#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod check;
mod client;
mod config;
mod demo;
mod detect;
mod inputs;
mod observe;
#[allow(unsafe_code)] // what a child does between fork and exec; _exit
mod process;
mod run;
#[allow(unsafe_code)] // sigwait
mod service;
mod socket_file;
mod supervisor;
mod sync;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

/// Where the configuration is if nothing else is said.
const DEFAULT_CONFIG: &str = "/etc/tel/teld.json";

const USAGE: &str = "\
use: teld run    [--config FILE]   deliver the lines of the configured inputs
     teld check  [--config FILE]   say whether the configuration is right, and what it would do: exit status 0 or 78
     teld status [--config FILE] [--once | --json]   what the teld that runs with FILE does now
     teld detect                   the servers found here, and the inputs they would be
     teld demo   [LOG]             the whole way on an embedded broker, with the access lines of LOG or its own
     teld version

FILE is /etc/tel/teld.json if not given. Signals: TERM and INT deliver what is there and end, a second one ends at once;
HUP reads the configuration's inputs, what it says of the list, and the client list again.
Exit status: 0 all lines accounted for and none given up, 1 lines were given up, 64 usage, 69 no teld answers (status),
71 the system refused something, 74 an input failed, 78 wrong configuration.
";

/// Exit statuses, after sysexits.h.
pub mod status {
    /// Lines were given up.
    pub const GIVEN_UP: u8 = 1;
    /// The command line is not one of ours.
    pub const USAGE: u8 = 64;
    /// No teld answers.
    pub const UNAVAILABLE: u8 = 69;
    /// The system refused threads, memory or descriptors.
    pub const SYSTEM: u8 = 71;
    /// An input could not be read to its end.
    pub const INPUT: u8 = 74;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (command, rest) = words.split_first().unwrap_or((&"", &[]));
    let (file, rest) = match configured(rest) {
        Some((file, rest)) => (PathBuf::from(file), rest),
        None => (PathBuf::from(DEFAULT_CONFIG), rest.to_vec()),
    };
    match (*command, &rest[..]) {
        ("run", []) => run::run(&file),
        ("check", []) => check::check(&file),
        ("status", []) => observe::status(&file, observe::Show::Live),
        ("status", ["--once"]) => observe::status(&file, observe::Show::Once),
        ("status", ["--json"]) => observe::status(&file, observe::Show::Json),
        ("detect", []) => detect::command(),
        ("demo", []) => demo::demo(None),
        ("demo", [log]) if !log.starts_with('-') => demo::demo(Some(&PathBuf::from(log))),
        ("version" | "--version", []) => {
            println!("teld {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ("help" | "--help" | "-h", []) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(status::USAGE)
        }
    }
}

/// The file of `--config FILE`, wherever it stands, and the words beside it.
fn configured<'a>(words: &[&'a str]) -> Option<(&'a str, Vec<&'a str>)> {
    let at = words.iter().position(|word| *word == "--config")?;
    let file = words.get(at + 1)?;
    Some((file, [&words[..at], &words[at + 2..]].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_may_stand_anywhere() {
        assert_eq!(configured(&["--config", "f", "--json"]), Some(("f", vec!["--json"])));
        assert_eq!(configured(&["--json", "--config", "f"]), Some(("f", vec!["--json"])));
        assert_eq!(configured(&["--json"]), None);
        assert_eq!(configured(&["--config"]), None, "a word that no command knows");
    }
}

//! teld: delivers access-log lines for hosts that cannot embed the library. It uses the crate's public interface only.

#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod config;
mod demo;
mod inputs;
mod run;
#[allow(unsafe_code)] // sigwait
mod signals;

use std::path::PathBuf;
use std::process::ExitCode;

/// Where the configuration is if nothing else is said.
const DEFAULT_CONFIG: &str = "/etc/tel/teld.json";

const USAGE: &str = "\
use: teld run   [--config FILE]   deliver the lines of the configured inputs
     teld check [--config FILE]   say whether the configuration is right: exit status 0, or 78 with the reason
     teld demo  [FILE]            the whole way on an embedded broker, with the access lines of FILE or its own
     teld version

FILE of --config is /etc/tel/teld.json if not given. Signals: TERM and INT drain and end, HUP reads the client list again.
Exit status: 0 all lines accounted for and none given up, 1 lines were given up, 64 usage, 74 an input failed,
78 wrong configuration.
";

/// Exit statuses, after sysexits.h.
pub mod status {
    /// Lines were given up.
    pub const GIVEN_UP: u8 = 1;
    /// The command line is not one of ours.
    pub const USAGE: u8 = 64;
    /// An input could not be read to its end.
    pub const INPUT: u8 = 74;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["run"] => run::run(&PathBuf::from(DEFAULT_CONFIG)),
        ["run", "--config", file] => run::run(&PathBuf::from(file)),
        ["check"] => run::check(&PathBuf::from(DEFAULT_CONFIG)),
        ["check", "--config", file] => run::check(&PathBuf::from(file)),
        ["demo"] => demo::demo(None),
        ["demo", file] if !file.starts_with('-') => demo::demo(Some(&PathBuf::from(file))),
        ["version" | "--version"] => {
            println!("teld {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(status::USAGE)
        }
    }
}

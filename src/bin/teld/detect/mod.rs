//! Which servers are here, and the inputs they become: `teld detect`, and `"inputs": "auto"`.
//!
//! What is looked for are [`rule`]s, which are data: those of `packaging/detect.json`, and an operator's own in
//! [`rules::FOLDER`]. A [`survey`] holds them against the [`machine`], its [`process`]es and its files; what it comes
//! upon is gathered, named and described in [`found`]. docs/DETECTION.md has the format.

mod evidence;
#[cfg(test)]
mod fake;
mod found;
mod glob;
mod machine;
mod options;
mod process;
mod rule;
mod rules;
mod survey;
mod template;
#[cfg(test)]
mod tests;

pub use found::Found;

use crate::status;
use machine::Machine;
use std::path::Path;
use std::process::ExitCode;

/// What is here.
///
/// # Errors
/// A rule file is wrong, or cannot be read: the text names the file, and the rule and its key.
pub fn detect() -> Result<Found, String> {
    let rules = rules::load(Path::new(rules::FOLDER))?;
    Ok(survey::survey(&rules, &Machine::this()))
}

/// `teld detect`: says what is here, and the inputs that `"inputs": "auto"` makes of it.
pub fn command() -> ExitCode {
    match detect() {
        Ok(found) => {
            print!("{}", found.report());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("teld: {error}");
            ExitCode::from(status::CONFIG)
        }
    }
}

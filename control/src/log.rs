//! The log: standard error, a line for each thing, with its priority where the journal reads it.

use std::fmt;
use std::io::Write;

/// How bad a thing is; the numbers are syslog's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something does not work, and somebody must look at it.
    Error = 3,
    /// Something does not work now, and is tried again.
    Warning = 4,
    /// Something has happened that an operator wants to know.
    Notice = 5,
}

/// Something does not work, and somebody must look at it. `text` holds no secret and no line of a client's.
pub fn error(text: impl fmt::Display) {
    say(Level::Error, text);
}

/// Something does not work now, and is tried again.
pub fn warning(text: impl fmt::Display) {
    say(Level::Warning, text);
}

/// Something has happened that an operator wants to know.
pub fn notice(text: impl fmt::Display) {
    say(Level::Notice, text);
}

fn say(level: Level, text: impl fmt::Display) {
    // One write, so that lines of several threads stay whole. Control characters would forge lines.
    let text: String = text.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => format!("<{}>{text}\n", level as u8),
        None => format!("tel-control: {text}\n"),
    };
    // There is nowhere to say that this failed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

//! Where teld's messages go: to the journal, with their fields, or to standard error.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use tel::{Level, Log};

/// Where the journal listens (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The log that fits where standard error goes. Debug messages are left out.
pub fn log() -> Log {
    let journal = if stderr_is_the_journal() { journal() } else { None };
    Log::new(Box::new(move |level, message| {
        if level == Level::Debug {
            return;
        }
        if let Some(journal) = &journal {
            if journal.send(&entry(level, message)).is_ok() {
                return;
            }
        }
        // A closed standard error is no reason to fail, and there is nowhere left to say so.
        let _ = writeln!(std::io::stderr(), "teld: {}: {message}", level.name());
    }))
}

fn journal() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(JOURNAL).ok()?;
    // A journal that does not keep up must not hold up whoever has something to say.
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// `$JOURNAL_STREAM` has device and number of the journal's stream, which standard error may or may not be
/// (systemd.exec(5)).
fn stderr_is_the_journal() -> bool {
    let Ok(about) = rustix::fs::fstat(std::io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", about.st_dev, about.st_ino))
}

/// One entry. The input that a message begins with has a field of its own.
fn entry(level: Level, message: &str) -> Vec<u8> {
    let mut entry = format!("PRIORITY={}\nSYSLOG_IDENTIFIER=teld\n", level as i32).into_bytes();
    if let Some((input, _)) = message.strip_prefix("inputs.").and_then(|rest| rest.split_once(": ")) {
        field(&mut entry, "TEL_INPUT", input);
    }
    field(&mut entry, "MESSAGE", message);
    entry
}

fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_input_as_a_field() {
        let text = String::from_utf8(entry(Level::Warning, "inputs.cdn: process 7 has ended")).unwrap();
        assert_eq!(
            text,
            "PRIORITY=4\nSYSLOG_IDENTIFIER=teld\nTEL_INPUT=cdn\nMESSAGE=inputs.cdn: process 7 has ended\n"
        );
    }

    #[test]
    fn a_message_of_several_lines_has_its_length_before_it() {
        let bytes = entry(Level::Error, "a\nb");
        assert!(bytes.ends_with(b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n"));
    }
}

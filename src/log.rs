//! What the library says: to the host's callback, or to standard error, and never too often.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Severity, numbered as syslog does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    /// Lines are being lost, or will be.
    Error = 3,
    /// Something needs an operator's eye.
    Warning = 4,
    /// A state changed.
    Notice = 5,
    /// Said once or seldom.
    Info = 6,
    /// For those who work on it.
    Debug = 7,
}

impl Level {
    /// The level of syslog's number; the graver ones count as errors.
    pub fn from_syslog(number: i32) -> Level {
        match number {
            ..=3 => Level::Error,
            4 => Level::Warning,
            5 => Level::Notice,
            6 => Level::Info,
            _ => Level::Debug,
        }
    }

    /// The word used on standard error.
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// Where messages go. Called from the library's threads, and from a host's thread that reloads the client list.
pub type LogFunction = Box<dyn Fn(Level, &str) + Send + Sync>;

/// Messages of one topic let through in a window.
const BURST: u32 = 10;
/// The window.
const WINDOW: Duration = Duration::from_secs(30);

/// The library's log. Cheap to clone; all clones share the limits.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    function: LogFunction,
    topics: Mutex<HashMap<&'static str, Window>>,
    calls: Mutex<Calls>,
    call_ended: Condvar,
}

/// Calls of the function.
#[derive(Default)]
struct Calls {
    under_way: usize,
    no_more: bool,
}

struct Window {
    since: Instant,
    said: u32,
    held_back: u64,
}

impl Log {
    /// A log that goes to `function`.
    pub fn new(function: LogFunction) -> Log {
        let (topics, calls, call_ended) = (Mutex::default(), Mutex::default(), Condvar::new());
        Log { shared: Arc::new(Shared { function, topics, calls, call_ended }) }
    }

    /// A log on standard error, without debug messages.
    pub fn stderr() -> Log {
        Log::new(Box::new(|level, message| {
            if level < Level::Debug {
                // A closed standard error is no reason to fail, and there is nowhere left to say so.
                let _ = writeln!(std::io::stderr(), "tel: {}: {message}", level.name());
            }
        }))
    }

    /// Says it, unless `topic` has been said too often of late; then the number held back is said with the next one.
    ///
    /// `topic` is what the limit goes by: the same for messages that differ only in their names and numbers.
    pub fn say(&self, level: Level, topic: &'static str, message: fmt::Arguments<'_>) {
        let Some(remark) = self.admit(topic) else { return };
        let calls = || self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = calls();
        if before.no_more {
            return;
        }
        before.under_way += 1;
        drop(before);
        (self.shared.function)(level, &format!("{message}{remark}"));
        calls().under_way -= 1;
        self.shared.call_ended.notify_all();
    }

    /// Says nothing more, and waits for calls under way, at most for `timeout`: what the function needs may be about to
    /// go.
    pub fn close(&self, timeout: Duration) {
        let mut calls = self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.no_more = true;
        // Past the timeout the host's function hangs in the host's own business.
        let _ = self.shared.call_ended.wait_timeout_while(calls, timeout, |calls| calls.under_way > 0);
    }

    /// What to append to a message of `topic`; `None` if it is one too many. The lock is gone when the host's
    /// function is called, which may itself lead back here.
    fn admit(&self, topic: &'static str) -> Option<String> {
        let mut topics = self.shared.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let window = topics.entry(topic).or_insert(Window { since: now, said: 0, held_back: 0 });
        let mut held_back = 0;
        if now.duration_since(window.since) >= WINDOW {
            held_back = window.held_back;
            *window = Window { since: now, said: 0, held_back: 0 };
        }
        if window.said == BURST {
            window.held_back += 1;
            return None;
        }
        window.said += 1;
        Some(match (held_back, window.said) {
            (0, BURST) => " (more of this kind are held back for a while)".to_owned(),
            (0, _) => String::new(),
            (count, _) => format!(" ({count} more of this kind were held back)"),
        })
    }
}

/// `say!(log, Level::Error, "topic", "format {}", arguments)`.
macro_rules! say {
    ($log:expr, $level:ident, $topic:literal, $($message:tt)+) => {
        $log.say($crate::log::Level::$level, $topic, format_args!($($message)+))
    };
}
#[allow(unused_imports)] // by tests/models, which has no user of it
pub(crate) use say;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_held_back_and_others_are_not() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let log = Log::new(Box::new(move |level, message| sink.lock().unwrap().push((level, message.to_owned()))));
        for number in 0..1000 {
            say!(log, Warning, "flood", "number {number}");
        }
        say!(log, Error, "other", "still heard");
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), BURST as usize + 1);
        assert!(heard[BURST as usize - 1].1.contains("held back"));
        assert_eq!(heard.last().unwrap(), &(Level::Error, "still heard".to_owned()));
    }
}

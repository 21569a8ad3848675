//! From an input's bytes to the producer: lines cut, headers taken off, clients found, everything counted.

use super::lines::LineCutter;
use super::syslog;
use crate::client::ClientRule;
use crate::wait::Stop;
use arc_swap::ArcSwap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tel::{tel_error, Level, Log, Producer};

/// How long an input that waits for room waits at a time.
const FULL: Duration = Duration::from_millis(2);

/// What an input does with a line for which the queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The line is dropped and counted: whoever writes is never held up.
    Drop,
    /// The input is not read until there is room: whoever writes waits.
    Wait,
}

/// How an input's lines are read; part of every kind of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub client: ClientRule,
    pub when_full: WhenFull,
    /// Lines come with a syslog header.
    pub syslog: bool,
}

impl Reading {
    /// What it does with a line, in words.
    pub fn describe(&self) -> String {
        let client = match &self.client {
            ClientRule::First => "the client id is the first word".to_owned(),
            ClientRule::Word(number) => format!("the client id is word {number}"),
            ClientRule::Json(path) => format!("the client id is the JSON field {}", path.join("/")),
            ClientRule::Fixed(client) => format!("every line is for {client}"),
        };
        let header = if self.syslog { "after a syslog header, " } else { "" };
        let full = match self.when_full {
            WhenFull::Drop => "drops lines when the queue is full",
            WhenFull::Wait => "waits when the queue is full",
        };
        format!("{header}{client}; {full}")
    }
}

/// What an input has done, for those who look. Only the input's own thread writes it.
#[derive(Debug, Default)]
pub struct InputCounters {
    /// Lines submitted, with those that the producer refused.
    pub lines: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Reads from the system that brought something.
    pub reads: AtomicU64,
    /// Bytes copied between the read and the producer: the beginnings of lines that go on in the next block.
    pub copied: AtomicU64,
    /// Lines that the full queue had no room for.
    pub dropped_full: AtomicU64,
    /// Lines that were too long.
    pub dropped_too_long: AtomicU64,
    /// Starts after the first: of a child, of a file that was rotated, of an input that had failed.
    pub restarts: AtomicU64,
    /// It has come to its end of its own, and that was noticed.
    pub has_ended: AtomicBool,
    /// Writers now: connections, or one for a child that runs or a FIFO that is written to.
    pub writers: AtomicU64,
    trouble: Mutex<String>,
}

impl InputCounters {
    /// Why the input does not work now; empty if it does.
    pub fn trouble(&self) -> String {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says why the input does not work, or, empty, that it does.
    pub fn set_trouble(&self, why: impl Into<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why.into();
    }
}

/// Adds to a counter of which this thread is the only writer.
pub fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

/// Where an input's bytes go.
#[derive(Clone)]
pub struct Feed {
    name: Arc<str>,
    log: Log,
    producer: Arc<Producer>,
    /// Shared with whoever changes it.
    reading: Arc<ArcSwap<Reading>>,
    pub counters: Arc<InputCounters>,
    stop: Arc<Stop>,
    max_line: usize,
}

impl Feed {
    /// For the input of this name. Lines longer than `max_line` are cut to a length that the producer counts as too long.
    pub fn new(
        name: &str,
        producer: Arc<Producer>,
        log: Log,
        reading: Arc<ArcSwap<Reading>>,
        max_line: usize,
        stop: Arc<Stop>,
    ) -> Feed {
        Feed { name: name.into(), log, producer, reading, counters: Arc::default(), stop, max_line }
    }

    /// Says something of this input.
    pub fn say(&self, level: Level, topic: &'static str, message: fmt::Arguments<'_>) {
        self.log.say(level, topic, format_args!("inputs.{}: {message}", self.name));
    }

    /// The input has been asked to stop.
    pub fn stop(&self) -> &Arc<Stop> {
        &self.stop
    }

    /// For the bytes of one more stream.
    pub fn stream(&self) -> Stream {
        Stream { cutter: LineCutter::new(self.max_line), feed: self.clone() }
    }

    fn line(&self, line: &[u8], reading: &Reading) {
        let line = if reading.syslog { syslog::message(line) } else { line };
        add(&self.counters.lines, 1);
        // One that is too long is only a part of itself: whose it is does not matter.
        let addressed = if line.len() > self.max_line + 1 { None } else { reading.client.find(line) };
        let waits = reading.when_full == WhenFull::Wait;
        loop {
            let submitted = match &addressed {
                client if waits && !self.stop.is_over() => self.producer.offer(client.as_deref(), line),
                None => self.producer.submit(line),
                Some(client) => self.producer.submit_for(client, line),
            };
            match submitted {
                Err(tel_error::TEL_ERR_FULL) if waits && !self.stop.is_over() => self.stop.sleep(FULL),
                Err(tel_error::TEL_ERR_FULL) => return add(&self.counters.dropped_full, 1),
                Err(tel_error::TEL_ERR_TOO_LONG) => return add(&self.counters.dropped_too_long, 1),
                _ => return,
            }
        }
    }
}

/// One stream of an input: a child's output, a connection, a FIFO, a file.
pub struct Stream {
    cutter: LineCutter,
    feed: Feed,
}

impl Stream {
    /// A block that was read.
    pub fn block(&mut self, block: &[u8]) {
        let Stream { cutter, feed } = self;
        add(&feed.counters.reads, 1);
        add(&feed.counters.bytes, block.len() as u64);
        let before = cutter.held();
        let reading = feed.reading.load();
        cutter.cut(block, |line| feed.line(line, &reading));
        add(&feed.counters.copied, (before + cutter.held()) as u64);
    }

    /// The stream has ended: what is left is its last line.
    pub fn end(&mut self) {
        let Stream { cutter, feed } = self;
        cutter.end(|line| feed.line(line, &feed.reading.load()));
    }

    /// Bytes of the last line, whose end has not come.
    pub fn held(&self) -> usize {
        self.cutter.held()
    }
}

//! Where lines come from. A new kind of input is a file here that reads it into a [`Feed`], a `Source` with what it needs,
//! and its keys in `config::input`.

mod backoff;
mod exec;
mod feed;
mod fifo;
mod file;
mod lines;
mod pace;
mod place;
mod position;
mod syslog;
pub mod unix;

pub use backoff::Backoff;
pub use feed::{Feed, InputCounters, Reading, WhenFull};
pub use file::position_path;
pub use place::Place;
pub use position::{Position, Progress};

use crate::wait::Stop;
use arc_swap::ArcSwap;
use std::io;
use std::os::fd::AsFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tel::{Level, Log, Producer};

/// How long what is left in an input may take to be read at the end, while writers go on.
const LAST: Duration = Duration::from_millis(500);

/// A kind of input, with what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard input, to its end.
    Stdin,
    /// A file, once, from its beginning to its end.
    File { path: PathBuf },
    /// A file, followed; the position is kept at `position`.
    FollowedFile { path: PathBuf, position: PathBuf, from_end: bool },
    /// The standard output of a child.
    Exec { command: Vec<String> },
    /// A FIFO.
    Fifo { place: Place },
    /// A Unix socket.
    Unix { place: Place, kind: unix::Kind },
}

impl Source {
    /// It comes to an end of its own, and is then done.
    pub fn ends(&self) -> bool {
        matches!(self, Source::Stdin | Source::File { .. })
    }

    /// Its `type` in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Stdin => "stdin",
            Source::File { .. } | Source::FollowedFile { .. } => "file",
            Source::Exec { .. } => "exec",
            Source::Fifo { .. } => "fifo",
            Source::Unix { .. } => "unix",
        }
    }

    /// What it is, in words.
    pub fn describe(&self) -> String {
        match self {
            Source::Stdin => "standard input, to its end".into(),
            Source::File { path } => format!("the file {}, once", path.display()),
            Source::FollowedFile { path, position, .. } => {
                format!("the file {}, followed; its position is kept in {}", path.display(), position.display())
            }
            Source::Exec { command } => format!("the output of: {}", command.join(" ")),
            Source::Fifo { place } => format!("the FIFO {}, mode {:o}", place.path.display(), place.mode),
            Source::Unix { place, kind: unix::Kind::Stream } => {
                format!("the stream socket {}, mode {:o}", place.path.display(), place.mode)
            }
            Source::Unix { place, kind: unix::Kind::Datagram } => {
                format!("the datagram socket {}, mode {:o}", place.path.display(), place.mode)
            }
        }
    }

    /// Reads it into `feed` until it ends or is to stop.
    fn read(&self, progress: Option<&Progress>, feed: &Feed) -> io::Result<()> {
        match (self, progress) {
            (Source::Stdin, _) => stdin(feed),
            (Source::File { path }, _) => file::once(path, feed),
            (Source::FollowedFile { path, from_end, .. }, Some(progress)) => {
                file::follow(path, *from_end, progress, feed)
            }
            (Source::FollowedFile { .. }, None) => Err(io::Error::other("its position is not known")),
            (Source::Exec { command }, _) => exec::run(command, feed),
            (Source::Fifo { place }, _) => fifo::run(place, feed),
            (Source::Unix { place, kind }, _) => unix::run(place, *kind, feed),
        }
    }
}

/// An input as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    pub source: Source,
    pub reading: Reading,
}

/// An input at work, in a thread of its own.
pub struct RunningInput {
    pub input: Input,
    pub counters: Arc<InputCounters>,
    /// Of a followed file.
    pub progress: Option<Arc<Progress>>,
    reading: Arc<ArcSwap<Reading>>,
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

impl RunningInput {
    /// Starts it. `ended` is called when it has come to its end without having been asked to.
    ///
    /// # Errors
    /// Threads or descriptors are not to be had, or the position of a followed file cannot be read.
    pub fn start(
        input: Input,
        producer: Arc<Producer>,
        log: Log,
        max_line: usize,
        ended: impl FnOnce(&str, Arc<InputCounters>, io::Result<()>) + Send + 'static,
    ) -> io::Result<RunningInput> {
        let stop = Arc::new(Stop::new()?);
        let progress = match &input.source {
            Source::FollowedFile { position, .. } => Some(Arc::new(Progress::load(position.clone())?)),
            _ => None,
        };
        let reading = Arc::new(ArcSwap::from_pointee(input.reading.clone()));
        let feed = Feed::new(&input.name, producer, log, Arc::clone(&reading), max_line, Arc::clone(&stop));
        let counters = Arc::clone(&feed.counters);
        let run = {
            let (input, progress) = (input.clone(), progress.clone());
            move || {
                let result = run(&input.source, progress.as_deref(), &feed);
                if !feed.stop().is_asked() {
                    ended(&input.name, feed.counters, result);
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("in-{}", input.name)).spawn(run)?;
        Ok(RunningInput { input, counters, progress, reading, stop, thread })
    }

    /// Reads lines in another way from the next block on: nothing is stopped for that.
    pub fn change(&mut self, reading: &Reading) {
        self.input.reading = reading.clone();
        self.reading.store(Arc::new(reading.clone()));
    }

    /// Asks it to read what is there and to end; what waits for room in the queue may take so long. Does not wait.
    pub fn ask_to_stop(&self, patience: Duration) {
        self.stop.ask_within(patience);
    }

    /// Waits until it has ended.
    pub fn join(self) {
        // One that has panicked has ended, too.
        let _ = self.thread.join();
    }
}

/// Reads the source. One that has no end of its own is tried again when it fails.
fn run(source: &Source, progress: Option<&Progress>, feed: &Feed) -> io::Result<()> {
    let mut backoff = Backoff::new();
    loop {
        let started = Instant::now();
        // A defect of ours ends neither the input nor, unseen, its thread.
        let result = catch_unwind(AssertUnwindSafe(|| source.read(progress, feed)))
            .unwrap_or_else(|_| Err(io::Error::other("failed by a defect of teld: please report it")));
        let error = match result {
            Err(error) if !source.ends() && !feed.stop().is_asked() => error,
            other => return other,
        };
        let wait = backoff.after(started.elapsed());
        feed.say(Level::Error, "input", format_args!("{error}; again in {} ms", wait.as_millis()));
        feed.counters.set_trouble(error.to_string());
        feed::add(&feed.counters.restarts, 1);
        feed.stop().sleep(wait);
    }
}

fn stdin(feed: &Feed) -> io::Result<()> {
    let input = io::stdin();
    let mut block = pace::block();
    let mut stream = feed.stream();
    let mut deadline: Option<Instant> = None;
    loop {
        let found = feed.stop().wait(&[input.as_fd()], deadline.map(|_| Duration::ZERO))?;
        let ready = found.first().is_some_and(|found| found.readable);
        let read = if ready { pace::read(input.as_fd(), &mut block, &mut stream)? } else { pace::Read::Little };
        if feed.stop().is_asked() {
            // What is there is read, though not for ever: a file is always ready.
            let deadline = *deadline.get_or_insert(Instant::now() + LAST);
            if !ready || Instant::now() >= deadline {
                return Ok(());
            }
        }
        if read == pace::Read::End {
            stream.end();
            return Ok(());
        }
        if let Some(pause) = read.pause() {
            feed.stop().sleep(pause);
        }
    }
}

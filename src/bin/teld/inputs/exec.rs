//! A child whose standard output is read. It is started again when it ends, and ends with its input.

use super::backoff::Backoff;
use super::feed::{add, Feed};
use super::pace::{self, Read};
use crate::wait::Stop;
use rustix::process::{kill_process_group, pidfd_open, Pid, PidfdFlags, Signal};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tel::Level;

/// How long a child may take to end, once it was asked to or has closed its output.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest line of standard error that is passed on.
const MOST_SAID: usize = 1000;

/// Runs `command`, again and again, until the input is to stop.
///
/// # Errors
/// Those of waiting. A child that cannot be started is tried again.
pub fn run(command: &[String], feed: &Feed) -> io::Result<()> {
    let mut backoff = Backoff::new();
    let mut block = pace::block();
    let mut first = true;
    while !feed.stop().is_asked() {
        if !std::mem::take(&mut first) {
            add(&feed.counters.restarts, 1);
        }
        let started = Instant::now();
        let why = match Running::start(command) {
            Ok(mut running) => {
                feed.counters.writers.store(1, Ordering::Relaxed);
                feed.counters.set_trouble("");
                let read = running.read(feed, &mut block);
                let ended = running.end();
                feed.counters.writers.store(0, Ordering::Relaxed);
                read?;
                ended
            }
            Err(error) => format!("{}: cannot be started: {error}", command.join(" ")),
        };
        if feed.stop().is_asked() {
            break;
        }
        let wait = backoff.after(started.elapsed());
        feed.say(Level::Warning, "child", format_args!("{why}; again in {} ms", wait.as_millis()));
        feed.counters.set_trouble(why);
        feed.stop().sleep(wait);
    }
    Ok(())
}

/// A child and its process group.
struct Running {
    child: Child,
    group: Pid,
    /// Readable once the child has ended.
    ended: OwnedFd,
}

impl Running {
    fn start(command: &[String]) -> io::Result<Running> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        // A group of its own: what it starts ends with it, and a terminal's ^C reaches teld alone.
        command.args(arguments).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        crate::process::end_with_parent(&mut command);
        let mut child = command.spawn()?;
        let group = Pid::from_child(&child);
        match pidfd_open(group, PidfdFlags::empty()) {
            Ok(ended) => Ok(Running { child, group, ended }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Passes on what the child writes until its output ends, or it does, or the input is to stop; then what is left.
    fn read(&mut self, feed: &Feed, block: &mut [u8]) -> io::Result<()> {
        let (Some(output), Some(errors)) = (self.child.stdout.take(), self.child.stderr.take()) else { return Ok(()) };
        // A small pipe works, too.
        let _ = rustix::pipe::fcntl_setpipe_size(&output, pace::PIPE);
        let mut lines = feed.stream();
        let mut complaints = Complaints { feed, said: Vec::new(), open: true };
        let mut deadline: Option<Instant> = None;
        loop {
            let places = [output.as_fd(), self.ended.as_fd(), errors.as_fd()];
            let watched = if complaints.open { 3 } else { 2 };
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let found = feed.stop().wait(&places[..watched], left)?;
            let ready = |place: usize| found.get(place).is_some_and(|place| place.readable);
            if ready(2) {
                complaints.read(&errors, block);
            }
            let read = if ready(0) { pace::read(output.as_fd(), block, &mut lines)? } else { Read::Little };
            if read == Read::End || (deadline.is_some() && (!ready(0) || left == Some(Duration::ZERO))) {
                break;
            }
            if deadline.is_none() && (ready(1) || feed.stop().is_asked()) {
                // What the child has started may hold its output open; asked to end, it may have something left to say.
                let _ = kill_process_group(self.group, Signal::TERM);
                deadline = Some(Instant::now() + PATIENCE);
            } else if let (Some(pause), None) = (read.pause(), deadline) {
                feed.stop().sleep(pause);
            }
        }
        pace::rest(output.as_fd(), block, &mut lines)?;
        lines.end();
        complaints.read(&errors, block);
        complaints.end();
        Ok(())
    }

    /// Ends the child if it has not ended, and all of its group. How it ended, in words.
    fn end(mut self) -> String {
        let process = self.child.id();
        let _ = kill_process_group(self.group, Signal::TERM);
        // What is to stop has been asked to already: this wait is for the child alone.
        if let Ok(stop) = Stop::new() {
            let _ = stop.wait(&[self.ended.as_fd()], Some(PATIENCE));
        }
        // Before the child is waited for: until then no other group can have its number.
        let _ = kill_process_group(self.group, Signal::KILL);
        match self.child.wait() {
            Ok(status) => format!("process {process} has ended: {status}"),
            Err(error) => format!("process {process} has ended: {error}"),
        }
    }
}

/// A child's standard error, for the log.
struct Complaints<'a> {
    feed: &'a Feed,
    said: Vec<u8>,
    open: bool,
}

impl Complaints<'_> {
    fn read(&mut self, errors: &impl AsFd, block: &mut [u8]) {
        if !self.open || rustix::io::ioctl_fionbio(errors, true).is_err() {
            return;
        }
        match rustix::io::read(errors, &mut *block) {
            Ok(0) => self.open = false,
            Ok(count) => {
                for byte in &block[..count] {
                    match byte {
                        b'\n' => self.end(),
                        byte if self.said.len() < MOST_SAID => self.said.push(*byte),
                        _ => {}
                    }
                }
            }
            Err(_) => {}
        }
    }

    fn end(&mut self) {
        if !self.said.is_empty() {
            let said = String::from_utf8_lossy(&self.said).replace(|letter: char| letter.is_control(), " ");
            self.feed.say(Level::Warning, "child says", format_args!("{said}"));
            self.said.clear();
        }
    }
}

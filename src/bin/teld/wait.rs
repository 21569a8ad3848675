//! Waiting for bytes or for the end, whichever comes first.

use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Asks a thread to stop, and wakes it wherever it waits by [`Stop::wait`].
#[derive(Debug)]
pub struct Stop {
    asked: AtomicBool,
    /// Set before it is asked.
    deadline: OnceLock<Instant>,
    wake: OwnedFd,
}

/// What a wait has found, for each place waited at, in order.
pub type Found = Vec<Ready>;

/// The state of one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// There are bytes, or a connection, or the end has come.
    pub readable: bool,
    /// The other side is gone.
    pub hung_up: bool,
}

impl Stop {
    /// # Errors
    /// Those of eventfd(2).
    pub fn new() -> io::Result<Stop> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Stop { asked: AtomicBool::new(false), deadline: OnceLock::new(), wake })
    }

    /// Asks, once and for all.
    pub fn ask(&self) {
        self.ask_within(Duration::ZERO);
    }

    /// Asks, and gives so much time for what there is to finish.
    pub fn ask_within(&self, time: Duration) {
        let _ = self.deadline.set(Instant::now() + time);
        self.asked.store(true, Ordering::Release);
        // Fails only if it was asked before, 2^64 times.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Whether it was asked.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether it was asked, and the time that was given with it is over.
    pub fn is_over(&self) -> bool {
        self.is_asked() && self.deadline.get().is_none_or(|deadline| Instant::now() >= *deadline)
    }

    /// Waits for the time, less if it is asked meanwhile.
    pub fn sleep(&self, time: Duration) {
        // A wait that fails at once leaves only a loop that is too fast.
        let _ = self.wait(&[], Some(time));
    }

    /// Waits until one of `places` is ready, or the time is over, or it is asked. Once it was asked, what is left can be
    /// waited for with a time; without one nothing is waited for.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait(&self, places: &[BorrowedFd<'_>], time: Option<Duration>) -> io::Result<Found> {
        let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(places.len() + 1);
        polled.extend(places.iter().map(|place| PollFd::from_borrowed_fd(*place, PollFlags::IN)));
        let mut time = time;
        if !self.is_asked() {
            polled.push(PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN));
        } else if time.is_none() {
            time = Some(Duration::ZERO);
        }
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        match poll(&mut polled, time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let found = polled.iter().take(places.len()).map(|place| {
            let events = place.revents();
            let over = PollFlags::HUP | PollFlags::ERR;
            Ready { readable: events.intersects(PollFlags::IN | over), hung_up: events.intersects(over) }
        });
        Ok(found.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn being_asked_ends_every_wait() {
        let stop = Arc::new(Stop::new().unwrap());
        let (_quiet, waited_at) = UnixStream::pair().unwrap();
        let waiting = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let first = stop.wait(&[waited_at.as_fd()], None).unwrap();
                (first, stop.wait(&[waited_at.as_fd()], None).unwrap())
            })
        };
        stop.ask();
        assert_eq!(waiting.join().unwrap(), (vec![Ready::default()], vec![Ready::default()]));
        let start = Instant::now();
        stop.wait(&[], Some(Duration::from_millis(10))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(10), "once asked, what is left is waited for in full");
    }

    #[test]
    fn bytes_and_the_end_are_told_apart() {
        use std::io::Write;
        let stop = Stop::new().unwrap();
        let (mut writer, reader) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        let found = stop.wait(&[reader.as_fd()], None).unwrap();
        assert_eq!(found, [Ready { readable: true, hung_up: false }]);
        drop(writer);
        let found = stop.wait(&[reader.as_fd()], None).unwrap();
        assert_eq!(found, [Ready { readable: true, hung_up: true }]);
    }
}

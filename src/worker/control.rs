//! What the producer's handle asks of the worker, and how it waits for it.

use crate::error::tel_error;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// What the worker is asked to do, as of now.
pub struct Orders {
    /// The last flush asked for; flushes are numbered from 1.
    pub flush: u64,
    /// The last flush done.
    pub flushed: u64,
    /// Somebody still waits for a flush.
    pub flush_awaited: bool,
    /// Close, by this deadline if there is one.
    pub close: Option<Option<Instant>>,
}

/// How a close ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// Every line came to its end.
    Complete,
    /// Lines were given up at the deadline.
    Incomplete,
    /// The worker is gone by a defect.
    Broken,
}

#[derive(Default)]
struct State {
    flush: u64,
    flushed: u64,
    /// How many calls wait for a flush.
    awaiting: usize,
    close: Option<Option<Instant>>,
    closed: Option<Closed>,
    trouble: String,
}

/// The desk between the handle and the worker.
#[derive(Default)]
pub struct Control {
    state: Mutex<State>,
    changed: Condvar,
    worker: OnceLock<Thread>,
}

/// A close's caller waits this long beyond its own deadline for the worker's last word.
const GRACE: Duration = Duration::from_millis(90);

impl Control {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to wake for an order.
    pub fn set_worker(&self, thread: Thread) {
        let _ = self.worker.set(thread);
    }

    fn wake(&self) {
        if let Some(worker) = self.worker.get() {
            worker.unpark();
        }
    }

    /// Waits until `is_done` or `deadline`. False when time ran out.
    fn wait(&self, deadline: Option<Instant>, is_done: impl Fn(&State) -> bool) -> bool {
        let mut state = self.state();
        while !is_done(&state) {
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Asks for a flush and waits for it. `timeout` `None`: no limit.
    pub fn flush(&self, timeout: Option<Duration>) -> Result<(), tel_error> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let number = {
            let mut state = self.state();
            state.flush += 1;
            state.awaiting += 1;
            state.flush
        };
        self.wake();
        let in_time = self.wait(deadline, |state| state.flushed >= number || state.closed.is_some());
        let mut state = self.state();
        state.awaiting -= 1;
        if !in_time {
            return Err(tel_error::TEL_ERR_TIMEOUT);
        }
        match state.closed {
            _ if state.flushed >= number => Ok(()),
            Some(Closed::Complete) => Ok(()),
            Some(Closed::Broken) => Err(tel_error::TEL_ERR_INTERNAL),
            _ => Err(tel_error::TEL_ERR_TIMEOUT),
        }
    }

    /// Asks for a close and waits for it. The first caller's deadline counts for the worker.
    pub fn close(&self, timeout: Option<Duration>) -> Result<(), tel_error> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        self.state().close.get_or_insert(deadline);
        self.wake();
        if !self.wait(deadline.map(|deadline| deadline + GRACE), |state| state.closed.is_some()) {
            return Err(tel_error::TEL_ERR_TIMEOUT);
        }
        match self.state().closed {
            Some(Closed::Complete) => Ok(()),
            Some(Closed::Broken) => Err(tel_error::TEL_ERR_INTERNAL),
            _ => Err(tel_error::TEL_ERR_TIMEOUT),
        }
    }

    /// A close was asked for.
    pub fn is_closing(&self) -> bool {
        self.state().close.is_some()
    }

    /// What an operator should know, in a few words; empty when all is well.
    pub fn trouble(&self) -> String {
        self.state().trouble.clone()
    }
}

/// The worker's side.
impl Control {
    /// What is asked for now.
    pub fn orders(&self) -> Orders {
        let state = self.state();
        Orders { flush: state.flush, flushed: state.flushed, flush_awaited: state.awaiting > 0, close: state.close }
    }

    /// Every flush up to `number` is done.
    pub fn flushed(&self, number: u64) {
        let mut state = self.state();
        // A close flushes everything there is: no number is larger than those asked for.
        state.flushed = number.min(state.flush);
        self.changed.notify_all();
    }

    /// The worker has let go of everything; `complete` if no line had to be given up.
    pub fn closed(&self, complete: bool) {
        self.state().closed = Some(if complete { Closed::Complete } else { Closed::Incomplete });
        self.changed.notify_all();
    }

    /// The worker has ended by a defect.
    pub fn broken(&self) {
        self.state().closed = Some(Closed::Broken);
        self.changed.notify_all();
    }

    /// Notes what an operator should know.
    pub fn set_trouble(&self, trouble: String) {
        let mut state = self.state();
        if state.trouble != trouble {
            state.trouble = trouble;
        }
    }
}

//! The one thread behind a producer: drain → split → route → batch → send → poll → count.
//!
//! It never waits for Kafka and needs no wake-up call for a line: it looks at the queue every millisecond when it is
//! busy, and three times a second when nothing comes. Lines wait in their client's batches until the batching time
//! (`queue.buffering.max.ms`) of the oldest of them is over; then all batches are handed over together, so that the
//! engine's wake-ups and requests fall together too.

mod books;
mod control;
mod epochs;
mod lanes;

pub use control::Control;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::log::{say, Log};
use crate::pool::Pool;
use crate::queue::{Consumer, Drain, Queue};
use crate::route::{RouteTable, Routes};
use crate::sink::{Ended, Sink};
use crate::stats::{Ledger, Published};
use books::Books;
use control::Orders;
use epochs::Epochs;
use lanes::Lanes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest sleep between two looks at the queue, when lines come fast.
const BUSY: Duration = Duration::from_millis(1);
/// The longest while lines are with the sink: their reports make room.
const ACTIVE: Duration = Duration::from_millis(20);
/// The longest while lines only gather in batches. At 2,000 lines/s, 12 looks a second cost 1.1 ms of CPU, 50 cost 2.5 ms.
const GATHERING: Duration = Duration::from_millis(100);
/// The longest when there is nothing to do.
const IDLE: Duration = Duration::from_millis(300);
/// What handing a client's batch over and sending it costs the engine, roughly. Batches are handed over before their time,
/// to make room, no more often than the engine can work off: with many clients, they would be of a few lines each.
const HAND_OVER: Duration = Duration::from_micros(100);
/// What is left of a close's grace for the engine's end, once its deadline has passed.
const LAST_MOMENT: Duration = Duration::from_millis(50);

/// What the worker shares with the producer's handle.
pub struct Shared {
    /// Lines come from here.
    pub queue: Arc<Queue>,
    /// Whose lines they may be.
    pub routes: Arc<Routes>,
    /// What the worker counts.
    pub published: Published,
    /// What the worker is asked to do.
    pub control: Control,
    /// What it says.
    pub log: Log,
}

impl Shared {
    /// Takes no more lines, and wants nobody's.
    pub fn take_no_more(&self) {
        self.queue.close();
        self.routes.close();
    }
}

/// The worker's own.
pub struct Worker {
    shared: Arc<Shared>,
    consumer: Consumer,
    sink: Box<dyn Sink + Send>,
    books: Books,
    table: Arc<RouteTable>,
    ended: Vec<Ended>,
    linger: Duration,
    /// When the first of the batches was opened.
    opened: Instant,
    /// When the batches must be handed over; `None` if they are empty.
    deadline: Option<Instant>,
    /// When the queue was last looked at: no line found now was submitted before.
    looked: Instant,
    /// The last pass found more than it could take: its targets still stand.
    unfinished_pass: bool,
    /// The flush that the pass under way covers.
    pass_flush: u64,
    /// Flushes whose lines are all handed over or waiting to be, with the last epoch they are in.
    flushes: Vec<(u64, u64)>,
    /// Nothing waits any more for its time.
    closing: bool,
    /// A pass that takes more bytes than this is a busy one.
    busy_bytes: u64,
    sleep: Duration,
}

impl Worker {
    /// Takes the memory for batches. `sink` is where they go.
    ///
    /// # Errors
    /// `TEL_ERR_IO` when the memory is not to be had.
    pub fn new(config: &Config, shared: Arc<Shared>, sink: Box<dyn Sink + Send>) -> Result<Worker> {
        // The part that a busy second needs is faulted in; the rest comes with an outage, and stays.
        let pool = Pool::new(config.batches_bytes, config.batches_bytes / 8).map_err(|error| {
            Error::io(format_args!("batches.bytes: cannot map {} bytes", config.batches_bytes), &error)
        })?;
        let now = Instant::now();
        Ok(Worker {
            consumer: Consumer::new(Arc::clone(&shared.queue)),
            table: shared.routes.table_to_keep(),
            books: Books { lanes: Lanes::new(pool, config, now), epochs: Epochs::default(), ledger: Ledger::default() },
            busy_bytes: config.queue_bytes as u64 / 32,
            closing: false,
            sink,
            shared,
            ended: Vec::new(),
            linger: config.kafka.linger,
            opened: now,
            deadline: None,
            looked: now,
            unfinished_pass: false,
            pass_flush: 0,
            flushes: Vec::new(),
            sleep: BUSY,
        })
    }

    /// Works until it is told to close.
    pub fn run(mut self) {
        loop {
            let orders = self.shared.control.orders();
            if let Some(deadline) = orders.close {
                return self.close(deadline);
            }
            let busy = self.turn(&orders);
            self.rest(busy);
        }
    }

    /// One round. True if the next should follow soon.
    fn turn(&mut self, orders: &Orders) -> bool {
        let now = Instant::now();
        let taken_before = self.books.ledger.bytes_taken;
        let drain = self.drain(now, orders.flush);
        self.poll(now);
        let flushing = !drain.stopped && self.pass_flush > self.flushes.last().map_or(orders.flushed, |flush| flush.0);
        let due = self.deadline.is_some_and(|deadline| now >= deadline);
        let early = drain.stopped || self.closing || self.books.lanes.is_crowded();
        let worthwhile = now.saturating_duration_since(self.opened) >= HAND_OVER * self.books.lanes.open() as u32;
        if flushing || due || (self.closing && !drain.stopped) || (early && worthwhile) {
            self.release();
            if flushing {
                self.flushes.push((self.pass_flush, self.books.epochs.last()));
            }
        }
        self.hand_over(now);
        self.settle(now);
        self.publish(now);
        self.finish_flushes();

        let taken = self.books.ledger.bytes_taken - taken_before;
        if drain.stopped {
            // Deliveries make room, in a millisecond or after an outage: it is found by an eighth of that late at the most.
            self.sleep = if taken > 0 { BUSY } else { (self.sleep + self.sleep / 8).min(ACTIVE) };
        } else if taken > self.busy_bytes {
            self.sleep = (self.sleep / 2).max(BUSY);
        } else if taken < self.busy_bytes / 4 {
            self.sleep = (self.sleep * 2).min(IDLE);
        }
        orders.flush_awaited && !self.flushes.is_empty()
    }

    /// Takes what the threads have submitted up to now, or up to the last look if that was not all taken yet.
    fn drain(&mut self, now: Instant, flush: u64) -> Drain {
        if !self.unfinished_pass {
            self.pass_flush = flush;
            self.consumer.look();
            self.update_table(now);
        }
        let (books, table, log) = (&mut self.books, &self.table, &self.shared.log);
        let was_empty = books.lanes.is_empty();
        let drain = self.consumer.drain(&mut |line| books.visit(table, line, now, log));
        if was_empty && !books.lanes.is_empty() {
            self.opened = self.looked;
            self.deadline = Some(self.opened + self.linger);
        }
        self.looked = now;
        self.unfinished_pass = drain.stopped;
        drain
    }

    /// Takes the newest client table. Chosen after the look at the queue, it is no older than any line of the pass.
    fn update_table(&mut self, now: Instant) {
        let newest = self.shared.routes.table();
        if !Arc::ptr_eq(&newest, &self.table) {
            self.table = Arc::clone(&newest);
            // What waits for a client that is gone goes now, or not at all.
            if self.books.lanes.note_withdrawals(now) {
                self.deadline = Some(now);
            }
        }
    }

    /// All batches are to be handed over.
    fn release(&mut self) {
        self.books.lanes.release();
        self.books.epochs.advance();
        self.deadline = None;
    }

    fn hand_over(&mut self, now: Instant) {
        let (sink, ended) = (&mut self.sink, &mut self.ended);
        self.books.lanes.hand_over(now, |batch| sink.send(batch), ended);
    }

    fn poll(&mut self, now: Instant) {
        self.sink.poll(&mut self.ended);
        self.settle(now);
    }

    fn settle(&mut self, now: Instant) {
        for ended in self.ended.drain(..) {
            self.books.settle(ended, now);
        }
    }

    fn publish(&mut self, now: Instant) {
        let oldest = self.books.epochs.oldest().map_or(Duration::ZERO, |opened| now.saturating_duration_since(opened));
        self.books.ledger.oldest_undelivered_ms = oldest.as_millis() as u64;
        self.shared.published.publish(self.books.ledger, self.consumer.taken());
        self.shared.control.set_trouble(self.sink.trouble());
    }

    fn finish_flushes(&mut self) {
        let epochs = &self.books.epochs;
        let done =
            self.flushes.iter().take_while(|(_, epoch)| epochs.ended_through(*epoch)).last().map(|flush| flush.0);
        if let Some(flush) = done {
            self.flushes.retain(|(number, _)| *number > flush);
            self.shared.control.flushed(flush);
        }
    }

    fn rest(&mut self, busy: bool) {
        let longest = match (self.books.ledger.in_flight, self.books.lanes.sent_lines()) {
            (0, _) => IDLE,
            (_, 0) => GATHERING,
            _ => ACTIVE,
        };
        // Half the batching time, so that a short one is kept: what is found was submitted since the last look.
        let most = longest.min((self.linger / 2).max(BUSY));
        self.sleep = self.sleep.clamp(BUSY, most);
        let mut sleep = if busy { BUSY } else { self.sleep };
        if let Some(deadline) = self.deadline {
            sleep = sleep.min(deadline.saturating_duration_since(Instant::now()).max(BUSY));
        }
        std::thread::park_timeout(sleep);
    }

    /// Takes no more lines, brings those there are to their end, and lets go of the engine.
    fn close(mut self, deadline: Option<Instant>) {
        self.shared.take_no_more();
        self.closing = true;
        let in_time = || deadline.is_none_or(|deadline| Instant::now() < deadline);
        let mut complete = false;
        while in_time() && !complete {
            let orders = Orders { flush: u64::MAX, flushed: 0, flush_awaited: false, close: None };
            self.turn(&orders);
            complete = self.consumer.unfinished() == 0 && self.books.ledger.in_flight == 0;
            if !complete {
                std::thread::park_timeout(BUSY);
            }
        }
        if !complete {
            self.give_up();
        }
        self.publish(Instant::now());
        let left =
            deadline.map_or(Duration::from_secs(10), |deadline| deadline.saturating_duration_since(Instant::now()));
        if !self.sink.close(left.max(LAST_MOMENT)) {
            // Abandoned threads may still read the lines.
            self.books.lanes.leak();
        }
        self.shared.control.closed(complete);
    }

    /// Ends every line that is left as failed.
    fn give_up(&mut self) {
        let now = Instant::now();
        self.sink.give_up(&mut self.ended);
        self.books.lanes.give_up(&mut self.ended);
        let in_engine_or_batches = self.books.ledger.in_flight;
        for ended in self.ended.drain(..) {
            self.books.settle(ended, now);
        }
        self.consumer.look();
        self.update_table(now);
        let (books, table) = (&mut self.books, &self.table);
        let in_queue = self.consumer.drain(&mut |line| books.discard(table, line)).lines;
        // Claimed by threads that never finished writing them.
        let unfinished = self.consumer.write_off();
        self.books.ledger.dropped_full += unfinished;
        say!(
            self.shared.log,
            Error,
            "close",
            "closed at the deadline: {in_engine_or_batches} lines under way and {in_queue} in the queue were given up"
        );
    }
}

#[cfg(test)]
mod tests;

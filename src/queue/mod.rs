//! The bounded queue between the host's threads and the worker: many threads push lines, one consumer drains them.
//!
//! # Shape
//! The memory is cut into *shards*, each a ring of 64-byte cells. A thread sticks to one shard and moves to the next
//! only when its own is contended or full, so that a push touches cache lines that other running threads leave alone.
//!
//! A push *claims* a run of cells with one compare-and-swap on the shard's tail word, copies the line into them, and
//! publishes it by storing the line's *mark* into the first cell's slot of a separate mark array. Nothing is held
//! between the claim and the mark: a thread that is preempted, or dies, in between hides its own line and nothing
//! else, because the consumer steps over cells without a mark (a *gap*) and looks at them again later. Cells are given
//! back in turn, though: what comes in its ring's next round waits for it, and goes to the other rings.
//!
//! # Order
//! Lines of one thread come out in the order they were pushed:
//! - within a shard the consumer goes by position, and no further than the claims that it has seen when it *looked* (a
//!   load of the tail, acquire). A thread stores the mark of one line before it claims the next (a release), so a line
//!   whose claim was seen has no unmarked line of the same thread before it: a gap that is looked at after the look is
//!   another thread's. Gaps of earlier drains are therefore looked at again when a drain comes to their shard, once, and
//!   not before every line behind them;
//! - a line that a thread pushes after moving to another shard carries a *link* to where the thread was before, and the
//!   consumer first drains that shard up to there, looking at its gaps again. That place may lie behind the tail that was
//!   seen there. But the claims before it came before the linked line's, each of them acquires the ones before it, and
//!   the linked line's was seen: what was said of lines whose claims were seen holds for them too.
//!
//! # Cost
//! No allocation, lock or system call in `push`; one uncontended read-modify-write. The memory is bounded, faulted in
//! by `Queue::new`, and independent of the number of threads.
//!
//! The claim-then-publish ring follows D. Vyukov's bounded MPMC queue (1024cores.net) and the reserve/commit pair of
//! Linux's ring buffer for perf and BPF; marks kept apart from the data are what allows stepping over a gap.

mod affinity;
mod consumer;
mod memory;
#[cfg(not(loom))]
mod seats;
mod shard;
mod sync;

pub use affinity::Affinity;
pub use consumer::{Consumer, Drain, Line, Visit};

use memory::Memory;
#[cfg(not(loom))]
pub use seats::Seats;
use shard::{Claim, Shard};
use std::io;
use std::sync::Arc;
use sync::{AtomicU64, Ordering};

/// Bytes of one cell: a cache line, so that two threads' lines never share one.
pub const CELL_BYTES: usize = 64;

/// A client id given apart is kept up to this length; longer ones are cut there, which leaves them over the limit of
/// 128 bytes and hence malformed, whatever follows.
pub const CLIENT_KEPT: usize = 129;

/// How the queue is cut, from its bound in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number of rings.
    pub shards: usize,
    /// Cells of each ring, a power of two.
    pub cells: usize,
}

impl Layout {
    /// Bytes that one cell costs, its mark included.
    const CELL_COST: usize = CELL_BYTES + 4;
    /// A shard's line counter has 23 bits, and a shard holds at most one line per cell.
    const MOST_CELLS: usize = 1 << 22;

    /// Cuts `bytes` into `wanted` shards or up to twice as many, each able to hold a line of `max_line` bytes: fewer if so
    /// many do not fit; `None` if not even one does, or if a line's length cannot be that.
    ///
    /// Rings are powers of two, their number is free: of `bytes`, less is left over than one part in `wanted` + 1.
    pub fn new(bytes: usize, max_line: usize, wanted: usize) -> Option<Layout> {
        if max_line > shard::MOST_BYTES {
            return None;
        }
        let total = bytes / Self::CELL_COST;
        let fewest = shard::cells_of(max_line + shard::LINK_BYTES).next_power_of_two();
        if fewest > total || fewest > Self::MOST_CELLS {
            return None;
        }
        let mut cells = Self::MOST_CELLS;
        while cells > fewest && total / cells < wanted.max(1) {
            cells /= 2;
        }
        Some(Layout { shards: (total / cells).max(1), cells })
    }

    /// The least number of bytes with which a line of `max_line` bytes can be held.
    pub fn least_bytes(max_line: usize) -> usize {
        shard::cells_of(max_line + shard::LINK_BYTES).next_power_of_two() * Self::CELL_COST
    }
}

/// Why a push was refused. The refusal is counted here, except for `Closed`, which submits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No shard had room for the line.
    Full,
    /// Longer than the queue's limit.
    TooLong,
    /// The queue takes no more lines.
    Closed,
}

/// What went in, in lines, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Every line pushed or refused.
    pub submitted: u64,
    /// Lines that lie in the queue and were not yet taken by the consumer, relative to the `taken` given.
    pub waiting: u64,
    /// Refused because no shard had room.
    pub full: u64,
    /// Refused for their length.
    pub too_long: u64,
}

/// Counters of refused lines: contended only when lines are being refused.
#[derive(Default)]
#[repr(align(128))]
struct Refused {
    full: AtomicU64,
    too_long: AtomicU64,
}

/// The queue. See the module's text.
pub struct Queue {
    /// Never given twice in a process: threads remember queues by it.
    id: u64,
    max_line: usize,
    shards: Arc<[Shard]>,
    #[cfg(not(loom))]
    seats: Seats,
    refused: Refused,
}

impl Queue {
    /// Maps and faults in the memory.
    ///
    /// # Errors
    /// The system's, when the memory is not to be had.
    pub fn new(layout: Layout, max_line: usize) -> io::Result<Queue> {
        // The standard atomic in the models too: it orders nothing that they look at.
        static IDS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

        let shard = |_| Memory::new(layout.cells).map(|memory| Shard::new(memory, max_line));
        let shards = (0..layout.shards).map(shard).collect::<io::Result<Vec<_>>>()?;
        let shards: Arc<[Shard]> = shards.into();
        let id = IDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(Queue {
            id,
            max_line,
            #[cfg(not(loom))]
            seats: Seats::new(Arc::clone(&shards)),
            shards,
            refused: Refused::default(),
        })
    }

    /// The seats of the threads that push: the way to [`Queue::push_home`].
    #[cfg(not(loom))]
    pub fn seats(&self) -> Seats {
        self.seats.clone()
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Copies a line in. With a `client`, the line is that client's whole; without, the client is the line's first word.
    ///
    /// # Errors
    /// [`PushError`]; the line is then not in the queue.
    #[cfg(not(loom))]
    pub fn push(&self, client: Option<&[u8]>, line: &[u8]) -> Result<(), PushError> {
        self.with_affinity(|affinity| self.push_from(affinity, client, line))
    }

    /// [`Queue::push`] for those that come back with the same line: that there is no room for it is not counted.
    ///
    /// # Errors
    /// [`PushError`]; the line is then not in the queue.
    #[cfg(not(loom))]
    pub fn offer(&self, client: Option<&[u8]>, line: &[u8]) -> Result<(), PushError> {
        let pushed = self.with_affinity(|affinity| self.place(affinity, client, line));
        pushed.map_err(|why| match why {
            PushError::Full if !self.is_closed() => why,
            why => self.refuse(why),
        })
    }

    /// A push with this thread's affinity.
    #[cfg(not(loom))]
    fn with_affinity(&self, push: impl FnOnce(&mut Affinity) -> Result<(), PushError>) -> Result<(), PushError> {
        let (mut affinity, place) = self.seats.recall(self.id);
        let pushed = push(&mut affinity);
        if pushed.is_ok() {
            self.seats.keep(affinity, place);
        }
        pushed
    }

    /// The usual [`Queue::push`]: of a thread that has pushed before, and which finds room where its last line is and no
    /// other thread claiming there. False if it is not that, or `is_usual` says that the line is not: then nothing was
    /// pushed or counted.
    ///
    /// # Safety
    /// At `line` there are `length` bytes, should that be no more than the queue's
    /// limit.
    #[cfg(not(loom))]
    #[inline(always)]
    pub unsafe fn push_home(
        seats: &Seats,
        client: Option<&[u8]>,
        line: *const u8,
        length: usize,
        is_usual: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        // SAFETY: by the caller's word.
        seats.usual().is_some_and(|shard| unsafe { shard.push_here(client, line, length, is_usual) })
    }

    /// What a thread that keeps its affinity itself begins with; `seat` spreads such threads over the shards.
    #[cfg(any(test, loom))]
    pub fn affinity(&self, seat: u32) -> Affinity {
        Affinity::new(self.id, self.shards.len(), seat)
    }

    /// Shards on which a push may lose its place to other threads before the line is refused as if the queue were full:
    /// never seen, but a host's thread waits for nothing without a bound.
    const MOST_CONTENDED: usize = 1000;

    /// [`Queue::push`] for a thread whose affinity to this queue the caller keeps.
    ///
    /// # Errors
    /// [`PushError`]; the line is then not in the queue.
    pub fn push_from(&self, affinity: &mut Affinity, client: Option<&[u8]>, line: &[u8]) -> Result<(), PushError> {
        self.place(affinity, client, line).map_err(|why| self.refuse(why))
    }

    /// Copies a line in, or says why not; counts no refusal.
    #[inline]
    fn place(&self, affinity: &mut Affinity, client: Option<&[u8]>, line: &[u8]) -> Result<(), PushError> {
        debug_assert!(affinity.is_to(self.id));
        let home = affinity.shard();
        // SAFETY: a line as long as it says.
        if unsafe { self.shards[home].push_here(client, line.as_ptr(), line.len(), |_| true) } {
            affinity.moved_to(home);
            return Ok(());
        }
        self.place_anywhere(affinity, client, line)
    }

    /// [`Queue::place`] with everything that may come in between.
    #[cold]
    fn place_anywhere(&self, affinity: &mut Affinity, client: Option<&[u8]>, line: &[u8]) -> Result<(), PushError> {
        debug_assert!(affinity.is_to(self.id));
        let length = client.map_or(0, |client| client.len() + 1) + line.len();
        if length > self.max_line {
            return Err(PushError::TooLong);
        }
        let shards = self.shards.len();
        let mut index = affinity.shard();
        // Refused only when every shard was full in turn. One where other threads were claiming does not count: its
        // room is not known, and their lines went in, so the queue gets on whoever waits here.
        let mut full = 0;
        for _ in 0..shards + Self::MOST_CONTENDED {
            if full == shards {
                break;
            }
            let link = affinity.link_for(&self.shards, index);
            match self.shards[index].push(client, line, link) {
                Claim::Done => {
                    affinity.moved_to(index);
                    return Ok(());
                }
                Claim::Closed => return Err(PushError::Closed),
                Claim::Full => full += 1,
                Claim::Contended => full = 0,
            }
            index = if index + 1 == shards { 0 } else { index + 1 };
        }
        Err(PushError::Full)
    }

    #[cold]
    fn refuse(&self, why: PushError) -> PushError {
        // What one shard knows the first one may not show this thread yet.
        if why == PushError::Closed || self.is_closed() {
            return PushError::Closed;
        }
        let term = if why == PushError::Full { &self.refused.full } else { &self.refused.too_long };
        term.fetch_add(1, Ordering::Relaxed);
        why
    }

    /// Takes no more lines from now on. A push that has claimed its place before this still completes.
    pub fn close(&self) {
        for shard in self.shards.iter() {
            shard.close();
        }
    }

    /// No more lines are taken.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shards[0].is_closed()
    }

    /// What went in. `taken` is the number of lines that the consumer had taken from each shard
    /// ([`Consumer::taken`]), as one consistent picture of it.
    ///
    /// `submitted` is made of the terms that are read, so that it is never the smaller.
    pub fn pushed(&self, taken: &[u64]) -> Pushed {
        let full = self.refused.full.load(Ordering::Relaxed);
        let too_long = self.refused.too_long.load(Ordering::Relaxed);
        let mut sum = Pushed { submitted: full + too_long, waiting: 0, full, too_long };
        for (shard, &taken) in self.shards.iter().zip(taken) {
            let waiting = shard.pushed_since(taken);
            sum.waiting += waiting;
            sum.submitted += taken + waiting;
        }
        sum
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

//! Which shard a thread pushes to, and where its last line ended.

use super::shard::{position_of, word_of, Shard};

/// Where a thread was before it moved to another shard: the consumer must have passed that place first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The shard the thread pushed to before.
    pub shard: u32,
    /// The position behind its last line there.
    pub position: u64,
}

/// A thread's memory of one queue.
#[derive(Clone, Copy, Debug)]
pub struct Affinity {
    queue: u64,
    /// The shard, in the memory of the queue with that id.
    home: *const Shard,
    /// The word whose position is behind the last line, or `FRESH`.
    last: u64,
    shard: u32,
}

/// No line pushed yet: the shard is only a proposal, and nothing needs to be waited for. A word with a line count of all
/// ones and the bit for closed is never left by a claim.
const FRESH: u64 = u64::MAX;

impl Affinity {
    /// Of no queue: none has this id.
    #[cfg_attr(loom, allow(dead_code))]
    pub(super) const NONE: Affinity = Affinity { queue: u64::MAX, home: std::ptr::null(), last: FRESH, shard: 0 };

    /// A thread's first touch of queue `queue`, whose `shards` these are; `seat` spreads threads over them.
    pub(super) fn new(queue: u64, shards: &[Shard], seat: u32) -> Affinity {
        let shard = seat as usize % shards.len();
        Affinity { queue, home: &shards[shard], last: FRESH, shard: shard as u32 }
    }

    /// The shard to try first; `None` if it is to no queue.
    ///
    /// # Safety
    /// Its queue lives as long as `'queue`.
    #[inline(always)]
    pub(super) unsafe fn home<'queue>(&self) -> Option<&'queue Shard> {
        // SAFETY: null, or into the living queue's shards, which do not move.
        unsafe { self.home.as_ref() }
    }

    /// Whether it is to queue `queue`.
    pub(super) fn is_to(&self, queue: u64) -> bool {
        self.queue == queue
    }

    /// The number of the shard to try first.
    pub(super) fn shard(&self) -> usize {
        self.shard as usize
    }

    /// The link that a line pushed to `shard` must carry.
    pub(super) fn link_for(&self, shard: usize) -> Option<Link> {
        let stays = self.last == FRESH || self.shard as usize == shard;
        (!stays).then_some(Link { shard: self.shard, position: position_of(self.last) })
    }

    /// The last line is in `shards[shard]` now, and ends at `position`.
    pub(super) fn moved_to(&mut self, shards: &[Shard], shard: usize, position: u64) {
        (self.home, self.last, self.shard) = (&shards[shard], word_of(position), shard as u32);
    }

    /// The last line is at home, and left this tail word there.
    #[inline(always)]
    pub(super) fn stayed(&mut self, tail: u64) {
        self.last = tail;
    }
}

#[cfg(not(loom))]
mod thread {
    use super::{Affinity, Shard};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Queues that one thread can push to in turn and keep its order in each. A process has one producer, or a few.
    const REMEMBERED: usize = 8;

    // Constant and without a destructor: no registration at a thread's first touch, nothing to run at its end, and
    // usable while other thread-locals are being torn down.
    thread_local! {
        static AFFINITIES: Cell<[Affinity; REMEMBERED]> = const { Cell::new([Affinity::NONE; REMEMBERED]) };
    }

    static SPREAD: AtomicU32 = AtomicU32::new(0);

    /// What a thread begins with that pushes to queue `queue`, whose `shards` these are, for the first time.
    pub fn first(queue: u64, shards: &[Shard]) -> Affinity {
        Affinity::new(queue, shards, SPREAD.fetch_add(1, Ordering::Relaxed))
    }

    /// For a thread without a seat of its own at that queue. Brings the affinity to `queue`, whose `shards` these are, to
    /// the front, the others keeping their order.
    ///
    /// A thread that pushes to more than eight queues in turn forgets the one it used longest ago; should it come back
    /// *and* have moved shards there while its lines still waited, those may be overtaken.
    pub fn recall(queue: u64, shards: &[Shard]) -> *mut Affinity {
        // SAFETY: the cell belongs to this thread, and the reference ends with this function, which calls nothing that
        // comes back here.
        let affinities = unsafe { &mut *AFFINITIES.with(Cell::as_ptr) };
        let found = affinities.iter().position(|affinity| affinity.queue == queue);
        let place = found.unwrap_or(REMEMBERED - 1);
        if found.is_none() {
            affinities[place] = first(queue, shards);
        }
        affinities[..=place].rotate_right(1);
        &mut affinities[0]
    }
}
#[cfg(not(loom))]
pub use thread::{first, recall};

//! Which shard a thread pushes to.

use super::shard::{Link, Shard};

/// A thread's memory of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    queue: u64,
    shard: u32,
    /// No line pushed yet: the shard is only a proposal, and nothing needs to be waited for.
    fresh: bool,
}

impl Affinity {
    /// Of no queue: none has this id.
    #[cfg_attr(loom, allow(dead_code))]
    const NONE: Affinity = Affinity { queue: u64::MAX, shard: 0, fresh: true };

    /// A thread's first touch of queue `queue`, which has `shards`; `seat` spreads threads over them.
    pub(super) fn new(queue: u64, shards: usize, seat: u32) -> Affinity {
        Affinity { queue, shard: (seat as usize % shards) as u32, fresh: true }
    }

    /// Of a thread whose last line is in `shard`, if it has pushed one.
    #[cfg_attr(loom, allow(dead_code))]
    pub(super) fn at(queue: u64, shard: u32) -> Affinity {
        Affinity { queue, shard, fresh: false }
    }

    /// Whether it is to queue `queue`.
    pub(super) fn is_to(&self, queue: u64) -> bool {
        self.queue == queue
    }

    /// The number of the shard to try first.
    pub(super) fn shard(&self) -> usize {
        self.shard as usize
    }

    /// The link that a line pushed to `to`, one of `shards`, must carry. It leads behind all that is claimed where the
    /// thread was: behind its last line, then, and nobody need remember where that ended.
    pub(super) fn link_for(&self, shards: &[Shard], to: usize) -> Option<Link> {
        let stays = self.fresh || self.shard() == to;
        (!stays).then(|| Link { shard: self.shard, position: shards[self.shard()].end() })
    }

    /// The last line is in this shard now.
    pub(super) fn moved_to(&mut self, shard: usize) {
        (self.shard, self.fresh) = (shard as u32, false);
    }
}

#[cfg(not(loom))]
mod thread {
    use super::Affinity;
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

    /// What a thread begins with that pushes to queue `queue`, which has `shards`, for the first time.
    pub fn first(queue: u64, shards: usize) -> Affinity {
        Affinity::new(queue, shards, SPREAD.fetch_add(1, Ordering::Relaxed))
    }

    /// For a thread without a seat at queue `queue`, which has `shards`: what [`keep`] was told last.
    ///
    /// A thread that pushes to more than eight queues in turn forgets the one it used longest ago; should it come back
    /// *and* have moved shards there while its lines still waited, those may be overtaken.
    pub fn recall(queue: u64, shards: usize) -> Affinity {
        let known = AFFINITIES.get().into_iter().find(|affinity| affinity.is_to(queue));
        known.unwrap_or_else(|| first(queue, shards))
    }

    /// Brings the affinity to the front, the others keeping their order.
    pub fn keep(affinity: Affinity) {
        let mut affinities = AFFINITIES.get();
        if affinities[0] == affinity {
            return;
        }
        let place = affinities.iter().position(|kept| kept.is_to(affinity.queue)).unwrap_or(REMEMBERED - 1);
        affinities[..=place].rotate_right(1);
        affinities[0] = affinity;
        AFFINITIES.set(affinities);
    }
}
#[cfg(not(loom))]
pub use thread::{first, keep, recall};

//! Which shard a thread pushes to, and where its last line ended.

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
    // The models keep one for each thread and queue.
    #[cfg_attr(loom, allow(dead_code))]
    queue: u64,
    shard: u32,
    /// Position behind the last line, or `FRESH`.
    position: u64,
}

/// No line pushed yet: the shard is only a proposal, and nothing needs to be waited for. Positions have 40 bits.
const FRESH: u64 = u64::MAX;

impl Affinity {
    /// A thread's first touch of queue `queue`; `seat` spreads threads over the shards.
    pub const fn new(queue: u64, seat: u32) -> Affinity {
        Affinity { queue, shard: seat, position: FRESH }
    }

    /// The shard to try first.
    #[inline]
    pub(super) fn shard(&self, shards: usize) -> usize {
        let shard = self.shard as usize;
        if shard < shards {
            shard
        } else {
            shard % shards
        }
    }

    /// The link that a line pushed to `shard` must carry.
    #[inline]
    pub(super) fn link_for(&self, shard: usize) -> Option<Link> {
        let stays = self.position == FRESH || self.shard as usize == shard;
        (!stays).then_some(Link { shard: self.shard, position: self.position })
    }

    #[inline]
    pub(super) fn moved_to(&mut self, shard: usize, position: u64) {
        self.shard = shard as u32;
        self.position = position;
    }
}

#[cfg(not(loom))]
mod thread {
    use super::Affinity;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Queues that one thread can push to in turn and keep its order in each. A process has one producer, or a few.
    const REMEMBERED: usize = 8;
    /// No queue has this id.
    const NO_QUEUE: u64 = 0;

    // Constant and without a destructor: no registration at a thread's first touch, nothing to run at its end, and
    // usable while other thread-locals are being torn down.
    thread_local! {
        static AFFINITIES: Cell<[Affinity; REMEMBERED]> = const { Cell::new([Affinity::new(NO_QUEUE, 0); REMEMBERED]) };
    }

    static SEATS: AtomicU32 = AtomicU32::new(0);

    /// Runs `push` with this thread's affinity to `queue`.
    ///
    /// A thread that pushes to more than eight queues in turn forgets the one it used longest ago; should it come back
    /// *and* have moved shards there while its lines still waited, those may be overtaken.
    #[inline]
    pub fn with<R>(queue: u64, push: impl FnOnce(&mut Affinity) -> R) -> R {
        AFFINITIES.with(|affinities| {
            // SAFETY: the cell belongs to this thread, and `push` does not come back here: it copies bytes and
            // touches atomics, no more. The borrow ends with this closure.
            let affinities = unsafe { &mut *affinities.as_ptr() };
            if affinities[0].queue != queue {
                recall(affinities, queue);
            }
            push(&mut affinities[0])
        })
    }

    /// Brings the affinity to `queue` to the front, the others keeping their order.
    #[cold]
    fn recall(affinities: &mut [Affinity; REMEMBERED], queue: u64) {
        let found = affinities.iter().position(|affinity| affinity.queue == queue);
        let place = found.unwrap_or(REMEMBERED - 1);
        if found.is_none() {
            affinities[place] = Affinity::new(queue, SEATS.fetch_add(1, Ordering::Relaxed));
        }
        affinities[..=place].rotate_right(1);
    }
}
#[cfg(not(loom))]
pub use thread::with;

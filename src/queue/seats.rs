//! Where each thread finds the shard that it pushes to, of one queue.
//!
//! A thread-local of a shared library is found by a call through four tables in as many pages; after a host has worked on
//! its own things for a request's length, that took more time than all else of a push. The thread's number is at hand: a
//! queue keeps a *seat* for each number, found by its hash. A thread takes a free one at its first push and keeps it.
//! Those that find none near go by a thread-local after all: some of a few hundred, and most of those that come after the
//! first thousand.
//!
//! A seat is a word. All are in two pages, which the other threads' pushes keep in the processor's tables of pages: were they
//! apart, a thread would find its own gone with every other request. And nobody writes to a seat but a thread that moves.
//!
//! A thread that has ended keeps its seat, and whoever has its number next takes over what is known there: that its first
//! line must not overtake the other's last one is more than it needs, and no harm.

use super::affinity::{self, Affinity};
use super::shard::Shard;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// Of a queue: enough that a few hundred threads seldom look for the same one. A power of two.
const SEATS: usize = 1024;
/// Seats at which a thread looks before it goes by a thread-local.
const NEAR: usize = 8;

/// The thread's number and the shard's: 0 if it is free. A thread's number once there stays, and only that thread writes to
/// it then.
type Seat = AtomicU64;

/// Of a seat's word, the shard's.
const SHARD_BITS: u32 = 16;

/// In whole pages.
#[repr(align(4096))]
struct Table([Seat; SEATS]);

/// The seats of one queue, and the shards that they lead to.
#[derive(Clone)]
pub struct Seats {
    table: Arc<Table>,
    shards: Arc<[Shard]>,
}

/// Where a thread's affinity is kept.
#[derive(Clone, Copy)]
pub struct Place(Option<usize>);

impl Seats {
    pub fn new(shards: Arc<[Shard]>) -> Seats {
        Seats { table: Arc::new(Table([const { Seat::new(0) }; SEATS])), shards }
    }

    /// The shard that this thread's last line is in, if its seat is the first that it looks at.
    #[inline(always)]
    pub fn usual(&self) -> Option<&Shard> {
        let number = thread_number();
        let seat = self.table.0[first(number)].load(Ordering::Relaxed);
        (seat >> SHARD_BITS == number).then(|| self.shards.get(shard_of(seat) as usize)).flatten()
    }

    /// This thread's affinity to queue `queue`, whose seats these are, and where [`Seats::keep`] keeps it.
    pub fn recall(&self, queue: u64) -> (Affinity, Place) {
        let number = thread_number();
        let shards = self.shards.len();
        let mut proposal = None;
        // What is longer than a word has room for goes by the thread-local.
        if number >> (u64::BITS - SHARD_BITS) == 0 && shards <= 1 << SHARD_BITS {
            for place in (0..NEAR).map(|step| (first(number) + step) % SEATS) {
                let seat = &self.table.0[place];
                let has = seat.load(Ordering::Relaxed);
                if has >> SHARD_BITS == number {
                    return (Affinity::at(queue, shard_of(has)), Place(Some(place)));
                }
                if has == 0 {
                    let affinity = *proposal.get_or_insert_with(|| affinity::first(queue, shards));
                    // Relaxed: what a seat says is its thread's alone.
                    if seat.compare_exchange(0, word(number, affinity), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                        return (affinity, Place(Some(place)));
                    }
                }
            }
        }
        (affinity::recall(queue, shards), Place(None))
    }

    /// What [`Seats::recall`] gave is this from now on.
    pub fn keep(&self, affinity: Affinity, place: Place) {
        match place.0 {
            Some(place) => {
                let seat = &self.table.0[place];
                let word = word(thread_number(), affinity);
                // Its cache line is other threads' as well.
                if seat.load(Ordering::Relaxed) != word {
                    seat.store(word, Ordering::Relaxed);
                }
            }
            None => affinity::keep(affinity),
        }
    }
}

#[inline(always)]
fn shard_of(seat: u64) -> u32 {
    (seat & ((1 << SHARD_BITS) - 1)) as u32
}

fn word(number: u64, affinity: Affinity) -> u64 {
    number << SHARD_BITS | affinity.shard() as u64
}

/// Numbers lie a stack's size apart: the upper bits of a product with 2^64 / golden ratio tell them best (Knuth, The Art of
/// Computer Programming 3, 6.4).
#[inline(always)]
fn first(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SEATS.ilog2())) as usize
}

/// A number that no other thread has that lives; not 0. The address of the thread's control block, which the platform's ABI
/// keeps in a register.
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn thread_number() -> u64 {
    let number: u64;
    // SAFETY: the block's first word is its own address (System V ABI, ELF Handling For Thread-Local Storage, 3.4.6).
    unsafe { std::arch::asm!("mov {}, fs:0", out(reg) number, options(nostack, preserves_flags, pure, readonly)) };
    number
}

/// As above.
#[cfg(all(target_os = "linux", target_arch = "aarch64", not(miri)))]
#[inline(always)]
fn thread_number() -> u64 {
    let number: u64;
    // SAFETY: reads a register.
    unsafe { std::arch::asm!("mrs {}, tpidr_el0", out(reg) number, options(nostack, nomem, preserves_flags, pure)) };
    number
}

/// As above, by the address of something that each thread has.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
fn thread_number() -> u64 {
    thread_local!(static OWN: u8 = const { 0 });
    OWN.with(|own| std::ptr::from_ref(own).addr() as u64)
}

#[cfg(test)]
impl Seats {
    /// This thread finds no seat, unless it has one: the free ones near its own are some other thread's now.
    pub fn crowd_out(&self) {
        for step in 0..NEAR {
            let seat = &self.table.0[(first(thread_number()) + step) % SEATS];
            let _ = seat.compare_exchange(0, 1 << SHARD_BITS, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether this thread has one, or takes one now.
    pub fn seats_it(&self, queue: u64) -> bool {
        self.recall(queue).1 .0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Layout, Queue};
    use std::collections::HashSet;

    fn queue() -> Queue {
        Queue::new(Layout { shards: 2, cells: 16 }, 100).unwrap()
    }

    /// The number of the shard, by the short way and by the long one.
    fn shards_of(queue: &Queue) -> (Option<usize>, usize) {
        let usual =
            queue.seats.usual().map(|usual| queue.shards.iter().position(|shard| std::ptr::eq(shard, usual)).unwrap());
        (usual, queue.seats.recall(queue.id).0.shard())
    }

    #[test]
    fn a_thread_finds_where_it_was_last() {
        let queue = queue();
        assert!(queue.seats.usual().is_none());
        let (mut affinity, place) = queue.seats.recall(queue.id);
        let own = affinity.shard();
        assert_eq!(affinity.link_for(&queue.shards, 1 - own), None, "it has pushed nothing");
        assert_eq!(shards_of(&queue), (Some(own), own));
        affinity.moved_to(1 - own);
        queue.seats.keep(affinity, place);
        assert_eq!(shards_of(&queue), (Some(1 - own), 1 - own));
        let back = queue.seats.recall(queue.id).0.link_for(&queue.shards, own);
        assert_eq!(back.map(|link| link.shard as usize), Some(1 - own));
    }

    #[test]
    fn a_thread_without_a_seat_finds_it_too() {
        let queue = queue();
        queue.seats.crowd_out();
        for shard in [1, 0, 1] {
            let (mut affinity, place) = queue.seats.recall(queue.id);
            affinity.moved_to(shard);
            queue.seats.keep(affinity, place);
            assert_eq!(shards_of(&queue), (None, shard));
        }
    }

    #[test]
    fn threads_that_live_have_different_numbers() {
        let own = thread_number();
        let all = std::sync::Barrier::new(50);
        let numbers: HashSet<u64> = std::thread::scope(|scope| {
            let number = || {
                let number = thread_number();
                all.wait();
                number
            };
            let threads: Vec<_> = (0..50).map(|_| scope.spawn(number)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(numbers.len() == 50 && !numbers.contains(&0) && !numbers.contains(&own));
    }
}

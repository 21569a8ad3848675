//! Where each thread finds its affinity to one queue.
//!
//! A thread-local of a shared library is found by a call through four tables in as many pages; after a host has worked on
//! its own things for a request's length, that took more time than all else of a push. The thread's number is at hand:
//! a queue keeps a *seat* for each number, found by its hash. A thread takes a free one at its first push and keeps it.
//! Those that find none near go by a thread-local after all.
//!
//! A thread that has ended keeps its seat, and whoever has its number next takes over what is known there: that its first
//! line must not overtake the other's last one is more than it needs, and no harm.

use super::affinity::{self, Affinity};
use super::shard::Shard;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Of a queue: enough that a few hundred threads seldom look for the same one.
pub const SEATS: usize = 1024;
/// Seats at which a thread looks before it goes by a thread-local.
const NEAR: usize = 8;

/// A cache line, as its thread writes to it with every line.
#[repr(align(64))]
struct Seat {
    /// The number of the thread that has it; 0 if it is free. Set once.
    thread: AtomicUsize,
    /// Touched by that thread only.
    affinity: UnsafeCell<Affinity>,
}

// SAFETY: see `affinity`; its pointer leads to shards, which threads share.
unsafe impl Sync for Seat {}
// SAFETY: as above.
unsafe impl Send for Seat {}

/// The seats of one queue: a power of two of them.
#[derive(Clone)]
pub struct Seats(Arc<[Seat]>);

impl Seats {
    pub fn new(count: usize) -> Seats {
        debug_assert!(count.is_power_of_two());
        let free = || Seat { thread: AtomicUsize::new(0), affinity: UnsafeCell::new(Affinity::NONE) };
        Seats((0..count).map(|_| free()).collect())
    }

    /// This thread's affinity, if its seat is the first that it looks at.
    #[inline(always)]
    pub fn usual(&self) -> Option<*mut Affinity> {
        let number = thread_number();
        let seat = self.0.get(first(number) & self.0.len().wrapping_sub(1))?;
        (seat.thread.load(Ordering::Relaxed) == number).then(|| seat.affinity.get())
    }

    /// This thread's affinity to queue `queue`, whose seats these are and whose `shards` those.
    pub fn recall(&self, queue: u64, shards: &[Shard]) -> *mut Affinity {
        let number = thread_number();
        let seats =
            (0..NEAR.min(self.0.len())).filter_map(|step| self.0.get((first(number) + step) & (self.0.len() - 1)));
        for seat in seats {
            let has = seat.thread.load(Ordering::Relaxed);
            // Relaxed: what lies under a number is its thread's alone.
            let is_new = || seat.thread.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if has == number || (has == 0 && is_new()) {
                // SAFETY: this thread's, by its number.
                let own = unsafe { &mut *seat.affinity.get() };
                // Nor is it if a thread of that number was ended right here.
                if !own.is_to(queue) {
                    *own = affinity::first(queue, shards);
                }
                return own;
            }
        }
        affinity::recall(queue, shards)
    }
}

/// Numbers lie a stack's size apart: the upper bits of a product with 2^64 / golden ratio tell them best (Knuth, The Art of
/// Computer Programming 3, 6.4).
#[inline(always)]
fn first(number: usize) -> usize {
    ((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize
}

/// A number that no other thread has that lives; not 0. The address of the thread's control block, which the platform's ABI
/// keeps in a register.
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn thread_number() -> usize {
    let number: usize;
    // SAFETY: the block's first word is its own address (System V ABI, ELF Handling For Thread-Local Storage, 3.4.6).
    unsafe { std::arch::asm!("mov {}, fs:0", out(reg) number, options(nostack, preserves_flags, pure, readonly)) };
    number
}

/// As above.
#[cfg(all(target_os = "linux", target_arch = "aarch64", not(miri)))]
#[inline(always)]
fn thread_number() -> usize {
    let number: usize;
    // SAFETY: reads a register.
    unsafe { std::arch::asm!("mrs {}, tpidr_el0", out(reg) number, options(nostack, nomem, preserves_flags, pure)) };
    number
}

/// As above, by the address of something that each thread has.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
fn thread_number() -> usize {
    thread_local!(static OWN: u8 = const { 0 });
    OWN.with(|own| std::ptr::from_ref(own).addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Layout, Queue};
    use std::collections::HashSet;

    #[test]
    fn a_thread_finds_what_it_knew_and_one_without_a_seat_too() {
        let layout = Layout { shards: 2, cells: 16 };
        let queue = Queue::new(layout, 100).unwrap();
        let seats = Seats::new(1);
        assert!(seats.usual().is_none());
        let recall = || seats.recall(queue.id, &queue.shards) as usize;
        let usual = || seats.usual().map(|affinity| affinity as usize);
        let own = recall();
        assert!(usual() == Some(own) && recall() == own);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let other = recall();
                assert!(usual().is_none() && other != own && recall() == other);
            });
        });
        assert_eq!(usual(), Some(own));
    }

    #[test]
    fn threads_that_live_have_different_numbers() {
        let own = thread_number();
        let all = std::sync::Barrier::new(50);
        let numbers: HashSet<usize> = std::thread::scope(|scope| {
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

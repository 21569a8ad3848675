//! What a host's threads look at with every call, in one page.
//!
//! A host has worked on its own things since its last call: little that a call looks at is in the processor's caches, and
//! finding a page takes longer than finding a cache line. The page is the fork guard's, so that a forked child sees nothing
//! of it.

use crate::process::{ForkGuard, Wiped};
use crate::queue::{Queue, Seats};
use crate::wanted::Wanted;
use std::io;
use std::ptr::NonNull;

/// See the module's text.
pub struct Front {
    /// Whose lines are wanted.
    pub wanted: Wanted,
    /// Where each thread finds the shard it pushes to.
    pub seats: Seats,
}

impl Front {
    /// That of `queue`, in its page.
    ///
    /// # Errors
    /// The system's; also if the kernel cannot wipe pages on fork.
    pub fn new(queue: &Queue) -> io::Result<ForkGuard<Front>> {
        ForkGuard::new(Front { wanted: Wanted::new(), seats: queue.seats() })
    }

    /// One that no host looks at, for tests of what lies behind it.
    #[cfg(test)]
    pub fn of_nobody() -> std::sync::Arc<ForkGuard<Front>> {
        let queue = Queue::new(crate::queue::Layout { shards: 1, cells: 16 }, 100).unwrap();
        std::sync::Arc::new(Front::new(&queue).unwrap())
    }
}

/// The way to a front that leads through nothing else.
#[derive(Clone, Copy)]
pub struct Shortcut(NonNull<Wiped<Front>>);

// SAFETY: what it leads to is shared by all threads.
unsafe impl Send for Shortcut {}
// SAFETY: as above.
unsafe impl Sync for Shortcut {}

impl Shortcut {
    /// To `front`.
    pub fn to(front: &ForkGuard<Front>) -> Shortcut {
        Shortcut(NonNull::from(front.wiped()))
    }

    /// The front; `None` in a forked child.
    ///
    /// # Safety
    /// The guard it was made of lives for as long as `'front`.
    #[inline(always)]
    pub unsafe fn front<'front>(self) -> Option<&'front Front> {
        // SAFETY: the page is mapped as long as its guard lives.
        unsafe { self.0.as_ref() }.get()
    }
}

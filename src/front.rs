//! What a host's threads look at with every call, in one page.
//!
//! A host has worked on its own things since its last call: little that a call looks at is in the processor's caches, and
//! finding a page takes longer than finding a cache line. The page is the fork guard's, so that a forked child sees nothing
//! of it; and it is what a C program's handle points to.

use crate::process::ForkGuard;
use crate::queue::{Queue, Seats};
use crate::wanted::Wanted;
use std::io;
use std::sync::atomic::AtomicPtr;

/// See the module's text. What a call looks at is in the page's first cache line.
#[repr(C)]
pub struct Front {
    /// Where each thread finds the shard it pushes to.
    pub seats: Seats,
    /// Whose lines are wanted.
    pub wanted: Wanted,
    /// The rest of what the handle leads to, if it is a C program's.
    pub handle: AtomicPtr<()>,
}

impl Front {
    /// That of `queue`, in its page.
    ///
    /// # Errors
    /// The system's; also if the kernel cannot wipe pages on fork.
    pub fn new(queue: &Queue) -> io::Result<ForkGuard<Front>> {
        ForkGuard::new(Front { wanted: Wanted::new(), seats: queue.seats(), handle: AtomicPtr::default() })
    }

    /// The usual submission: of a line without a newline that goes where this thread's last line went. False if it is not
    /// that: nothing was submitted or counted then.
    ///
    /// # Safety
    /// At `line` there are `length` bytes, should that be no more than `isize::MAX`.
    #[inline(always)]
    pub unsafe fn submit_home(&self, client: Option<&[u8]>, line: *const u8, length: usize) -> bool {
        let is_usual = |line: &[u8]| line.last() != Some(&b'\n');
        // SAFETY: by the caller's word: the queue's limit is less than what a length can be.
        unsafe { Queue::push_home(&self.seats, client, line, length, is_usual) }
    }

    /// One that no host looks at, for tests of what lies behind it.
    #[cfg(test)]
    pub fn of_nobody() -> std::sync::Arc<ForkGuard<Front>> {
        let queue = Queue::new(crate::queue::Layout { shards: 1, cells: 16 }, 100).unwrap();
        std::sync::Arc::new(Front::new(&queue).unwrap())
    }
}

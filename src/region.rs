//! Memory taken from the system once, at the start, and given back whole.

use std::io;
#[cfg(not(miri))]
use std::ptr;
use std::ptr::NonNull;

const PAGE: usize = 4096;

/// An anonymous mapping: zeroed, page-aligned, not copied to forked children, not in core files.
pub struct Region {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain memory without thread affinity; its users coordinate their access.
unsafe impl Send for Region {}
// SAFETY: as above: the region itself only hands out its address.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `bytes` and faults in the first `populated` of them.
    ///
    /// # Errors
    /// The system's, when the memory is not to be had.
    pub fn new(bytes: usize, populated: usize) -> io::Result<Region> {
        let start = allocate(bytes, populated >= bytes)?;
        let region = Region { start, bytes };
        region.populate(populated.min(bytes));
        Ok(region)
    }

    /// The first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    fn populate(&self, bytes: usize) {
        for offset in (0..bytes).step_by(PAGE) {
            // SAFETY: within the mapping, which nobody else knows yet. Volatile: the write is for its page fault.
            unsafe { self.start.as_ptr().add(offset).write_volatile(0) };
        }
    }
}

/// A huge page: a mapping of several that is used from end to end begins at a multiple of it, so that the system can use
/// them: the queue misses the translation buffer less, and has 16 page faults at the start, not 8,192. In a mapping used
/// in part they would take memory that nobody asked for.
#[cfg(not(miri))]
const HUGE_PAGE: usize = 2 << 20;

#[cfg(not(miri))]
fn allocate(bytes: usize, wholly_used: bool) -> io::Result<NonNull<u8>> {
    let bytes = bytes.next_multiple_of(PAGE);
    let spare = if wholly_used && bytes >= 2 * HUGE_PAGE { HUGE_PAGE } else { 0 };
    // SAFETY: a new anonymous mapping; no existing memory is touched.
    let mapped = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes + spare,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let before = if spare > 0 { mapped.align_offset(HUGE_PAGE).min(spare) } else { 0 };
    let start = mapped.wrapping_byte_add(before);
    // SAFETY: the mapping just made, of which both ends beyond `start..start + bytes` are given back. A forked child never
    // touches it, so it need not be copied on the host's writes; log lines do not belong in a core file. All three are
    // savings: a kernel without them changes nothing.
    unsafe {
        if before > 0 {
            libc::munmap(mapped, before);
        }
        if spare > before {
            libc::munmap(start.wrapping_byte_add(bytes), spare - before);
        }
        if spare > 0 {
            libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
        }
        libc::madvise(start, bytes, libc::MADV_DONTFORK);
        libc::madvise(start, bytes, libc::MADV_DONTDUMP);
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}

#[cfg(not(miri))]
impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the whole mapping made by `allocate`; its owner is being dropped, so nobody uses it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

// Miri knows mmap but not madvise.
#[cfg(miri)]
fn layout(bytes: usize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(bytes, 4096).unwrap()
}

#[cfg(miri)]
fn allocate(bytes: usize, _wholly_used: bool) -> io::Result<NonNull<u8>> {
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout(bytes)) }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

#[cfg(miri)]
impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated by `allocate` with the same layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), layout(self.bytes)) };
    }
}

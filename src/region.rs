//! Memory taken from the system once, at the start, and given back whole.

use std::io;
#[cfg(not(miri))]
use std::ptr;
use std::ptr::NonNull;

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
        let start = allocate(bytes)?;
        let region = Region { start, bytes };
        region.populate(populated.min(bytes));
        Ok(region)
    }

    /// The first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    fn populate(&self, bytes: usize) {
        const PAGE: usize = 4096;
        for offset in (0..bytes).step_by(PAGE) {
            // SAFETY: within the mapping, which nobody else knows yet. Volatile: the write is for its page fault.
            unsafe { self.start.as_ptr().add(offset).write_volatile(0) };
        }
    }
}

#[cfg(not(miri))]
fn allocate(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new anonymous mapping; no existing memory is touched.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping just made. A forked child never touches it, so it need not be copied on the host's writes;
    // log lines do not belong in a core file. Both are savings: a kernel without them changes nothing.
    unsafe {
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
fn allocate(bytes: usize) -> io::Result<NonNull<u8>> {
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

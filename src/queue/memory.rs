//! The cells of a shard: raw memory, bounded and faulted in at the start.

use super::CELL_BYTES;
use std::io;

#[cfg(not(loom))]
pub use mapped::Memory;
#[cfg(loom)]
pub use modelled::Memory;

/// Which bytes of a line lie before the ring's end: they are copied first, the rest to its beginning.
#[inline]
fn before_end(cells: usize, offset: usize, length: usize) -> usize {
    (cells * CELL_BYTES - offset).min(length)
}

#[cfg(not(loom))]
mod mapped {
    use super::{before_end, io, CELL_BYTES};
    use std::ptr::{self, NonNull};

    /// A ring of cells. Who may touch which cells when is the shard's business.
    pub struct Memory {
        start: NonNull<u8>,
        cells: usize,
    }

    // SAFETY: plain memory without thread affinity; access is coordinated by the shard's claims and marks.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Memory {
        /// `cells` must be a power of two.
        pub fn new(cells: usize) -> io::Result<Memory> {
            debug_assert!(cells.is_power_of_two());
            Ok(Memory { start: allocate(cells * CELL_BYTES)?, cells })
        }

        pub fn cells(&self) -> usize {
            self.cells
        }

        /// Copies `bytes` in at `offset` of the ring, going on at its beginning when they reach its end.
        ///
        /// # Safety
        /// The caller has claimed the cells, and nobody else reads or writes them until it publishes them.
        /// `offset` is within the ring, and `bytes` no longer than the ring.
        #[inline]
        pub unsafe fn write(&self, offset: usize, bytes: &[u8]) {
            let first = before_end(self.cells, offset, bytes.len());
            // SAFETY: the range lies in the ring by the caller's word and `before_end`, and is the caller's alone.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(offset), first);
                if first < bytes.len() {
                    ptr::copy_nonoverlapping(bytes.as_ptr().add(first), self.start.as_ptr(), bytes.len() - first);
                }
            }
        }

        /// The `length` bytes at `offset`: in place, or put together in `scratch` when they lie across the ring's end.
        ///
        /// # Safety
        /// The cells are published and not yet given back. `offset` is within the ring, `length` no longer than it.
        #[inline]
        pub unsafe fn read<'a>(&'a self, offset: usize, length: usize, scratch: &'a mut Vec<u8>) -> &'a [u8] {
            let first = before_end(self.cells, offset, length);
            // SAFETY: both ranges lie in the ring, were written before they were published, and stay unchanged
            // until the consumer gives the cells back, which it does after its use of this slice.
            unsafe {
                let head = std::slice::from_raw_parts(self.start.as_ptr().add(offset), first);
                if first == length {
                    return head;
                }
                scratch.clear();
                scratch.extend_from_slice(head);
                scratch.extend_from_slice(std::slice::from_raw_parts(self.start.as_ptr(), length - first));
            }
            scratch
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
                // Populated now: a page fault later would be taken by a host's thread.
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping just made. A forked child never touches it, so it need not be copied on the host's
        // writes; log lines do not belong in a core file. Both are savings: a kernel without them changes nothing.
        unsafe {
            libc::madvise(start, bytes, libc::MADV_DONTFORK);
            libc::madvise(start, bytes, libc::MADV_DONTDUMP);
        }
        NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
    }

    #[cfg(not(miri))]
    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: the whole mapping made by `allocate`; the queue is being dropped, so nobody uses it.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.cells * CELL_BYTES) };
        }
    }

    // Miri knows nothing of madvise.
    #[cfg(miri)]
    fn layout(bytes: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(bytes, CELL_BYTES).unwrap()
    }

    #[cfg(miri)]
    fn allocate(bytes: usize) -> io::Result<NonNull<u8>> {
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { std::alloc::alloc_zeroed(layout(bytes)) })
            .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    #[cfg(miri)]
    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: allocated by `allocate` with the same layout.
            unsafe { std::alloc::dealloc(self.start.as_ptr(), layout(self.cells * CELL_BYTES)) };
        }
    }
}

/// The same ring for loom, which checks that no cell is touched by two threads at once.
#[cfg(loom)]
mod modelled {
    use super::{before_end, io, CELL_BYTES};
    use loom::cell::UnsafeCell;

    pub struct Memory {
        cells: Vec<UnsafeCell<[u8; CELL_BYTES]>>,
    }

    // SAFETY: loom checks every access.
    unsafe impl Sync for Memory {}

    impl Memory {
        pub fn new(cells: usize) -> io::Result<Memory> {
            Ok(Memory { cells: (0..cells).map(|_| UnsafeCell::new([0; CELL_BYTES])).collect() })
        }

        pub fn cells(&self) -> usize {
            self.cells.len()
        }

        pub unsafe fn write(&self, offset: usize, bytes: &[u8]) {
            let first = before_end(self.cells.len(), offset, bytes.len());
            for (place, byte) in (offset..offset + first).chain(0..bytes.len() - first).zip(bytes) {
                // SAFETY: loom checks that the access is exclusive.
                self.cells[place / CELL_BYTES].with_mut(|cell| unsafe { (*cell)[place % CELL_BYTES] = *byte });
            }
        }

        pub unsafe fn read<'a>(&'a self, offset: usize, length: usize, scratch: &'a mut Vec<u8>) -> &'a [u8] {
            let first = before_end(self.cells.len(), offset, length);
            scratch.clear();
            for place in (offset..offset + first).chain(0..length - first) {
                // SAFETY: loom checks that nobody writes.
                scratch.push(self.cells[place / CELL_BYTES].with(|cell| unsafe { (*cell)[place % CELL_BYTES] }));
            }
            scratch
        }
    }
}

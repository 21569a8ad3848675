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
    use crate::region::Region;
    use std::ptr;

    /// A ring of cells. Who may touch which cells when is the shard's business.
    pub struct Memory {
        region: Region,
        cells: usize,
    }

    impl Memory {
        /// `cells` must be a power of two. All of it is faulted in: a page fault later would be a host's thread's.
        pub fn new(cells: usize) -> io::Result<Memory> {
            debug_assert!(cells.is_power_of_two());
            Ok(Memory { region: Region::new(cells * CELL_BYTES, cells * CELL_BYTES)?, cells })
        }

        pub fn cells(&self) -> usize {
            self.cells
        }

        /// Has the processor fetch, for writing, what the lines behind `offset` will lie in, and their marks behind `mark`:
        /// those pushes are then not held up by what the consumer has touched since. Reads and writes nothing.
        #[inline(always)]
        pub fn prefetch<M>(&self, offset: usize, mark: &M) {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            // SAFETY: a hint: it neither faults nor changes memory, wherever it points.
            unsafe {
                std::arch::asm!(
                    "prefetchw [{start} + {offset} + 256]",
                    "prefetchw [{start} + {offset} + 320]",
                    "prefetchw [{start} + {offset} + 384]",
                    "prefetchw [{start} + {offset} + 448]",
                    "prefetchw [{mark} + 64]",
                    start = in(reg) self.region.start().as_ptr(),
                    offset = in(reg) offset,
                    mark = in(reg) mark,
                    options(nostack, preserves_flags, readonly),
                );
            }
            #[cfg(not(all(target_arch = "x86_64", not(miri))))]
            let _ = (offset, mark);
        }

        /// [`Memory::write`] of bytes that do not reach over the ring's end.
        ///
        /// # Safety
        /// As there, and `offset` with the bytes' length is within the ring.
        #[inline(always)]
        pub unsafe fn write_within(&self, offset: usize, bytes: &[u8]) {
            // SAFETY: the range lies in the ring and is the caller's alone, by its word.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), self.region.start().as_ptr().add(offset), bytes.len());
            }
        }

        /// Copies `bytes` in at `offset` of the ring, going on at its beginning when they reach its end.
        ///
        /// # Safety
        /// The caller has claimed the cells, and nobody else reads or writes them until it publishes them.
        /// `offset` is within the ring, and `bytes` no longer than the ring.
        pub unsafe fn write(&self, offset: usize, bytes: &[u8]) {
            let first = before_end(self.cells, offset, bytes.len());
            // SAFETY: the range lies in the ring by the caller's word and `before_end`, and is the caller's alone.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), self.region.start().as_ptr().add(offset), first);
                if first < bytes.len() {
                    ptr::copy_nonoverlapping(
                        bytes.as_ptr().add(first),
                        self.region.start().as_ptr(),
                        bytes.len() - first,
                    );
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
                let head = std::slice::from_raw_parts(self.region.start().as_ptr().add(offset), first);
                if first == length {
                    return head;
                }
                scratch.clear();
                scratch.extend_from_slice(head);
                scratch.extend_from_slice(std::slice::from_raw_parts(self.region.start().as_ptr(), length - first));
            }
            scratch
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

        pub fn prefetch<M>(&self, _offset: usize, _mark: &M) {}

        pub unsafe fn write_within(&self, offset: usize, bytes: &[u8]) {
            assert!(offset + bytes.len() <= self.cells.len() * CELL_BYTES);
            // SAFETY: as the caller says.
            unsafe { self.write(offset, bytes) };
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

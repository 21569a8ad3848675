//! The memory of batches: chunks of 1 KiB to 256 KiB or more out of one bounded region.
//!
//! A buddy system (K. C. Knowlton, "A fast storage allocator", CACM 1965): chunks are powers of two, split and joined,
//! so that a few busy clients and ten thousand quiet ones can follow each other in the same memory.

use crate::region::Region;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

/// The smallest chunk.
pub const UNIT: usize = 1024;
/// No unit: the end of a list.
const NONE: u32 = u32::MAX;
/// A unit at which no free chunk starts.
const NOT_FREE: u8 = u8::MAX;

/// Bytes of a chunk, its owner's alone until it is given back.
pub struct Chunk {
    start: NonNull<u8>,
    bytes: usize,
    /// Keeps the mapping alive, also when the pool is gone before an abandoned engine is done with the bytes.
    _region: Arc<Region>,
}

// SAFETY: a chunk is plain memory that nobody else refers to.
unsafe impl Send for Chunk {}

impl Chunk {
    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: within the region, which the chunk keeps alive; initialised, as mappings are zeroed; no other chunk
        // overlaps it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// Its bytes, to be written.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }

    /// Writes `bytes` at `offset`, touching no other byte: the engine may be reading the rest. False if out of range.
    #[inline]
    pub fn write(&mut self, offset: usize, bytes: [u8; 4]) -> bool {
        let fits = offset.checked_add(4).is_some_and(|end| end <= self.bytes);
        if fits {
            // SAFETY: the four bytes lie in the chunk, which is this owner's; they are no part of any line's value,
            // which is all that the engine reads.
            unsafe { self.start.as_ptr().add(offset).cast::<[u8; 4]>().write(bytes) };
        }
        fits
    }

    /// Its size.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes
    }
}

/// The allocator. One thread's.
pub struct Pool {
    region: Arc<Region>,
    /// Heads of the lists of free chunks, by order: a chunk of order n has `UNIT << n` bytes.
    free: Vec<u32>,
    /// For each unit: its neighbours in the free list, if a free chunk starts there, and that chunk's order.
    links: Vec<(u32, u32)>,
    orders: Vec<u8>,
    used: usize,
}

impl Pool {
    /// A pool over `bytes`, of which the first `populated` are faulted in now.
    ///
    /// # Errors
    /// The system's, when the memory is not to be had.
    pub fn new(bytes: usize, populated: usize) -> io::Result<Pool> {
        let units = bytes / UNIT;
        let region = Arc::new(Region::new(units.max(1) * UNIT, populated)?);
        let orders = units.checked_ilog2().unwrap_or(0) as usize + 1;
        let mut pool = Pool {
            region,
            free: vec![NONE; orders],
            links: vec![(NONE, NONE); units],
            orders: vec![NOT_FREE; units],
            used: 0,
        };
        // From the highest address down: each list then starts with the lowest, which is the part faulted in.
        let mut end = units;
        while end > 0 {
            let order = (end.trailing_zeros() as usize).min(orders - 1);
            end -= 1 << order;
            pool.insert(end as u32, order);
        }
        Ok(pool)
    }

    /// Bytes in chunks now.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The size of the chunk that [`Pool::take`] gives for `bytes`.
    pub fn size_for(bytes: usize) -> usize {
        bytes.max(UNIT).next_power_of_two()
    }

    /// A chunk of at least `bytes` bytes; `None` if no such chunk is free.
    pub fn take(&mut self, bytes: usize) -> Option<Chunk> {
        let wanted = (Self::size_for(bytes) / UNIT).ilog2() as usize;
        let found = (wanted..self.free.len()).find(|order| self.free[*order] != NONE)?;
        let unit = self.free[found];
        self.remove(unit, found);
        // The upper halves go back until the chunk is as small as wanted.
        for order in (wanted..found).rev() {
            self.insert(unit + (1 << order), order);
        }
        let bytes = UNIT << wanted;
        self.used += bytes;
        // SAFETY: `unit` lies in the region with all of the chunk's bytes.
        let start = unsafe { self.region.start().add(unit as usize * UNIT) };
        Some(Chunk { start, bytes, _region: Arc::clone(&self.region) })
    }

    /// Takes a chunk of this pool back.
    pub fn give_back(&mut self, chunk: Chunk) {
        self.used -= chunk.bytes;
        let offset = chunk.start.as_ptr() as usize - self.region.start().as_ptr() as usize;
        let mut unit = (offset / UNIT) as u32;
        let mut order = (chunk.bytes / UNIT).ilog2() as usize;
        while order + 1 < self.free.len() {
            let buddy = unit ^ (1 << order);
            if self.orders.get(buddy as usize).copied() != Some(order as u8) {
                break;
            }
            self.remove(buddy, order);
            unit &= !(1 << order);
            order += 1;
        }
        self.insert(unit, order);
    }

    /// Leaves the memory mapped for ever: something outside still reads it.
    pub fn leak(&mut self) {
        std::mem::forget(Arc::clone(&self.region));
    }

    fn insert(&mut self, unit: u32, order: usize) {
        let next = self.free[order];
        if next != NONE {
            self.links[next as usize].0 = unit;
        }
        self.links[unit as usize] = (NONE, next);
        self.orders[unit as usize] = order as u8;
        self.free[order] = unit;
    }

    fn remove(&mut self, unit: u32, order: usize) {
        let (previous, next) = self.links[unit as usize];
        if previous == NONE {
            self.free[order] = next;
        } else {
            self.links[previous as usize].1 = next;
        }
        if next != NONE {
            self.links[next as usize].0 = previous;
        }
        self.orders[unit as usize] = NOT_FREE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_do_not_overlap_and_everything_comes_back() {
        let units = if cfg!(miri) { 64 } else { 1000 };
        let mut pool = Pool::new(units * UNIT + 17, 0).unwrap();
        let mut chunks: Vec<(Chunk, u8)> = Vec::new();
        let mut random = 1u64;
        for round in 0..if cfg!(miri) { 60 } else { 20_000 } {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            if random >> 63 == 0 && !chunks.is_empty() {
                let (chunk, tag) = chunks.swap_remove((random >> 32) as usize % chunks.len());
                assert!(chunk.bytes().iter().all(|byte| *byte == tag), "round {round}");
                pool.give_back(chunk);
            } else if let Some(mut chunk) = pool.take((random >> 40) as usize % (8 * UNIT)) {
                chunk.bytes_mut().fill(round as u8);
                chunks.push((chunk, round as u8));
            }
            assert_eq!(pool.used(), chunks.iter().map(|(chunk, _)| chunk.len()).sum::<usize>());
        }
        for (chunk, _) in chunks {
            pool.give_back(chunk);
        }
        assert_eq!(pool.used(), 0);
        // All joined again: the largest chunk is to be had, and all the rest after it.
        let largest = 1 << units.ilog2();
        let mut left: Vec<Chunk> = vec![pool.take(largest * UNIT).unwrap()];
        while let Some(chunk) = pool.take(1) {
            left.push(chunk);
        }
        assert_eq!(left.len(), 1 + units - largest);
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut pool = Pool::new(4 * UNIT, 0).unwrap();
        assert!(pool.take(5 * UNIT).is_none());
        let whole = pool.take(4 * UNIT).unwrap();
        assert!(pool.take(1).is_none());
        pool.give_back(whole);
        assert!(pool.take(1).is_some());
    }
}

//! The memory of batches: chunks of powers of two, from 1 KiB on, out of one bounded region.
//!
//! A buddy system (K. C. Knowlton, "A fast storage allocator", CACM 1965): chunks are powers of two, split and joined,
//! so that a few busy clients and ten thousand quiet ones can follow each other in the same memory. Of the smallest free
//! chunks that are large enough the lowest is taken, so that little more of the region is touched than is needed at once.

use crate::region::Region;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

/// The smallest chunk.
pub const UNIT: usize = 1024;

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
    /// Free chunks by order: one of order n has `UNIT << n` bytes, and its number is its first unit's `>> n`.
    free: Vec<Numbers>,
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
        let mut free: Vec<Numbers> = (0..orders).map(|order| Numbers::below(units >> order)).collect();
        let mut end = units;
        while end > 0 {
            let order = (end.trailing_zeros() as usize).min(orders - 1);
            end -= 1 << order;
            free[order].insert(end >> order);
        }
        Ok(Pool { region, free, used: 0 })
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
        let (found, number) = (wanted..self.free.len()).find_map(|order| Some((order, self.free[order].first()?)))?;
        self.free[found].remove(number);
        let unit = number << found;
        // The upper halves go back until the chunk is as small as wanted.
        for order in wanted..found {
            self.free[order].insert((unit >> order) + 1);
        }
        let bytes = UNIT << wanted;
        self.used += bytes;
        // SAFETY: `unit` lies in the region with all of the chunk's bytes.
        let start = unsafe { self.region.start().add(unit * UNIT) };
        Some(Chunk { start, bytes, _region: Arc::clone(&self.region) })
    }

    /// Takes a chunk of this pool back.
    pub fn give_back(&mut self, chunk: Chunk) {
        self.used -= chunk.bytes;
        let offset = chunk.start.as_ptr() as usize - self.region.start().as_ptr() as usize;
        let mut order = (chunk.bytes / UNIT).ilog2() as usize;
        let mut number = (offset / UNIT) >> order;
        while order + 1 < self.free.len() && self.free[order].remove(number ^ 1) {
            number >>= 1;
            order += 1;
        }
        self.free[order].insert(number);
    }

    /// Leaves the memory mapped for ever: something outside still reads it.
    pub fn leak(&mut self) {
        std::mem::forget(Arc::clone(&self.region));
    }
}

/// A set of small numbers that knows its lowest: a tree of words, in each of which a bit says whether the word below it
/// has any.
struct Numbers {
    /// From the numbers' own words up to a single one.
    levels: Vec<Vec<u64>>,
}

impl Numbers {
    /// An empty set of numbers below `limit`.
    fn below(limit: usize) -> Numbers {
        let mut levels = Vec::new();
        let mut length = limit;
        while levels.is_empty() || length > 1 {
            length = length.div_ceil(64).max(1);
            levels.push(vec![0; length]);
        }
        Numbers { levels }
    }

    fn insert(&mut self, number: usize) {
        let mut at = number;
        for level in &mut self.levels {
            level[at / 64] |= 1 << (at % 64);
            at /= 64;
        }
    }

    /// True if it was there.
    fn remove(&mut self, number: usize) -> bool {
        let was = self.levels[0].get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0);
        let mut at = number;
        for level in self.levels.iter_mut().take_while(|_| was) {
            let word = &mut level[at / 64];
            *word &= !(1 << (at % 64));
            if *word != 0 {
                break;
            }
            at /= 64;
        }
        was
    }

    fn first(&self) -> Option<usize> {
        self.levels.iter().rev().try_fold(0, |at, level| {
            let word = level[at];
            (word != 0).then(|| at * 64 + word.trailing_zeros() as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_do_not_overlap_and_everything_comes_back() {
        let units = if cfg!(miri) { 70 } else { 5000 };
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
    fn the_lowest_chunk_is_taken() {
        let units: usize = if cfg!(miri) { 100 } else { 5000 };
        let mut pool = Pool::new((2 * units).next_power_of_two() * UNIT, 0).unwrap();
        let start = pool.region.start().as_ptr() as usize;
        let mut chunks: Vec<Option<Chunk>> = (0..units).map(|_| pool.take(1)).collect();
        let unit = |chunk: &Chunk| (chunk.start.as_ptr() as usize - start) / UNIT;
        assert!(chunks.iter().map(|chunk| unit(chunk.as_ref().unwrap())).eq(0..units));
        let freed = [units - 7, units / 2, 3];
        for place in freed {
            pool.give_back(chunks[place].take().unwrap());
        }
        assert!([3, units / 2, units - 7, units].into_iter().all(|free| unit(&pool.take(1).unwrap()) == free));
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

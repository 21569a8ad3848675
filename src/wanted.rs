//! Whose lines are wanted, for a host's thread that asks before it formats one.
//!
//! A host asks for every request, and what a request finds in the processor's caches is the host's: what the answer costs
//! is how many cache lines it lies in, and the table of routes, behind a counted reference, lies in a dozen. Here it is
//! one number for each id, its hash, in one open table. A reader writes nothing and takes no reference; a sequence lock
//! (as Linux's seqcount) tells it that the set was being written meanwhile, and it then asks the table of routes.
//!
//! Two ids with the same 64-bit hash are not told apart: in a list of a million, one foreign id in 10^13 is called
//! wanted. Its line is formatted and submitted for nothing: the worker goes by the ids.

use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{fence, AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The slots of a short list.
const LEAST: usize = 64;
/// A slot without an id.
const EMPTY: u64 = 0;

/// The set. See the module's text. What a reader looks at comes first.
#[repr(C)]
pub struct Wanted {
    /// Odd while the set is written, and from the close on.
    sequence: AtomicU64,
    /// The set's slots, whose number is a power of two, and that number less one. The number never falls and the slots
    /// are stored first: whatever two stores a reader finds half done, it goes by a number that the slots have.
    mask: AtomicUsize,
    slots: AtomicPtr<AtomicU64>,
    /// Its seed is the process's own, as ids may come from a request.
    hash: FixedState,
    /// All slots there were: a reader may still be there. Together they are less than twice the last.
    made: Mutex<Vec<Box<[AtomicU64]>>>,
    closed: AtomicBool,
}

impl Wanted {
    /// Nobody's.
    pub fn new() -> Wanted {
        let made = vec![empty(LEAST)];
        Wanted {
            sequence: AtomicU64::new(0),
            mask: AtomicUsize::new(LEAST - 1),
            slots: AtomicPtr::new(made[0].as_ptr().cast_mut()),
            hash: FixedState::with_seed(RandomState::new().hash_one(0)),
            made: Mutex::new(made),
            closed: AtomicBool::new(false),
        }
    }

    /// Whether lines of `id` are wanted; `None` if the set is being replaced right now, or is closed.
    #[inline]
    pub fn has(&self, id: &[u8]) -> Option<bool> {
        // Acquire: what was written before it became even is seen.
        let sequence = self.sequence.load(Ordering::Acquire);
        if sequence % 2 == 1 {
            return None;
        }
        // Acquire: the slots that are read next are those of this mask, or later ones.
        let mask = self.mask.load(Ordering::Acquire);
        let slots = self.slots.load(Ordering::Acquire);
        // SAFETY: no fewer than the mask says, and there as long as this is.
        let found = find(unsafe { std::slice::from_raw_parts(slots, mask + 1) }, self.hash(id));
        // The pair of the fence in `replace`: having read anything of a later writer's, this reads its sequence too.
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == sequence).then_some(found)
    }

    /// From now on it is these `ids`, of which there are `count`.
    pub fn replace<'a>(&self, count: usize, ids: impl Iterator<Item = &'a [u8]>) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed() {
            return;
        }
        // Half of the slots stay empty, so that a search is short.
        let needed = (2 * count).next_power_of_two();
        if made.last().is_none_or(|slots| slots.len() < needed) {
            made.push(empty(needed));
        }
        let Some(slots) = made.last() else { return };
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for slot in slots {
            slot.store(EMPTY, Ordering::Relaxed);
        }
        for id in ids {
            let hash = self.hash(id);
            let is_for =
                |slot: &&AtomicU64| matches!(slot.load(Ordering::Relaxed), found if found == EMPTY || found == hash);
            if let Some(slot) = places(slots, hash).find(is_for) {
                slot.store(hash, Ordering::Relaxed);
            }
        }
        self.slots.store(slots.as_ptr().cast_mut(), Ordering::Release);
        self.mask.store(slots.len() - 1, Ordering::Release);
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// Nobody's from now on, whatever the list.
    pub fn close(&self) {
        let _made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.sequence.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    #[inline]
    fn hash(&self, id: &[u8]) -> u64 {
        let mut hasher = self.hash.build_hasher();
        hasher.write(id);
        hasher.finish().max(EMPTY + 1)
    }
}

fn empty(slots: usize) -> Box<[AtomicU64]> {
    (0..slots).map(|_| AtomicU64::new(EMPTY)).collect()
}

/// The slots in which a hash may be, each once. There are a power of two of them.
#[inline]
fn places(slots: &[AtomicU64], hash: u64) -> impl Iterator<Item = &AtomicU64> {
    let mask = slots.len().wrapping_sub(1);
    (0..slots.len()).filter_map(move |step| slots.get((hash as usize).wrapping_add(step) & mask))
}

#[inline]
fn find(slots: &[AtomicU64], hash: u64) -> bool {
    places(slots, hash).map(|slot| slot.load(Ordering::Relaxed)).find(|found| *found == hash || *found == EMPTY)
        == Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|number| format!("client-{number}").into_bytes()).collect()
    }

    fn replace(wanted: &Wanted, ids: &[Vec<u8>]) {
        wanted.replace(ids.len(), ids.iter().map(Vec::as_slice));
    }

    #[test]
    fn lists_of_all_lengths_have_their_ids_and_no_others() {
        let wanted = Wanted::new();
        assert_eq!(wanted.has(b"client-0"), Some(false));
        let most = if cfg!(miri) { 40 } else { 10_000 };
        for count in (0..most.min(200)).chain([most, 3, 0]) {
            let ids = ids(count);
            replace(&wanted, &ids);
            assert!(ids.iter().all(|id| wanted.has(id) == Some(true)), "{count}");
            for other in ["", "client", "client-0 ", "Client-0", "client-10000"] {
                assert_eq!(wanted.has(other.as_bytes()), Some(false), "{other} of {count}");
            }
        }
    }

    #[test]
    fn an_id_that_comes_twice_takes_one_slot() {
        let wanted = Wanted::new();
        let ids = vec![b"same".to_vec(); 100];
        replace(&wanted, &ids);
        let made = wanted.made.lock().unwrap();
        assert_eq!(made.last().unwrap().iter().filter(|slot| slot.load(Ordering::Relaxed) != EMPTY).count(), 1);
    }

    #[test]
    fn closed_is_for_good() {
        let wanted = Wanted::new();
        replace(&wanted, &ids(1));
        wanted.close();
        assert!(wanted.has(b"client-0").is_none() && wanted.is_closed());
        replace(&wanted, &ids(1));
        wanted.close();
        assert!(wanted.has(b"client-0").is_none() && wanted.is_closed());
    }

    /// Whoever is in every list is always found, who is in none never, while lists of other sizes come and go.
    #[test]
    fn readers_see_one_list_or_are_told_to_ask_elsewhere() {
        let rounds = if cfg!(miri) { 10 } else { 2_000 };
        let wanted = Wanted::new();
        let always = b"client-0".as_slice();
        replace(&wanted, &ids(1));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut answers = 0u64;
                while !done.load(Ordering::Relaxed) || answers == 0 {
                    answers += u64::from(wanted.has(always).inspect(|found| assert!(found)).is_some());
                    assert_ne!(wanted.has(b"nobody"), Some(true));
                }
            });
            for round in 0..rounds {
                replace(&wanted, &ids(1 + round * 7 % 300));
            }
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap();
        });
    }
}

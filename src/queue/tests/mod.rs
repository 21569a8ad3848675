//! The queue against what it promises. They run under miri and the thread sanitizer too (`tests/models/run`), and are
//! smaller there.

use super::shard::{Claim, Link, Stalled, LINK_BYTES};
use super::*;
use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

mod drain;
mod limits;
mod moving;
mod one_line;
mod threads;
mod walks;

/// `full` where a step costs nanoseconds, `miri` where it costs microseconds.
const fn sized(full: usize, miri: usize) -> usize {
    if cfg!(miri) {
        miri
    } else {
        full
    }
}

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// Bytes that tell their place: whatever is cut, shifted or torn differs.
fn filler(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (seed.wrapping_mul(31) + at * 7 + at / 64) as u8).collect()
}

type Owned = (Option<Vec<u8>>, Vec<u8>);

fn own(line: Line<'_>) -> Owned {
    (line.client.map(<[u8]>::to_vec), line.text.to_vec())
}

/// A queue with its consumer, and threads that exist only as their affinities.
struct Bench {
    queue: Arc<Queue>,
    consumer: Consumer,
}

impl Bench {
    /// With the longest line that its rings can hold.
    fn new(shards: usize, cells: usize) -> Bench {
        Bench::with_max_line(shards, cells, cells * CELL_BYTES - LINK_BYTES)
    }

    fn with_max_line(shards: usize, cells: usize, max_line: usize) -> Bench {
        Bench::with_layout(Layout { shards, cells }, max_line)
    }

    fn with_layout(layout: Layout, max_line: usize) -> Bench {
        let queue = Arc::new(Queue::new(layout, max_line).unwrap());
        Bench { consumer: Consumer::new(Arc::clone(&queue)), queue }
    }

    /// A queue through which `lines` lines went already, in each shard, up to cell `position`.
    fn beginning_at(mut self, position: u64, lines: u64) -> Bench {
        self.queue.shards.iter().for_each(|shard| shard.begin_at(position, lines));
        self.consumer.begin_at(position, lines);
        self
    }

    fn thread(&self, seat: u32) -> Affinity {
        self.queue.affinity(seat)
    }

    fn push(&self, affinity: &mut Affinity, line: &[u8]) -> Result<(), PushError> {
        self.queue.push_from(affinity, None, line)
    }

    /// Pushes to a shard of our choice, as a thread that finds the ones before it full.
    fn push_to(&self, shard: usize, affinity: &mut Affinity, client: Option<&[u8]>, line: &[u8]) {
        match self.queue.shards[shard].push(client, line, affinity.link_for(&self.queue.shards, shard)) {
            Claim::Done => affinity.moved_to(shard),
            Claim::Full | Claim::Contended | Claim::Closed => panic!("no room in shard {shard}"),
        }
    }

    /// A push that stands still with its line claimed.
    fn stall(&self, shard: usize, affinity: &mut Affinity, line: &[u8]) -> Half {
        let claimed = self.queue.shards[shard].claim_only(line, affinity.link_for(&self.queue.shards, shard));
        let stalled = claimed.ok().unwrap_or_else(|| panic!("no room in shard {shard}"));
        affinity.moved_to(shard);
        Half { shard, stalled }
    }

    fn finish(&self, half: Half) {
        self.queue.shards[half.shard].finish(half.stalled);
    }

    fn drain(&mut self) -> Vec<Owned> {
        let mut lines = Vec::new();
        self.consumer.look();
        let drain = self.consumer.drain(&mut |line| {
            lines.push(own(line));
            Visit::Taken
        });
        assert_eq!(drain, Drain { lines: lines.len() as u64, stopped: false });
        lines
    }

    /// The texts of lines without a client.
    fn drain_texts(&mut self) -> Vec<String> {
        self.drain().into_iter().map(|(_, text)| String::from_utf8(text).unwrap()).collect()
    }

    fn used(&self) -> Vec<usize> {
        self.queue.shards.iter().map(Shard::used).collect()
    }

    fn pushed(&self) -> Pushed {
        self.queue.pushed(self.consumer.taken())
    }
}

struct Half {
    shard: usize,
    stalled: Stalled,
}

/// All orders of `0..count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![vec![]];
    for next in 0..count {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<usize>| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, next);
                    longer
                })
            })
            .collect();
    }
    orders
}

/// Lines that say who pushed them, as which of his lines, and are of varying length and shape.
fn numbered(thread: usize, sequence: usize, max: usize) -> Owned {
    let mut text = Vec::with_capacity(max);
    text.extend_from_slice(&(thread as u32).to_le_bytes());
    text.extend_from_slice(&(sequence as u32).to_le_bytes());
    let length = 8 + (thread * 37 + sequence * 53) % (max - 8 + 1);
    text.extend(filler(thread + sequence, length - 8));
    if sequence % 3 == 1 && length > 20 {
        (Some(text[8..16].to_vec()), [&text[..8], &text[17..]].concat())
    } else {
        (None, text)
    }
}

fn number_of(line: Line<'_>) -> (usize, usize) {
    let word = |at: usize| u32::from_le_bytes(line.text[at..at + 4].try_into().unwrap()) as usize;
    (word(0), word(4))
}

//! The account of every line: what is counted, by whom, and how a consistent picture of it is read.

use serde::Serialize;
use std::sync::atomic::{fence, AtomicU64, Ordering};

/// Where every submitted line is. `tel_get_stats` fills as much of it as the caller's size covers; fields are only ever
/// appended.
///
/// `submitted + recovered = delivered + failed + dropped_full + dropped_too_long + dropped_rate + dropped_spool +
/// sampled_out + unknown_client + malformed + spooled + in_flight`: exact when nothing moves, as after a flush or close.
/// While lines move, the left side is never the smaller.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct tel_stats {
    /// Lines given to submit and not refused as INVALID, FORKED or CLOSED.
    pub submitted: u64,
    /// Lines taken over from an earlier process's spool.
    pub recovered: u64,
    /// Lines that Kafka has acknowledged.
    pub delivered: u64,
    /// Lines that Kafka gave up, or that a close gave up at its deadline.
    pub failed: u64,
    /// Lines dropped because the queue, or a stuck client's share of `batches.bytes`, was full.
    pub dropped_full: u64,
    /// Lines longer than `queue.max_line_bytes`.
    pub dropped_too_long: u64,
    /// Lines over their client's `max_lines_per_second`.
    pub dropped_rate: u64,
    /// Lines that the spool had no room for.
    pub dropped_spool: u64,
    /// Lines left out by their client's `sample`.
    pub sampled_out: u64,
    /// Lines of ids that are not in the client list.
    pub unknown_client: u64,
    /// Lines that are empty, have no space, or whose id is empty, too long or has a forbidden byte.
    pub malformed: u64,
    /// Gauge: lines in the spool.
    pub spooled: u64,
    /// Gauge: lines in the queue, in batches and in the engine.
    pub in_flight: u64,
    /// Lines that had a CR, LF or NUL inside, which was escaped.
    pub sanitized: u64,
    /// Bytes of the lines taken from the queue so far, ids included.
    pub bytes_submitted: u64,
    /// Bytes of the delivered lines' values.
    pub bytes_delivered: u64,
    /// Age of the oldest line not yet delivered, in milliseconds; 0 if there is none.
    pub oldest_undelivered_ms: u64,
    /// When a line was last delivered, in milliseconds since 1970; 0 if never.
    pub last_delivery_unix_ms: u64,
    /// Clients in the list.
    pub clients: u64,
    /// Entries of the list that were left out for what is in them.
    pub clients_rejected: u64,
    /// The list's own revision; 0 if it has none.
    pub clients_revision: u64,
}

impl tel_stats {
    /// The left side of the identity less its right side: 0 when nothing moves.
    pub fn residual(&self) -> i128 {
        let out = [
            self.delivered,
            self.failed,
            self.dropped_full,
            self.dropped_too_long,
            self.dropped_rate,
            self.dropped_spool,
            self.sampled_out,
            self.unknown_client,
            self.malformed,
            self.spooled,
            self.in_flight,
        ];
        i128::from(self.submitted) + i128::from(self.recovered) - out.into_iter().map(i128::from).sum::<i128>()
    }
}

/// A structure of numbers that is also an array of them, so that it can be published word by word.
macro_rules! ledger {
    ($(#[$about:meta])* $name:ident { $($(#[$field_about:meta])* $field:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_about])* pub $field: u64,)*
        }

        impl $name {
            const WORDS: usize = [$(stringify!($field)),*].len();

            fn words(self) -> [u64; Self::WORDS] {
                [$(self.$field),*]
            }

            fn from_words([$($field),*]: [u64; Self::WORDS]) -> $name {
                $name { $($field),* }
            }
        }
    };
}

ledger! {
    /// The worker's own account, in lines unless the name says otherwise. Plain numbers: one thread writes them, and
    /// publishes them as a whole.
    Ledger {
        delivered,
        failed,
        /// Dropped behind the queue, for a stuck client.
        dropped_full,
        dropped_rate,
        sampled_out,
        unknown_client,
        malformed,
        /// Routed and not yet ended.
        in_flight,
        sanitized,
        bytes_taken,
        bytes_delivered,
        oldest_undelivered_ms,
        last_delivery_unix_ms,
    }
}

/// The ledger as the worker last published it, with the number of lines taken from each of the queue's shards: a
/// sequence lock (as in H.-J. Boehm, "Can seqlocks get along with programming language memory models?", 2012).
pub struct Published {
    sequence: AtomicU64,
    words: Box<[AtomicU64]>,
}

impl Published {
    /// For a queue of `shards` shards.
    pub fn new(shards: usize) -> Published {
        Published {
            sequence: AtomicU64::new(0),
            words: (0..Ledger::WORDS + shards).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Publishes. Called by the worker only.
    pub fn publish(&self, ledger: Ledger, taken: &[u64]) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(ledger.words().iter().chain(taken)) {
            word.store(*value, Ordering::Relaxed);
        }
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// Gives `read` a consistent picture: the ledger, and the lines taken from each shard. `read` runs again if the
    /// worker published meanwhile, so that what it reads beside stays near in time.
    pub fn read<R>(&self, mut read: impl FnMut(Ledger, &[u64]) -> R) -> R {
        let mut taken = vec![0; self.words.len() - Ledger::WORDS];
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            let mut words = [0; Ledger::WORDS];
            for (value, word) in words.iter_mut().chain(taken.iter_mut()).zip(self.words.iter()) {
                *value = word.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if before % 2 == 0 && self.sequence.load(Ordering::Relaxed) == before {
                let result = read(Ledger::from_words(words), &taken);
                // The worker publishes at most once a millisecond, a reading takes microseconds.
                if self.sequence.load(Ordering::Relaxed) == before {
                    return result;
                }
            }
            std::hint::spin_loop();
        }
    }
}

/// One client's account, from routing on. Written by the worker alone, read by anyone.
#[derive(Debug, Default)]
pub struct ClientCounters {
    pub routed: Counter,
    pub delivered: Counter,
    pub failed: Counter,
    pub dropped_full: Counter,
    pub dropped_rate: Counter,
    pub sampled_out: Counter,
    pub in_flight: Counter,
    pub bytes_delivered: Counter,
}

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Called by the one writer only: not a read-modify-write.
    #[inline]
    pub fn add(&self, lines: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(lines), Ordering::Release);
    }

    /// Called by the one writer only.
    #[inline]
    pub fn subtract(&self, lines: u64) {
        self.add(lines.wrapping_neg());
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// One client's account as read.
///
/// `routed = delivered + failed + dropped_rate + dropped_spool + sampled_out + spooled + in_flight`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientStats {
    /// Lines found to be this client's, and kept.
    pub routed: u64,
    /// As in [`tel_stats`], as are the rest.
    pub delivered: u64,
    #[allow(missing_docs)]
    pub failed: u64,
    #[allow(missing_docs)]
    pub dropped_rate: u64,
    #[allow(missing_docs)]
    pub dropped_spool: u64,
    #[allow(missing_docs)]
    pub sampled_out: u64,
    #[allow(missing_docs)]
    pub spooled: u64,
    #[allow(missing_docs)]
    pub in_flight: u64,
    /// Not a term: lines dropped while the client's topic was stuck and its share of memory full; never routed.
    pub dropped_full: u64,
    /// Not a term.
    pub bytes_delivered: u64,
}

impl ClientCounters {
    /// Reads where lines end before where they come from, so that a line on its way is never seen twice.
    pub fn read(&self) -> ClientStats {
        ClientStats {
            bytes_delivered: self.bytes_delivered.get(),
            delivered: self.delivered.get(),
            failed: self.failed.get(),
            dropped_full: self.dropped_full.get(),
            dropped_rate: self.dropped_rate.get(),
            sampled_out: self.sampled_out.get(),
            in_flight: self.in_flight.get(),
            routed: self.routed.get(),
            ..ClientStats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_never_sees_half_a_publication() {
        let published = Published::new(2);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..100_000u64 {
                    let ledger = Ledger::from_words([number; Ledger::WORDS]);
                    published.publish(ledger, &[number, number]);
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                published.read(|ledger, taken| {
                    let words = ledger.words();
                    assert!(words.iter().chain(taken).all(|word| *word == words[0]));
                });
            }
        });
        assert_eq!(published.read(|ledger, _| ledger.delivered), 99_999);
    }
}

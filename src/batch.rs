//! A batch: lines of one client, one behind the other in one chunk of memory, sent and acknowledged as a whole.

use crate::pool::Chunk;
use crate::route::Account;
use crate::split::escape;
use std::sync::Arc;
use std::time::Instant;

/// Bytes beside each line's own: its length. The lines fill the chunk from its front, their lengths from its end, so
/// that handing over a batch reads the lengths alone: the lines have left the cache by then.
const LENGTH: usize = 4;
/// In the length: the line must be sent again.
const AGAIN: u32 = 1 << 31;

/// Lines of one client.
pub struct Batch {
    /// Whose lines.
    pub account: Arc<Account>,
    /// Where to.
    pub topic: Arc<str>,
    /// Which of the topic's partitions, modulo their number: a batch is never spread over several.
    pub turn: u32,
    /// The worker's epoch in which it was opened.
    pub epoch: u64,
    /// When it was handed to the sink.
    pub handed_over: Option<Instant>,
    chunk: Chunk,
    used: usize,
    lines: u32,
    /// Where `find` left off: reports come in order, but for those of an outage.
    found: BatchLine,
}

impl Batch {
    /// An empty batch in `chunk`.
    pub fn new(account: Arc<Account>, topic: Arc<str>, chunk: Chunk, epoch: u64) -> Batch {
        let found = BatchLine::default();
        Batch { account, topic, turn: 0, epoch, handed_over: None, chunk, used: 0, lines: 0, found }
    }

    /// Bytes of chunk that a line of `bytes` takes.
    #[inline]
    pub fn room_for(bytes: usize) -> usize {
        bytes + LENGTH
    }

    /// Bytes of chunk not used.
    #[inline]
    pub fn room_left(&self) -> usize {
        self.chunk.len() - self.used - self.lines as usize * LENGTH
    }

    /// Appends `value`, of whose bytes `to_escape` need escaping. False if it does not fit.
    #[inline]
    pub fn append(&mut self, value: &[u8], to_escape: usize) -> bool {
        let length = value.len() + to_escape;
        if Self::room_for(length) > self.room_left() {
            return false;
        }
        let used = self.used;
        let Some(place) = self.chunk.bytes_mut().get_mut(used..used + length) else { return false };
        if to_escape == 0 {
            place.copy_from_slice(value);
        } else {
            escape(value, place);
        }
        self.used = used + length;
        self.lines += 1;
        self.chunk.write(self.length_at(self.lines - 1), (length as u32).to_le_bytes());
        true
    }

    /// Where the length of line `index` is.
    #[inline]
    fn length_at(&self, index: u32) -> usize {
        self.chunk.len() - (index as usize + 1) * LENGTH
    }

    /// Line `index`, which begins at `start`.
    #[inline]
    fn line(&self, index: u32, start: usize) -> Option<BatchLine> {
        if index >= self.lines {
            return None;
        }
        let at = self.length_at(index);
        let mut length = [0; LENGTH];
        length.copy_from_slice(self.chunk.bytes().get(at..at + LENGTH)?);
        let word = u32::from_le_bytes(length);
        Some(BatchLine { index, start, length: (word & !AGAIN) as usize, again: word & AGAIN != 0 })
    }

    /// Number of lines.
    pub fn lines(&self) -> u32 {
        self.lines
    }

    /// Bytes of all lines.
    pub fn value_bytes(&self) -> usize {
        self.used
    }

    /// Bytes of chunk that its lines take.
    pub fn used_bytes(&self) -> usize {
        self.chunk.len() - self.room_left()
    }

    /// Bytes of memory it holds.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk.len()
    }

    /// Its lines in order.
    pub fn iter(&self) -> Lines<'_> {
        Lines { batch: self, next: 0, start: 0 }
    }

    /// The Kafka message of `line`.
    #[inline]
    pub fn value(&self, line: BatchLine) -> &[u8] {
        self.chunk.bytes().get(line.start..line.start + line.length).unwrap_or_default()
    }

    /// Notes that `line` must be sent again, or no longer must.
    pub fn set_again(&mut self, line: BatchLine, again: bool) {
        let word = line.length as u32 | if again { AGAIN } else { 0 };
        self.chunk.write(self.length_at(line.index), word.to_le_bytes());
    }

    /// The line whose value starts at this address and has this length, unless it is marked to be sent again. Of empty
    /// lines that follow each other, which start at the same address and are all alike, the first that is not.
    pub fn find(&mut self, value: *const u8, length: usize) -> Option<BatchLine> {
        let start = (value as usize).wrapping_sub(self.chunk.bytes().as_ptr() as usize);
        let from = if self.found.start < start { self.found } else { BatchLine::default() };
        let lines = Lines { batch: self, next: from.index, start: from.start };
        let found = lines
            .skip_while(|line| line.start < start)
            .take_while(|line| line.start == start)
            .find(|line| line.length == length && !line.again)?;
        self.found = found;
        Some(found)
    }

    /// The memory, for the pool.
    pub fn into_chunk(self) -> Chunk {
        self.chunk
    }
}

/// One line of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchLine {
    index: u32,
    /// Where in the chunk it begins.
    start: usize,
    length: usize,
    /// It must be sent again.
    pub again: bool,
}

/// The lines of a batch in order.
pub struct Lines<'a> {
    batch: &'a Batch,
    next: u32,
    start: usize,
}

impl Iterator for Lines<'_> {
    type Item = BatchLine;

    #[inline]
    fn next(&mut self) -> Option<BatchLine> {
        let line = self.batch.line(self.next, self.start)?;
        self.next += 1;
        self.start += line.length;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    #[test]
    fn lines_come_out_as_they_went_in() {
        let mut pool = Pool::new(4096, 0).unwrap();
        let mut batch = Batch::new(Account::of("c", 0), Arc::from("c"), pool.take(1024).unwrap(), 0);
        let lines: [&[u8]; 4] = [b"first", b"", b"a\nb", b"last one"];
        for line in lines {
            assert!(batch.append(line, crate::split::to_escape(line)));
        }
        let read: Vec<&[u8]> = batch.iter().map(|line| batch.value(line)).collect();
        assert_eq!(read, [&b"first"[..], b"", b"a\\nb", b"last one"]);
        assert_eq!((batch.lines(), batch.value_bytes()), (4, 5 + 4 + 8));
        while batch.append(&[7; 100], 0) {}
        assert!(batch.lines() == 4 + 9 && batch.iter().count() == 13);
        pool.give_back(batch.into_chunk());
    }

    #[test]
    fn a_line_is_found_again_by_its_address() {
        let mut pool = Pool::new(4096, 0).unwrap();
        let mut batch = Batch::new(Account::of("c", 0), Arc::from("c"), pool.take(1024).unwrap(), 0);
        for line in [&b"one"[..], b"", b"", b"two", b""] {
            batch.append(line, 0);
        }
        let lines: Vec<BatchLine> = batch.iter().collect();
        let addresses: Vec<(*const u8, usize)> =
            lines.iter().map(|line| (batch.value(*line).as_ptr(), line.length)).collect();
        // Out of order, with one left out, and the address of the empty lines given twice.
        for place in [4, 3, 1, 2] {
            let (value, length) = addresses[place];
            let line = batch.find(value, length).unwrap();
            assert_eq!(line, lines[place]);
            batch.set_again(line, true);
        }
        assert_eq!(batch.iter().map(|line| line.again).collect::<Vec<_>>(), [false, true, true, true, true]);
        let read: Vec<&[u8]> = batch.iter().map(|line| batch.value(line)).collect();
        assert_eq!(read, [&b"one"[..], b"", b"", b"two", b""]);
        assert_eq!(batch.find(addresses[1].0, 0), None, "all of them are marked");
        assert_eq!(batch.find(addresses[0].0.wrapping_add(1), 2), None, "no line begins there");
        for line in batch.iter().collect::<Vec<_>>() {
            batch.set_again(line, false);
        }
        assert!(batch.iter().all(|line| !line.again));
        assert_eq!(batch.find(addresses[0].0, 3), Some(lines[0]));
    }
}

//! A batch: lines of one client, one behind the other in one chunk of memory, sent and acknowledged as a whole.

use crate::pool::Chunk;
use crate::route::Account;
use crate::split::escape;
use std::sync::Arc;
use std::time::Instant;

/// Bytes in front of each line: its length.
pub const HEADER: usize = 4;
/// In the length: the line must be sent again.
const AGAIN: u32 = 1 << 31;

/// What lines are called by: where they begin in the chunk.
pub type Offset = usize;

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
    value_bytes: usize,
}

impl Batch {
    /// An empty batch in `chunk`.
    pub fn new(account: Arc<Account>, topic: Arc<str>, chunk: Chunk, epoch: u64) -> Batch {
        Batch { account, topic, turn: 0, epoch, handed_over: None, chunk, used: 0, lines: 0, value_bytes: 0 }
    }

    /// Bytes of chunk that a line of `bytes` takes.
    #[inline]
    pub fn room_for(bytes: usize) -> usize {
        (HEADER + bytes).next_multiple_of(HEADER)
    }

    /// Bytes of chunk not used.
    #[inline]
    pub fn room_left(&self) -> usize {
        self.chunk.len() - self.used
    }

    /// Appends `value`, of whose bytes `to_escape` need escaping. False if it does not fit.
    #[inline]
    pub fn append(&mut self, value: &[u8], to_escape: usize) -> bool {
        let length = value.len() + to_escape;
        let end = self.used + Self::room_for(length);
        let used = self.used;
        let Some(place) = self.chunk.bytes_mut().get_mut(used..end) else { return false };
        let (header, bytes) = place.split_at_mut(HEADER);
        header.copy_from_slice(&(length as u32).to_le_bytes());
        if to_escape == 0 {
            bytes[..length].copy_from_slice(value);
        } else {
            escape(value, &mut bytes[..length]);
        }
        self.used = end;
        self.lines += 1;
        self.value_bytes += length;
        true
    }

    /// Number of lines.
    pub fn lines(&self) -> u32 {
        self.lines
    }

    /// Bytes of all lines.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Bytes of memory it holds.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk.len()
    }

    /// Its lines in order.
    pub fn iter(&self) -> Lines<'_> {
        Lines { bytes: &self.chunk.bytes()[..self.used], at: 0 }
    }

    /// Notes that the line at `offset` must be sent again.
    pub fn mark_again(&mut self, offset: Offset) {
        self.change(offset, |length| length | AGAIN);
    }

    /// The line at `offset` is being sent again.
    pub fn clear_again(&mut self, offset: Offset) {
        self.change(offset, |length| length & !AGAIN);
    }

    fn change(&mut self, offset: Offset, change: impl FnOnce(u32) -> u32) {
        if let Some(header) = self.chunk.bytes().get(offset..offset + HEADER) {
            let mut length = [0; HEADER];
            length.copy_from_slice(header);
            self.chunk.write(offset, change(u32::from_le_bytes(length)).to_le_bytes());
        }
    }

    /// The line whose value starts at this address.
    pub fn offset_of(&self, value: *const u8) -> Offset {
        (value as usize).wrapping_sub(self.chunk.bytes().as_ptr() as usize).wrapping_sub(HEADER)
    }

    /// The memory, for the pool.
    pub fn into_chunk(self) -> Chunk {
        self.chunk
    }
}

/// One line of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLine<'a> {
    /// What the batch calls it by.
    pub offset: Offset,
    /// The Kafka message.
    pub value: &'a [u8],
    /// It must be sent again.
    pub again: bool,
}

/// The lines of a batch in order.
pub struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = BatchLine<'a>;

    #[inline]
    fn next(&mut self) -> Option<BatchLine<'a>> {
        let header = self.bytes.get(self.at..self.at + HEADER)?;
        let mut length = [0; HEADER];
        length.copy_from_slice(header);
        let word = u32::from_le_bytes(length);
        let length = (word & !AGAIN) as usize;
        let offset = self.at;
        let value = self.bytes.get(offset + HEADER..offset + HEADER + length)?;
        self.at = offset + Batch::room_for(length);
        Some(BatchLine { offset, value, again: word & AGAIN != 0 })
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
        let read: Vec<&[u8]> = batch.iter().map(|line| line.value).collect();
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
        batch.append(b"one", 0);
        batch.append(b"two", 0);
        let second = batch.iter().nth(1).unwrap();
        let offset = batch.offset_of(second.value.as_ptr());
        assert_eq!(offset, second.offset);
        batch.mark_again(offset);
        let again: Vec<bool> = batch.iter().map(|line| line.again).collect();
        assert_eq!(again, [false, true]);
        assert_eq!(batch.iter().nth(1).unwrap().value, b"two");
        batch.clear_again(offset);
        assert!(batch.iter().all(|line| !line.again));
    }
}

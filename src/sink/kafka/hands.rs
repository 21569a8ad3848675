//! The batches in the engine's hands: which they are, and what was reported of each.

use crate::batch::Batch;
use rdkafka::types::RDKafkaErrorCode;

/// Batches in the engine's hands, by their number there.
#[derive(Default)]
pub struct InHands {
    slots: Vec<Option<Handed>>,
    free: Vec<u32>,
    /// Lines not yet reported.
    pub lines: usize,
    /// Bytes of the batches they are in.
    pub bytes: usize,
    /// Lines that must be sent again, of batches with others not yet reported.
    pub owed: usize,
}

/// A batch in the engine's hands, and what was reported of it.
pub struct Handed {
    pub batch: Batch,
    /// Order of hand-over, kept when it is sent again.
    pub sequence: u64,
    /// Lines handed over this time and not yet reported.
    pub open: u32,
    /// Lines acknowledged, and their bytes.
    pub delivered: u32,
    pub delivered_bytes: u64,
    /// Lines given up.
    pub failed: u32,
    /// Why the last of them failed.
    pub error: Option<RDKafkaErrorCode>,
    /// Lines that must be sent again.
    pub again: u32,
}

impl Handed {
    /// Every line that was not acknowledged has failed.
    pub fn given_up(mut self) -> Handed {
        self.failed = self.batch.lines() - self.delivered;
        self
    }
}

impl InHands {
    /// Whether so many more lines stay within the engine's bounds. One batch is always let in, whatever its size.
    pub fn have_room(&self, lines: usize, bytes: usize, most_lines: usize, most_bytes: usize) -> bool {
        self.lines == 0 || (self.lines + lines <= most_lines && self.bytes.saturating_add(bytes) <= most_bytes)
    }

    /// The number that the next batch is to have: it travels with each of its lines.
    pub fn next_number(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        })
    }

    /// Takes a batch that was handed over under this number.
    pub fn put(&mut self, number: u32, handed: Handed) {
        self.lines += handed.open as usize;
        self.bytes += handed.batch.value_bytes();
        if let Some(slot) = self.slots.get_mut(number as usize) {
            *slot = Some(handed);
        }
    }

    /// The batch of which so many more lines are reported.
    pub fn report(&mut self, number: u32, lines: u32) -> Option<&mut Handed> {
        let handed = self.slots.get_mut(number as usize)?.as_mut()?;
        handed.open = handed.open.checked_sub(lines)?;
        self.lines -= lines as usize;
        Some(handed)
    }

    /// Whether lines of the batch are not yet reported.
    pub fn is_open(&self, number: u32) -> bool {
        self.slots.get(number as usize).and_then(Option::as_ref).is_some_and(|handed| handed.open > 0)
    }

    /// Lets go of a batch whose lines are all reported.
    pub fn take(&mut self, number: u32) -> Option<Handed> {
        let handed = self.slots.get_mut(number as usize)?.take()?;
        self.free.push(number);
        self.owed -= handed.again as usize;
        self.bytes -= handed.batch.value_bytes();
        Some(handed)
    }

    /// Lets go of all of them, reported or not.
    pub fn drain(&mut self) -> Vec<Handed> {
        std::mem::take(self).slots.into_iter().flatten().collect()
    }

    /// Those there are.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &Handed> {
        self.slots.iter().flatten()
    }
}

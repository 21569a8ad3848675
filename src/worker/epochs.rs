//! Which batches were opened before which: ages for the statistics, and the end of a flush.

use std::collections::VecDeque;
use std::time::Instant;

/// Batches opened between two releases.
struct Epoch {
    opened: Instant,
    batches: usize,
}

/// Consecutive epochs, from the oldest with a batch that has not ended.
#[derive(Default)]
pub struct Epochs {
    first: u64,
    epochs: VecDeque<Epoch>,
    /// The last epoch takes no more batches.
    sealed: bool,
}

impl Epochs {
    /// A batch is opened, for a line submitted no earlier than `since`. Its epoch.
    pub fn batch_opened(&mut self, since: Instant) -> u64 {
        if self.epochs.is_empty() || self.sealed {
            self.epochs.push_back(Epoch { opened: since, batches: 0 });
            self.sealed = false;
        }
        if let Some(epoch) = self.epochs.back_mut() {
            epoch.batches += 1;
        }
        self.last()
    }

    /// Batches opened from now on belong to a new epoch.
    pub fn advance(&mut self) {
        self.sealed = true;
        self.drop_ended();
    }

    /// The newest epoch.
    pub fn last(&self) -> u64 {
        (self.first + self.epochs.len() as u64).saturating_sub(1)
    }

    /// A batch of `epoch` has ended.
    pub fn batch_ended(&mut self, epoch: u64) {
        let index = epoch.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(epoch) = index.and_then(|index| self.epochs.get_mut(index)) {
            epoch.batches = epoch.batches.saturating_sub(1);
        }
        self.drop_ended();
    }

    fn drop_ended(&mut self) {
        while self.epochs.front().is_some_and(|epoch| epoch.batches == 0) && (self.epochs.len() > 1 || self.sealed) {
            self.epochs.pop_front();
            self.first += 1;
        }
    }

    /// Whether every batch of `epoch` and of those before it has ended.
    pub fn ended_through(&self, epoch: u64) -> bool {
        self.epochs.is_empty() || self.first > epoch
    }

    /// When the oldest epoch with a batch that has not ended began.
    pub fn oldest(&self) -> Option<Instant> {
        self.epochs.iter().find(|epoch| epoch.batches > 0).map(|epoch| epoch.opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flush_ends_with_its_last_batch_whatever_comes_after() {
        let start = Instant::now();
        let mut epochs = Epochs::default();
        assert!(epochs.oldest().is_none() && epochs.ended_through(epochs.last()));
        let one = epochs.batch_opened(start);
        let two = epochs.batch_opened(start);
        epochs.advance();
        let flushed = epochs.last();
        let later = start + Duration::from_secs(1);
        let three = epochs.batch_opened(later);
        assert!(one == two && three > two);
        epochs.batch_ended(two);
        assert!(!epochs.ended_through(flushed));
        assert_eq!(epochs.oldest(), Some(start));
        epochs.batch_ended(one);
        assert!(epochs.ended_through(flushed) && !epochs.ended_through(three));
        assert_eq!(epochs.oldest(), Some(later));
        epochs.advance();
        epochs.batch_ended(three);
        assert!(epochs.oldest().is_none() && epochs.ended_through(three));
    }

    #[test]
    fn epochs_that_end_out_of_order_wait_for_the_oldest() {
        let start = Instant::now();
        let mut epochs = Epochs::default();
        let numbers: Vec<u64> = (0..3)
            .map(|_| {
                let number = epochs.batch_opened(start);
                epochs.advance();
                number
            })
            .collect();
        epochs.batch_ended(numbers[2]);
        epochs.batch_ended(numbers[1]);
        assert!(!epochs.ended_through(numbers[0]) && !epochs.ended_through(numbers[2]));
        epochs.batch_ended(numbers[0]);
        assert!(epochs.ended_through(numbers[2]));
    }
}

//! How much of the list may go without an operator's word.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many clients were taken off the list within the last hour.
#[derive(Default)]
pub(super) struct Removals(VecDeque<(Instant, usize)>);

impl Removals {
    /// Whether so many of so many may go without an operator's word.
    pub fn allow(&mut self, before: usize, removed: usize, at: Instant) -> bool {
        /// So many at least.
        const FEW: usize = 10;
        /// Beyond that, less than one in so many.
        const PART: usize = 5;
        const WITHIN: Duration = Duration::from_secs(3600);
        while self.0.front().is_some_and(|(then, _)| at.duration_since(*then) > WITHIN) {
            self.0.pop_front();
        }
        let gone: usize = self.0.iter().map(|(_, count)| count).sum();
        self.0.push_back((at, removed));
        gone + removed <= FEW || (gone + removed) * PART < before + gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_may_leave_and_a_fifth_may_not() {
        let at = Instant::now();
        let hour = Duration::from_secs(3601);
        let mut few = Removals::default();
        assert!(few.allow(10, 6, at) && few.allow(4, 4, at), "ten, of however few");
        assert!(!few.allow(20, 1, at));
        assert!(few.allow(20, 1, at + hour), "an hour later");

        let mut many = Removals::default();
        assert!(many.allow(1000, 100, at) && many.allow(900, 99, at));
        assert!(!many.allow(801, 1, at), "a fifth of the thousand that there were");
        assert!(!Removals::default().allow(1000, 200, at));
    }
}

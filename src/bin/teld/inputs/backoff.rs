//! How long to wait before the next attempt.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The first wait.
const LEAST: Duration = Duration::from_millis(100);
/// The longest: an operator who has mended something does not want to wait for a minute.
const MOST: Duration = Duration::from_secs(5);
/// What ran for so long was all right.
const WELL: Duration = Duration::from_secs(1);

/// Waits that double while attempts fail soon, each shortened at random by up to a quarter, so that what failed together
/// does not come back together.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    random: RandomState,
}

impl Backoff {
    pub fn new() -> Backoff {
        Backoff { next: LEAST, random: RandomState::new() }
    }

    /// How long to wait after an attempt that has lasted for `ran`.
    pub fn after(&mut self, ran: Duration) -> Duration {
        if ran >= WELL {
            self.next = LEAST;
        }
        let wait = self.next;
        self.next = (2 * self.next).min(MOST);
        let part = self.random.hash_one(wait.as_nanos() + ran.as_nanos()) as u32;
        wait - wait.mul_f64(f64::from(part) / f64::from(u32::MAX) / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_when_all_was_well() {
        let mut backoff = Backoff::new();
        let mut whole = LEAST;
        for _ in 0..10 {
            let wait = backoff.after(Duration::ZERO);
            assert!(wait <= whole && wait >= whole * 3 / 4, "{wait:?} of {whole:?}");
            whole = (2 * whole).min(MOST);
        }
        assert_eq!(whole, MOST);
        assert!(backoff.after(WELL) <= LEAST);
    }

    #[test]
    fn two_do_not_wait_alike() {
        let (mut one, mut other) = (Backoff::new(), Backoff::new());
        let waits = |backoff: &mut Backoff| (0..8).map(|_| backoff.after(Duration::ZERO)).collect::<Vec<_>>();
        assert_ne!(waits(&mut one), waits(&mut other));
    }
}

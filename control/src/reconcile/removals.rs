//! How much of the list may go without an operator's word.

use crate::app::{now, App};
use crate::error::Result;
use crate::store::{Millis, Removal};

/// What counts as lately, in milliseconds.
pub(super) const LATELY: Millis = 3600 * 1000;

/// Whether so many of so many may go without an operator's word, when so many have gone lately.
pub(super) fn may_go(before: usize, removed: usize, lately: usize) -> bool {
    /// So many at least.
    const FEW: usize = 10;
    /// Beyond that, less than one in so many.
    const PART: usize = 5;
    // The last one leaves knowingly; several that leave nothing may be a mistake, however few.
    let empties = removed > 1 && removed >= before;
    let gone = lately.saturating_add(removed);
    !empties && (gone <= FEW || gone.saturating_mul(PART) < before.saturating_add(lately))
}

/// What an operator is to decide about a removal that edges may not follow.
pub(super) fn to_decide(Removal { removed, of }: Removal) -> String {
    format!(
        "many clients have left the list within an hour, or all of them at once; the last time it was {removed} of {of}. Edges to which \
         it is now empty, or a fifth shorter at once, keep theirs, and no removal is accepted by itself: see who has left (tel-control \
         audit); if that is right, accept the list (tel-control list accept), if not, add them again and then accept it"
    )
}

/// Says again what waits for an operator since before this process led.
pub(super) async fn tell(app: &App) -> Result<()> {
    let waits = app.store().removals(now()).await?.waits;
    app.reconciler().notice("removals", waits.map(to_decide));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_may_leave_and_a_fifth_may_not() {
        for (before, removed, lately) in [(10, 6, 0), (4, 3, 6), (1, 1, 0), (1, 1, 9), (1000, 100, 0), (900, 99, 100)] {
            assert!(may_go(before, removed, lately), "{removed} of {before} after {lately}");
        }
        // The eleventh of few; a fifth of the thousand that there were; all of several.
        for (before, removed, lately) in
            [(20, 1, 10), (801, 1, 199), (1000, 200, 0), (2, 2, 0), (10, 10, 0), (0, 1, 10)]
        {
            assert!(!may_go(before, removed, lately), "{removed} of {before} after {lately}");
        }
    }
}

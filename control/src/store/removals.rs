//! What was taken off the client list, and whether an operator has said that this is right: rows of the audit log about `list`.

use super::audit::AuditRow;
use super::{Actor, Millis, Store, LONGEST_PAGE};
use crate::error::Result;
use serde_json::{json, Value};

const SUBJECT: &str = "list";
const SHRINK: &str = "list.shrink";
const ACCEPT: &str = "list.accept";

/// Clients that were taken off the list in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// How many.
    pub removed: usize,
    /// How many there were before.
    pub of: usize,
}

/// What was taken off the list since an operator said last that it is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Clients that were taken off it since the time that was asked for.
    pub since: usize,
    /// The latest removal, if one waits for an operator's word: that one or one before it.
    pub waits: Option<Removal>,
}

impl Store {
    /// What was taken off the list from `since` on, and whether any of all that waits for an operator's word.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn removals(&self, since: Millis) -> Result<Removals> {
        let mut found = Removals::default();
        let (mut is_first, mut before) = (true, None);
        loop {
            let rows = self.audit_log(Some(SUBJECT), before, LONGEST_PAGE).await?;
            for row in &rows {
                if row.what == ACCEPT {
                    return Ok(found);
                }
                let Some((removal, waits)) = read(row) else { continue };
                if is_first && waits {
                    found.waits = Some(removal);
                }
                is_first = false;
                if row.at < since {
                    return Ok(found);
                }
                found.since = found.since.saturating_add(removal.removed);
            }
            match rows.last() {
                Some(last) if rows.len() == LONGEST_PAGE => before = Some(last.id),
                _ => return Ok(found),
            }
        }
    }

    /// Notes that clients are taken off the list. `waits`: an operator's word is waited for, for this or for what was noted before it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_removal(&self, who: &Actor, removal: Removal, waits: bool, now: Millis) -> Result<()> {
        let details = json!({ "removed": removal.removed, "of": removal.of, "waits": waits });
        self.audit(who, SHRINK, SUBJECT, details, now).await
    }

    /// Notes that the list, as it is, has an operator's word.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_list_accepted(&self, who: &Actor, clients: usize, now: Millis) -> Result<()> {
        self.audit(who, ACCEPT, SUBJECT, json!({ "clients": clients }), now).await
    }
}

fn read(row: &AuditRow) -> Option<(Removal, bool)> {
    let number = |name: &str| row.details.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let removal = Removal { removed: number("removed")?, of: number("of")? };
    (row.what == SHRINK).then_some((removal, row.details.get("waits") == Some(&Value::Bool(true))))
}

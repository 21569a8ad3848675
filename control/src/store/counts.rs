//! How many clients are how far, for whoever watches the whole.

use super::client::position;
use super::{Position, Store};
use crate::error::Result;
use sqlx::any::AnyRow;
use sqlx::Row;
use std::collections::BTreeMap;

/// Clients by state, and what fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCounts {
    /// Wanted, with something still to be done.
    pub pending: u64,
    /// Wanted, all done.
    pub active: u64,
    /// Wanted, with a failed step.
    pub failing: u64,
    /// On the way out.
    pub leaving: u64,
    /// Failed steps by name, of all clients.
    pub failing_steps: BTreeMap<String, u64>,
    /// How far the list was written last; whoever has read to there has all of it. What it had in a topic that was there before is not
    /// in it. None if it has no client.
    pub listed: Option<Position>,
}

impl Store {
    /// How many clients are how far.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn count_states(&self) -> Result<StateCounts> {
        // The conditions on "done" are the index's.
        let sql = "SELECT COUNT(*) AS clients, COUNT(leaving_since) AS leaving, \
                   (SELECT COUNT(DISTINCT client_id) FROM steps JOIN clients ON clients.id = client_id \
                    WHERE state <> 'done' AND leaving_since IS NULL) AS unfinished, \
                   (SELECT COUNT(DISTINCT client_id) FROM steps JOIN clients ON clients.id = client_id \
                    WHERE state <> 'done' AND state = 'failed' AND leaving_since IS NULL) AS failing FROM clients";
        let row = sqlx::query(sql).fetch_one(self.pool()).await?;
        let (clients, leaving) = (number(&row, "clients")?, number(&row, "leaving")?);
        let (unfinished, failing) = (number(&row, "unfinished")?, number(&row, "failing")?);

        let sql = "SELECT name, COUNT(*) AS failed FROM steps WHERE state <> 'done' AND state = 'failed' GROUP BY name";
        let rows = sqlx::query(sql).fetch_all(self.pool()).await?;
        let failing_steps = rows.iter().map(|row| Ok((row.try_get("name")?, number(row, "failed")?)));

        let sql = "SELECT listed_topic_id, listed_offset FROM clients WHERE listed_offset IS NOT NULL \
                   AND listed_topic_id = (SELECT list_topic_id FROM state) ORDER BY listed_offset DESC LIMIT 1";
        let last = sqlx::query(sql).fetch_optional(self.pool()).await?;
        Ok(StateCounts {
            pending: unfinished.saturating_sub(failing),
            active: clients.saturating_sub(leaving).saturating_sub(unfinished),
            failing,
            leaving,
            failing_steps: failing_steps.collect::<Result<_>>()?,
            listed: last.map(|row| position(&row, "listed_topic_id", "listed_offset")).transpose()?.flatten(),
        })
    }
}

fn number(row: &AnyRow, name: &str) -> Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0))
}

//! Whether somebody would have seen it if a credential were in use: that it was not seen says something only then.

use super::{Millis, Store};
use crate::error::Result;
use crate::names::ClientId;
use sqlx::Row;

/// Looks that are further apart leave out a time of which nothing is known.
const GAP: Millis = 10 * 60_000;

/// Looks at the consumer groups of all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Since when no two of them were more than ten minutes apart.
    pub since: Millis,
    /// When the last one was.
    pub last: Millis,
}

impl Store {
    /// The looks that were noted; none if there were none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn looks(&self) -> Result<Option<Looks>> {
        let row = sqlx::query("SELECT looked_since, looked_at FROM state").fetch_one(self.pool()).await?;
        let (since, last): (Option<Millis>, Option<Millis>) = (row.try_get("looked_since")?, row.try_get("looked_at")?);
        Ok(since.zip(last).map(|(since, last)| Looks { since, last }))
    }

    /// Notes that the groups of all clients have been looked at, each without an error, and that what was in use is noted.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_look(&self, at: Millis) -> Result<()> {
        let mut seen = self.observe().await?;
        // Clocks of several processes differ a little: a time before the last one is no gap by itself.
        let sql = "UPDATE state SET looked_at = $1, looked_since = CASE \
                   WHEN looked_at >= $2 AND looked_at <= $3 THEN COALESCE(looked_since, $1) ELSE $1 END";
        sqlx::query(sql).bind(at).bind(at.saturating_sub(GAP)).bind(at.saturating_add(GAP)).execute(&mut *seen).await?;
        seen.commit().await
    }

    /// Notes that it cannot be told which of the client's credentials were in use until `at`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_use_unknown(&self, id: &ClientId, at: Millis) -> Result<()> {
        let mut seen = self.observe().await?;
        sqlx::query("UPDATE clients SET use_unknown_until = $1 WHERE id = $2")
            .bind(at)
            .bind(id.as_str())
            .execute(&mut *seen)
            .await?;
        seen.commit().await
    }
}

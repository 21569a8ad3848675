//! Whether this is still the database that Kafka knows, or an older state of it, or another.
//!
//! The reconciler keeps a copy of the marker in Kafka, and renews both now and then: first here, then there. A database restored
//! from before the renewal has neither the copy's mark nor the one before it.

use super::change::Change;
use super::{secrets, Actor, Millis, Store};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Row;

/// How far the generations are set forward when a database was restored or lost: more than were issued since.
const GENERATIONS_SKIPPED: i64 = 1000;

/// What tells one state of one database from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Of the database, random.
    pub database: String,
    /// Of the latest renewal, random.
    pub mark: String,
    /// The number of the latest change at that time.
    pub revision: i64,
}

/// How a marker relates to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// It is this database's own.
    Same,
    /// It is from a later or another life of this database: it was restored.
    Restored,
    /// It is of another database: this one is new, or the wrong one.
    Other,
}

impl Store {
    /// The present marker.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn marker(&self) -> Result<Marker> {
        let row = sqlx::query("SELECT id, mark, revision FROM state").fetch_one(self.pool()).await?;
        Ok(Marker { database: row.try_get("id")?, mark: row.try_get("mark")?, revision: row.try_get("revision")? })
    }

    /// How the marker that Kafka has relates to the database.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn judge(&self, seen: &Marker) -> Result<Continuity> {
        let row = sqlx::query("SELECT id, mark, previous_mark, revision FROM state").fetch_one(self.pool()).await?;
        let (id, mark, previous): (String, String, String) =
            (row.try_get("id")?, row.try_get("mark")?, row.try_get("previous_mark")?);
        let is_known = seen.mark == mark || seen.mark == previous;
        // Marks are random: one that was overruled here, by whichever database it was written, is known, too.
        Ok(if is_known && seen.revision <= row.try_get("revision")? {
            Continuity::Same
        } else if seen.database != id {
            Continuity::Other
        } else {
            Continuity::Restored
        })
    }

    /// Renews the marker, for the reconciler to write it to Kafka; `seen` is the one that is there now.
    ///
    /// # Errors
    /// `Conflict` if `seen` is not this database's ([`Store::judge`]); `Unavailable`.
    pub async fn renew_marker(&self, seen: Option<&Marker>, now: Millis) -> Result<Marker> {
        let mut change = self.change(&Actor::reconciler(), now).await?;
        let row = sqlx::query("SELECT id, mark, previous_mark FROM state").fetch_one(&mut *change).await?;
        let (database, mark, previous): (String, String, String) =
            (row.try_get("id")?, row.try_get("mark")?, row.try_get("previous_mark")?);
        let revision = change.revision();
        let renewed = match seen {
            Some(seen) if seen.mark != mark && seen.mark != previous => {
                return Err(Error::conflict("database: Kafka knows another one, or a later state of it"))
            }
            Some(seen) if seen.mark == mark => secrets::random_hex()?,
            // Kafka has none, or missed the last renewal: another one would put its copy out of sight.
            _ => mark.clone(),
        };
        if renewed != mark {
            let sql = "UPDATE state SET previous_mark = mark, mark = $1";
            sqlx::query(sql).bind(&renewed).execute(&mut *change).await?;
        }
        change.commit_unaudited().await?;
        Ok(Marker { database, mark: renewed, revision })
    }
}

/// Takes this database for the right one although Kafka's marker `seen` says otherwise. Generations and numbers of changes are set
/// forward, so that none is given twice. `seen` is known from now on: it stays in Kafka until the new one is written there.
pub(super) async fn accept(change: &mut Change, seen: Option<&Marker>) -> Result<()> {
    let row = sqlx::query(
        "SELECT COALESCE(MAX(last), 0) AS last, (SELECT generation_floor FROM state) AS least FROM generations",
    )
    .fetch_one(&mut **change)
    .await?;
    let floor = row.try_get::<i64, _>("last")?.max(row.try_get("least")?) + GENERATIONS_SKIPPED;
    let revision = change.revision().max(seen.map_or(0, |seen| seen.revision)) + 1;
    let (database, mark) = (secrets::random_hex()?, secrets::random_hex()?);
    let overruled = seen.map_or(&mark, |seen| &seen.mark);
    // What was seen in the life that is lost is not known here.
    let sql = "UPDATE state SET id = $1, mark = $2, previous_mark = $3, revision = $4, generation_floor = $5, \
               looked_at = NULL, looked_since = NULL";
    sqlx::query(sql)
        .bind(&database)
        .bind(&mark)
        .bind(overruled)
        .bind(revision)
        .bind(floor)
        .execute(&mut **change)
        .await?;
    change.audit("database.accept", "database", json!({ "seen": seen, "first_generation": floor + 1 }));
    Ok(())
}

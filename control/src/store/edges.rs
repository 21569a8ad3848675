//! The edges: their certificates, and what they said last.

use super::audit::of_edge;
use super::change::Change;
use super::client::position;
use super::steps::shortened;
use super::{corrupt, usage, Actor, Millis, Position, Store};
use crate::error::{Error, Result};
use crate::names::{ClientId, EdgeName};
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::Row;
use std::collections::BTreeMap;

// By name: PostgreSQL refuses a statement prepared with "*" once another version of tel-control has added a column.
macro_rules! columns {
    () => {
        "name, generation, fingerprint, not_after, created_at, retired_at, heard_at, applied_topic_id, applied_offset, rejected, \
         refused"
    };
}

/// Ids that an edge rejected, of which no more are kept.
const MOST_REJECTED: usize = 1000;

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its name.
    pub name: EdgeName,
    /// How many certificates were made for it.
    pub generation: u32,
    /// SHA-256 of the latest one, in hexadecimal.
    pub fingerprint: Option<String>,
    /// When that expires.
    pub not_after: Option<Millis>,
    /// When it was added.
    pub created_at: Millis,
    /// Since when it is not counted any more.
    pub retired_at: Option<Millis>,
    /// When it was last heard of.
    pub heard_at: Option<Millis>,
    /// How far it has read the client list and written it for its host.
    pub applied: Option<Position>,
    /// Ids in that list that it could not take.
    pub rejected: Vec<String>,
    /// Why it keeps its list from before; empty if it does not.
    pub refused: String,
}

impl Edge {
    /// Whether it counts, and its latest certificate ends before `by`, or has ended.
    pub fn ends_before(&self, by: Millis) -> bool {
        self.retired_at.is_none() && self.not_after.is_some_and(|end| end < by)
    }
}

/// What an edge says every ten seconds.
#[derive(Clone, Debug)]
pub struct Ack {
    /// Which edge.
    pub edge: EdgeName,
    /// Where this was read: the same or an older place is passed over.
    pub read_at: Position,
    /// How far it has read the client list and written it for its host; none if it has none.
    pub applied: Option<Position>,
    /// Ids in that list that it could not take.
    pub rejected: Vec<String>,
    /// Why it keeps its list from before; empty if it does not.
    pub refused: String,
    /// When, as far as known here.
    pub at: Millis,
    /// When its counters started, by its own clock; 0 if it does not say. Another one than before: they began at 0.
    pub started_at: Millis,
    /// Its counters for each client.
    pub lines: BTreeMap<String, Lines>,
}

/// Counters of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Acknowledged by Kafka.
    pub delivered: u64,
    /// Lost, for whatever reason.
    pub dropped: u64,
}

/// The edges heard of lately, to ask about many clients at once.
#[derive(Clone, Debug, Default)]
pub struct EdgesHeard {
    edges: Vec<Edge>,
}

impl EdgesHeard {
    /// How many of them have the list at `position`, and took this client from it; and how many there are.
    pub fn current(&self, position: &Position, id: &ClientId) -> (usize, usize) {
        let current = self.edges.iter().filter(|edge| {
            edge.applied.as_ref().is_some_and(|applied| applied.includes(position))
                && !edge.rejected.iter().any(|rejected| rejected == id.as_str())
        });
        (current.count(), self.edges.len())
    }

    /// How many of them have the whole list, of which `listed` is the last that there is: all of them if there is nothing.
    pub fn whole(&self, listed: Option<&Position>) -> usize {
        let has = |edge: &&Edge| {
            listed.is_none_or(|listed| edge.applied.as_ref().is_some_and(|applied| applied.includes(listed)))
        };
        self.edges.iter().filter(has).count()
    }

    /// Them.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }
}

impl Store {
    /// Adds an edge, or finds it there, or counts a retired one again. True if something changed.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn add_edge(&self, who: &Actor, name: &EdgeName, now: Millis) -> Result<bool> {
        let mut change = self.change(who, now).await?;
        let what = match find(&mut change, name).await? {
            None => {
                let sql = "INSERT INTO edges (name, generation, created_at, rejected, started_at) VALUES ($1, 0, $2, '[]', 0)";
                sqlx::query(sql).bind(name.as_str()).bind(now).execute(&mut *change).await?;
                "edge.add"
            }
            Some(edge) if edge.retired_at.is_some() => {
                let sql = "UPDATE edges SET retired_at = NULL WHERE name = $1";
                sqlx::query(sql).bind(name.as_str()).execute(&mut *change).await?;
                "edge.back"
            }
            Some(_) => return Ok(false),
        };
        change.audit(what, &of_edge(name), json!({}));
        change.commit().await?;
        Ok(true)
    }

    /// Notes the certificate that was made for an edge; its number, from 1.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if the edge is retired; `Unavailable`.
    pub async fn certify_edge(
        &self,
        who: &Actor,
        name: &EdgeName,
        fingerprint: &str,
        not_after: Millis,
        now: Millis,
    ) -> Result<u32> {
        let mut change = self.change(who, now).await?;
        let edge = found(&mut change, name).await?;
        if edge.retired_at.is_some() {
            return Err(Error::conflict(format!("edge {name} is retired")));
        }
        let generation = edge.generation.saturating_add(1);
        sqlx::query("UPDATE edges SET generation = $1, fingerprint = $2, not_after = $3 WHERE name = $4")
            .bind(i64::from(generation))
            .bind(fingerprint)
            .bind(not_after)
            .bind(name.as_str())
            .execute(&mut *change)
            .await?;
        let details = json!({ "generation": generation, "fingerprint": fingerprint, "not_after": not_after });
        change.audit("edge.certify", &of_edge(name), details);
        change.commit().await?;
        Ok(generation)
    }

    /// Counts an edge no more, whatever it says. False if it was retired before.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable`.
    pub async fn retire_edge(&self, who: &Actor, name: &EdgeName, now: Millis) -> Result<bool> {
        let mut change = self.change(who, now).await?;
        if found(&mut change, name).await?.retired_at.is_some() {
            return Ok(false);
        }
        sqlx::query("UPDATE edges SET retired_at = $1 WHERE name = $2")
            .bind(now)
            .bind(name.as_str())
            .execute(&mut *change)
            .await?;
        change.audit("edge.retire", &of_edge(name), json!({}));
        change.commit().await?;
        Ok(true)
    }

    /// All edges by name, the retired ones too.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn edges(&self) -> Result<Vec<Edge>> {
        sqlx::query(concat!("SELECT ", columns!(), " FROM edges ORDER BY name"))
            .fetch_all(self.pool())
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// The edges that count: not retired, and heard of within the last `within` milliseconds.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn edges_heard(&self, now: Millis, within: Millis) -> Result<EdgesHeard> {
        let sql =
            concat!("SELECT ", columns!(), " FROM edges WHERE retired_at IS NULL AND heard_at >= $1 ORDER BY name");
        let rows = sqlx::query(sql).bind(now - within).fetch_all(self.pool()).await?;
        Ok(EdgesHeard { edges: rows.iter().map(read).collect::<Result<_>>()? })
    }

    /// Notes what an edge said, and adds to the usage what its counters have grown. An edge that is not known is added. False if
    /// this, or something later, was noted before.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn record_ack(&self, ack: &Ack) -> Result<bool> {
        let known = sqlx::query("SELECT name FROM edges WHERE name = $1")
            .bind(ack.edge.as_str())
            .fetch_optional(self.pool())
            .await?;
        if known.is_none() {
            self.add_edge(&Actor::edge(&ack.edge), &ack.edge, ack.at).await?;
        }

        let mut seen = self.observe().await?;
        // First of all, for it locks the row: the same said twice at once counts once.
        let sql = "UPDATE edges SET ack_topic_id = $1, ack_offset = $2, heard_at = $3 \
                   WHERE name = $4 AND (ack_topic_id IS NULL OR ack_topic_id <> $1 OR ack_offset < $2)";
        let done = sqlx::query(sql)
            .bind(&ack.read_at.topic_id)
            .bind(ack.read_at.offset)
            .bind(ack.at)
            .bind(ack.edge.as_str())
            .execute(&mut *seen)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let row = sqlx::query("SELECT started_at FROM edges WHERE name = $1")
            .bind(ack.edge.as_str())
            .fetch_one(&mut *seen)
            .await?;
        let restarted = row.try_get::<Millis, _>("started_at")? != ack.started_at;
        let rejected: Vec<_> = ack.rejected.iter().take(MOST_REJECTED).collect();
        sqlx::query(
            "UPDATE edges SET applied_topic_id = $1, applied_offset = $2, rejected = $3, refused = $4, started_at = $5 \
             WHERE name = $6",
        )
        .bind(ack.applied.as_ref().map(|applied| applied.topic_id.clone()))
        .bind(ack.applied.as_ref().map(|applied| applied.offset))
        .bind(json!(rejected).to_string())
        .bind(shortened(&ack.refused))
        .bind(ack.started_at)
        .bind(ack.edge.as_str())
        .execute(&mut *seen)
        .await?;
        usage::add(&mut seen, ack, restarted).await?;
        seen.commit().await?;
        Ok(true)
    }
}

async fn find(change: &mut Change, name: &EdgeName) -> Result<Option<Edge>> {
    let row = sqlx::query(concat!("SELECT ", columns!(), " FROM edges WHERE name = $1"))
        .bind(name.as_str())
        .fetch_optional(&mut **change)
        .await?;
    row.as_ref().map(read).transpose()
}

async fn found(change: &mut Change, name: &EdgeName) -> Result<Edge> {
    find(change, name).await?.ok_or_else(|| Error::not_found(format!("edge {name} is not known")))
}

fn read(row: &AnyRow) -> Result<Edge> {
    let name: String = row.try_get("name")?;
    let rejected: String = row.try_get("rejected")?;
    Ok(Edge {
        name: EdgeName::new(&name).map_err(|_| corrupt("edge name", &name))?,
        generation: u32::try_from(row.try_get::<i64, _>("generation")?).unwrap_or(u32::MAX),
        fingerprint: row.try_get("fingerprint")?,
        not_after: row.try_get("not_after")?,
        created_at: row.try_get("created_at")?,
        retired_at: row.try_get("retired_at")?,
        heard_at: row.try_get("heard_at")?,
        applied: position(row, "applied_topic_id", "applied_offset")?,
        rejected: serde_json::from_str(&rejected).map_err(|_| corrupt("list of ids", &rejected))?,
        refused: row.try_get("refused")?,
    })
}

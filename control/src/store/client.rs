//! A client as the database has it: what is wanted of it, and what stands of it elsewhere.

use super::{corrupt, Millis};
use crate::error::{Error, Result};
use crate::names::ClientId;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

// By name: PostgreSQL refuses a statement prepared with "*" once another version of tel-control has added a column.
macro_rules! columns {
    () => {
        "id, topic, settings, leaving_since, delete_after, deleting_since, topic_id, listed_topic_id, listed_offset, created_at, revision"
    };
}
pub(super) use columns;

/// What a client may be given apart from the defaults; `None` is the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// The share of its lines that is sent, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub sample: Option<f64>,
    /// At most so many lines a second from one edge.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::whole::optional")]
    #[schema(minimum = 1, maximum = 9007199254740991u64)]
    pub max_lines_per_second: Option<u64>,
    /// Partitions of its topic.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::whole::optional")]
    #[schema(minimum = 1, maximum = 10000)]
    pub partitions: Option<u32>,
    /// For how long its topic keeps lines, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::whole::optional")]
    #[schema(minimum = 60000, maximum = 9007199254740991u64)]
    pub retention_ms: Option<u64>,
}

impl ClientSettings {
    /// Partitions that a topic may be given.
    pub const MOST_PARTITIONS: u32 = 10_000;
    /// Below a minute, lines would be gone before anybody could read them.
    pub const LEAST_RETENTION_MS: u64 = 60_000;
    /// Up to here every JSON reader has whole numbers exactly: 2^53 - 1.
    const MOST: u64 = 9_007_199_254_740_991;

    /// What the panel, the API and the command line take, and the API's document promises.
    ///
    /// # Errors
    /// `Invalid`, naming the setting that cannot be.
    pub fn check(&self) -> Result<()> {
        if self.sample.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(Error::invalid("sample must be from 0 to 1"));
        }
        let (most, partitions, least) = (Self::MOST, Self::MOST_PARTITIONS, Self::LEAST_RETENTION_MS);
        match self.max_lines_per_second {
            Some(0) => {
                return Err(Error::invalid("max_lines_per_second must be 1 or more; unsubscribe to receive nothing"))
            }
            Some(lines) if lines > most => {
                return Err(Error::invalid(format!("max_lines_per_second must be at most {most}")))
            }
            _ => {}
        }
        if self.partitions.is_some_and(|number| !(1..=partitions).contains(&number)) {
            return Err(Error::invalid(format!("partitions must be from 1 to {partitions}")));
        }
        if self.retention_ms.is_some_and(|ms| !(least..=most).contains(&ms)) {
            return Err(Error::invalid(format!("retention_ms must be from {least} to {most}")));
        }
        Ok(())
    }

    /// As it is stored and compared: the same settings are the same text.
    pub(super) fn text(&self) -> Result<String> {
        self.check()?;
        serde_json::to_string(self).map_err(|e| Error::invalid(format!("settings: {e}")))
    }
}

/// A place in a topic that survives neither its deletion nor a second one of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Kafka's id of the topic.
    pub topic_id: String,
    /// The offset in its only partition.
    pub offset: i64,
}

impl Position {
    /// Whether whoever has read up to here has read `other`.
    pub fn includes(&self, other: &Position) -> bool {
        self.topic_id == other.topic_id && self.offset >= other.offset
    }
}

/// What is wanted of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Desired {
    /// The service.
    Wanted,
    /// Its end: out of the list at once, the topic kept for a while.
    Leaving {
        /// When it was asked for.
        since: Millis,
        /// From when its topic may be deleted.
        delete_after: Millis,
        /// The deletion has begun and is not taken back.
        deleting: bool,
    },
}

/// A client.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Its topic.
    pub topic: String,
    /// What it is given.
    pub settings: ClientSettings,
    /// What is wanted.
    pub desired: Desired,
    /// Kafka's id of the topic that was made for it; no other one is its.
    pub topic_id: Option<String>,
    /// Where the client list has it.
    pub listed: Option<Position>,
    /// When it was added.
    pub created_at: Millis,
    /// The number of the latest change of what is wanted.
    pub revision: i64,
}

/// The client as the transaction sees it.
pub(super) async fn find(connection: &mut AnyConnection, id: &ClientId) -> Result<Option<Client>> {
    let row = sqlx::query(concat!("SELECT ", columns!(), " FROM clients WHERE id = $1"))
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The client as the transaction sees it, or `NotFound`.
pub(super) async fn found(connection: &mut AnyConnection, id: &ClientId) -> Result<Client> {
    find(connection, id).await?.ok_or_else(|| Error::not_found(format!("client {id} is not known")))
}

/// The client as the transaction sees it, or `NotFound`, or `Conflict` if it is leaving.
pub(super) async fn wanted(connection: &mut AnyConnection, id: &ClientId) -> Result<Client> {
    let client = found(connection, id).await?;
    match client.desired {
        Desired::Wanted => Ok(client),
        Desired::Leaving { .. } => Err(Error::conflict(format!("client {id} is leaving; subscribe it again first"))),
    }
}

/// An id as the database has it.
pub(super) fn client_id(text: &str) -> Result<ClientId> {
    ClientId::new(text).map_err(|_| corrupt("client id", text))
}

/// A position of two columns.
pub(super) fn position(row: &AnyRow, topic_id: &str, offset: &str) -> Result<Option<Position>> {
    let topic_id: Option<String> = row.try_get(topic_id)?;
    let offset: Option<i64> = row.try_get(offset)?;
    Ok(topic_id.zip(offset).map(|(topic_id, offset)| Position { topic_id, offset }))
}

/// A row of the table.
pub(super) fn read(row: &AnyRow) -> Result<Client> {
    let id: String = row.try_get("id")?;
    let settings: String = row.try_get("settings")?;
    let since: Option<Millis> = row.try_get("leaving_since")?;
    let delete_after: Option<Millis> = row.try_get("delete_after")?;
    let deleting_since: Option<Millis> = row.try_get("deleting_since")?;
    Ok(Client {
        id: client_id(&id)?,
        topic: row.try_get("topic")?,
        settings: serde_json::from_str(&settings).map_err(|_| corrupt("settings", &settings))?,
        desired: match since.zip(delete_after) {
            None => Desired::Wanted,
            Some((since, delete_after)) => Desired::Leaving { since, delete_after, deleting: deleting_since.is_some() },
        },
        topic_id: row.try_get("topic_id")?,
        listed: position(row, "listed_topic_id", "listed_offset")?,
        created_at: row.try_get("created_at")?,
        revision: row.try_get("revision")?,
    })
}

//! What is wanted, how far it is done, and who asked for it: SQLite in one file for one process, or PostgreSQL for several.
//!
//! ```text
//!  Store::open ─ open: which database, its lock, its pool ─ schema: its tables
//!       │
//!       ├─ change: a transaction that leaves its row in `audit`
//!       │     clients, topics, steps, credentials, edges, tokens, sessions, settings, recover, removals
//!       ├─ observation: a transaction of what was seen, not decided
//!       │     edges' acknowledgements, usage, last use, looks, requests
//!       └─ lead: which process reconciles      marker: whether this is still the database that Kafka knows
//! ```
//!
//! All statements work in both databases: numbers are 64-bit, everything else is text. Times are given by the caller.

mod audit;
mod backup;
mod change;
mod client;
mod clients;
mod counts;
mod credentials;
mod edges;
mod lead;
mod looks;
mod marker;
mod open;
mod ranked;
mod recover;
mod removals;
mod requests;
mod schema;
mod secrets;
mod sessions;
mod settings;
mod steps;
mod tokens;
mod topics;
mod usage;

pub use audit::{Actor, AuditRow};
pub use backup::{backup_file, restore_file};
pub use client::{Client, ClientSettings, Desired, Position};
pub use clients::{Added, Counts, NewClient, Page};
pub use counts::StateCounts;
pub use credentials::{Certificate, Credential, CredentialState, NotedCertificate, MOST_LIVE};
pub use edges::{Ack, Edge, EdgesHeard, Lines};
pub use looks::Looks;
pub use marker::{Continuity, Marker};
pub use ranked::{Rank, RankedPage};
pub use recover::{Recovered, Recovery};
pub use removals::{Removal, Removals};
pub use requests::Claim;
pub use sessions::{NewSession, Session};
pub use steps::{backoff, ClientState, Outcome, Restart, Step, StepRow, StepState, Waiting};
pub use tokens::{NewToken, Token, Who};
pub use topics::{MadeTopic, OwnSettings, TopicNote};
pub use usage::{day_of, DayUsage, Usage};

use crate::error::{Error, Kind};
use sqlx::{AnyConnection, AnyPool};
use std::fs::File;
use std::sync::{Arc, Mutex};

/// Milliseconds since 1970, UTC.
pub type Millis = i64;

/// Rows that a list gives at most.
const LONGEST_PAGE: usize = 1000;

/// The database. Cheap to clone; every clone is the same database.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    pool: AnyPool,
    engine: Engine,
    /// Where it is, without a password.
    place: String,
    /// SQLite has one writer at a time: here they queue fairly, instead of asking again and again.
    writer: Arc<tokio::sync::Mutex<()>>,
    /// Held as long as an SQLite file is in use.
    lock: Mutex<Option<File>>,
    /// The session of PostgreSQL that holds the leader's lock.
    lead: tokio::sync::Mutex<Option<AnyConnection>>,
}

/// What keeps the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file, for one process.
    Sqlite,
    /// A server, for several.
    Postgres,
}

impl Store {
    /// What keeps the data.
    pub fn engine(&self) -> Engine {
        self.inner.engine
    }

    /// Where the data is: a path, or a URL without its password.
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    fn pool(&self) -> &AnyPool {
        &self.inner.pool
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        let kind = match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => Kind::Conflict,
            _ => Kind::Unavailable,
        };
        Error { kind, text: format!("database: {error}") }
    }
}

/// What is in the database and cannot be: someone else wrote to it.
fn corrupt(what: &str, value: impl std::fmt::Display) -> Error {
    Error::unavailable(format!("database: {what} \"{value}\" is not one of tel-control's"))
}

/// `$from, $from+1, ...`: the places of so many values in a statement.
fn places(from: usize, count: usize) -> String {
    (from..from + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

/// `($1, $2), ($3, $4), ...`: the places of so many rows of values.
fn rows_of_places(rows: usize, columns: usize) -> String {
    (0..rows).map(|row| format!("({})", places(row * columns + 1, columns))).collect::<Vec<_>>().join(", ")
}

/// A limit as the databases take it.
fn limited(limit: usize) -> i64 {
    i64::try_from(limit.min(LONGEST_PAGE)).unwrap_or(i64::MAX)
}

/// Text of others that is stored to be shown: one line, of at most so many characters.
fn check_text(what: &str, text: &str, longest: usize) -> crate::error::Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid(format!("{what} must not be empty")));
    }
    if text.chars().count() > longest {
        return Err(Error::invalid(format!("{what} is longer than {longest} characters")));
    }
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(Error::invalid(format!("{what}: {bad:?} cannot be in it")));
    }
    Ok(())
}

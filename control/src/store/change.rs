//! Transactions: a change is decided by someone and leaves its row in the audit log; an observation is what was seen.

use super::{rows_of_places, Actor, Engine, Millis, Store};
use crate::error::{Error, Result};
use serde_json::Value;
use sqlx::{Any, AnyConnection, Row, Transaction};
use std::ops::{Deref, DerefMut};
use tokio::sync::OwnedMutexGuard;

/// Rows of the audit log written by one statement.
const ROWS: usize = 200;

/// A transaction of what was seen; undone unless committed.
pub(super) struct Observation {
    tx: Transaction<'static, Any>,
    // After the transaction: it is over when the next writer starts.
    _writer: Option<OwnedMutexGuard<()>>,
}

/// A transaction of what was decided; undone unless committed.
///
/// Changes come one after the other, in PostgreSQL as well: whoever has the number of the next one has seen all before it.
pub(super) struct Change {
    observation: Observation,
    revision: i64,
    at: Millis,
    who: String,
    /// For the audit log: what, subject, details.
    rows: Vec<[String; 3]>,
}

impl Store {
    pub(super) async fn observe(&self) -> Result<Observation> {
        match self.engine() {
            Engine::Sqlite => {
                let writer = self.inner.writer.clone().lock_owned().await;
                // Not upgraded later, which fails at once when another has written meanwhile.
                let tx = self.pool().begin_with("BEGIN IMMEDIATE").await?;
                Ok(Observation { tx, _writer: Some(writer) })
            }
            Engine::Postgres => Ok(Observation { tx: self.pool().begin().await?, _writer: None }),
        }
    }

    pub(super) async fn change(&self, who: &Actor, at: Millis) -> Result<Change> {
        let mut observation = self.observe().await?;
        // PostgreSQL keeps the row locked until the end: the next change waits here.
        sqlx::query("UPDATE state SET revision = revision + 1").execute(&mut *observation).await?;
        let row = sqlx::query("SELECT revision FROM state").fetch_one(&mut *observation).await?;
        Ok(Change {
            observation,
            revision: row.try_get("revision")?,
            at,
            who: who.as_str().to_owned(),
            rows: Vec::new(),
        })
    }
}

impl Observation {
    pub(super) async fn commit(self) -> Result<()> {
        Ok(self.tx.commit().await?)
    }
}

impl Deref for Observation {
    type Target = AnyConnection;
    fn deref(&self) -> &AnyConnection {
        &self.tx
    }
}

impl DerefMut for Observation {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.tx
    }
}

impl Change {
    /// Its number: higher than that of every change before it.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// When.
    pub(super) fn at(&self) -> Millis {
        self.at
    }

    /// Notes what is changed. `details` hold no secret.
    pub(super) fn audit(&mut self, what: &str, subject: &str, details: Value) {
        self.rows.push([what.to_owned(), subject.to_owned(), details.to_string()]);
    }

    /// # Errors
    /// Also when nothing was noted for the audit log.
    pub(super) async fn commit(mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Err(Error::unavailable("database: a change without a row in the audit log is not made"));
        }
        // No second change is under way: the highest number is known.
        let row =
            sqlx::query("SELECT COALESCE(MAX(id), 0) AS last FROM audit").fetch_one(&mut *self.observation).await?;
        let mut id: i64 = row.try_get("last")?;
        for rows in self.rows.chunks(ROWS) {
            let places = rows_of_places(rows.len(), 6);
            let sql = format!("INSERT INTO audit (id, at, who, what, subject, details) VALUES {places}");
            let mut query = sqlx::query(&sql);
            for [what, subject, details] in rows {
                id += 1;
                query = query.bind(id).bind(self.at).bind(self.who.as_str());
                query = query.bind(what.as_str()).bind(subject.as_str()).bind(details.as_str());
            }
            query.execute(&mut *self.observation).await?;
        }
        self.observation.commit().await
    }

    /// For what nobody decided and what only has its place among the changes.
    pub(super) async fn commit_unaudited(self) -> Result<()> {
        self.observation.commit().await
    }
}

impl Deref for Change {
    type Target = AnyConnection;
    fn deref(&self) -> &AnyConnection {
        &self.observation
    }
}

impl DerefMut for Change {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.observation
    }
}

//! Who changed or looked at what, and when.

use super::{limited, Millis, Store};
use crate::error::Result;
use crate::names::{ClientId, EdgeName};
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::Row;
use std::fmt;

// By name: PostgreSQL refuses a statement prepared with "*" once another version of tel-control has added a column.
macro_rules! columns {
    () => {
        "id, at, who, what, subject, details"
    };
}

/// Who does something, as the audit log names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// An operator, by the label of the token.
    pub fn operator(label: &str) -> Actor {
        Actor(format!("operator:{label}"))
    }

    /// A client, for itself.
    pub fn client(id: &ClientId) -> Actor {
        Actor(format!("client:{id}"))
    }

    /// An edge.
    pub fn edge(name: &EdgeName) -> Actor {
        Actor(format!("edge:{name}"))
    }

    /// The reconciler, of its own accord.
    pub fn reconciler() -> Actor {
        Actor("reconciler".to_owned())
    }

    /// Whoever has the machine's command line.
    pub fn command_line() -> Actor {
        Actor("command line".to_owned())
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// Its number; later ones are higher.
    pub id: i64,
    /// When.
    pub at: Millis,
    /// Who: `operator:<label>`, `client:<id>`, `edge:<name>`, `reconciler`, `command line`.
    pub who: String,
    /// What, such as `client.add`.
    pub what: String,
    /// Of whom or what: `client:<id>`, `edge:<name>`, `token:<id>`, `setting:<name>`, `list`, `database`.
    pub subject: String,
    /// More, as a JSON object.
    pub details: Value,
}

impl Store {
    /// Notes what changes nothing here: that lines were looked at, or what was done outside of the database.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn audit(&self, who: &Actor, what: &str, subject: &str, details: Value, now: Millis) -> Result<()> {
        let mut change = self.change(who, now).await?;
        change.audit(what, subject, details);
        change.commit().await
    }

    /// The latest rows first, those before number `before` if given, of one subject if given.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn audit_log(&self, subject: Option<&str>, before: Option<i64>, limit: usize) -> Result<Vec<AuditRow>> {
        let before = before.unwrap_or(i64::MAX);
        let rows = match subject {
            Some(subject) => {
                sqlx::query(concat!(
                    "SELECT ",
                    columns!(),
                    " FROM audit WHERE subject = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
                ))
                .bind(subject)
                .bind(before)
                .bind(limited(limit))
                .fetch_all(self.pool())
                .await?
            }
            None => {
                sqlx::query(concat!("SELECT ", columns!(), " FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2"))
                    .bind(before)
                    .bind(limited(limit))
                    .fetch_all(self.pool())
                    .await?
            }
        };
        rows.iter().map(read).collect()
    }
}

fn read(row: &AnyRow) -> Result<AuditRow> {
    let details: String = row.try_get("details")?;
    Ok(AuditRow {
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        who: row.try_get("who")?,
        what: row.try_get("what")?,
        subject: row.try_get("subject")?,
        details: serde_json::from_str(&details).unwrap_or(Value::Null),
    })
}

/// The audit log's name of a client.
pub(super) fn of_client(id: &ClientId) -> String {
    format!("client:{id}")
}

/// The audit log's name of an edge.
pub(super) fn of_edge(name: &EdgeName) -> String {
    format!("edge:{name}")
}

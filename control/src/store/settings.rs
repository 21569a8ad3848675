//! Settings of the whole installation that are changed while it runs.

use super::{check_text, Actor, Millis, Store};
use crate::error::{Error, Result};
use serde_json::json;
use sqlx::Row;
use std::collections::BTreeMap;

/// Characters of a name.
const LONGEST_NAME: usize = 100;
/// Characters of a value.
const LONGEST_VALUE: usize = 10_000;

impl Store {
    /// A setting's value, if it has one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn setting(&self, name: &str) -> Result<Option<String>> {
        let row =
            sqlx::query("SELECT value FROM settings WHERE name = $1").bind(name).fetch_optional(self.pool()).await?;
        row.map(|row| Ok(row.try_get("value")?)).transpose()
    }

    /// All settings.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn settings(&self) -> Result<BTreeMap<String, String>> {
        let rows = sqlx::query("SELECT name, value FROM settings").fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("value")?))).collect()
    }

    /// Sets a setting, or unsets it (`None`). Values are seen in the audit log: a secret is no setting.
    ///
    /// # Errors
    /// `Invalid` for an impossible name or value; `Unavailable`.
    pub async fn set_setting(&self, who: &Actor, name: &str, value: Option<&str>, now: Millis) -> Result<()> {
        check_text("setting's name", name, LONGEST_NAME)?;
        if value.is_some_and(|value| value.contains('\0') || value.chars().count() > LONGEST_VALUE) {
            return Err(Error::invalid(format!(
                "setting {name}: longer than {LONGEST_VALUE} characters, or has a NUL in it"
            )));
        }
        let mut change = self.change(who, now).await?;
        let row =
            sqlx::query("SELECT value FROM settings WHERE name = $1").bind(name).fetch_optional(&mut *change).await?;
        let before: Option<String> = row.map(|row| row.try_get("value")).transpose()?;
        if before.as_deref() == value {
            return Ok(());
        }
        match value {
            Some(value) => {
                let sql = "INSERT INTO settings (name, value, changed_at) VALUES ($1, $2, $3) \
                           ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at";
                sqlx::query(sql).bind(name).bind(value).bind(now).execute(&mut *change).await?;
            }
            None => {
                sqlx::query("DELETE FROM settings WHERE name = $1").bind(name).execute(&mut *change).await?;
            }
        }
        change.audit("setting", &format!("setting:{name}"), json!({ "from": before, "to": value }));
        change.commit().await
    }
}

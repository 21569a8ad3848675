//! Tokens of operators and clients: given out once, kept as hashes.

use super::client::client_id;
use super::{check_text, secrets, Actor, Millis, Store};
use crate::error::{Error, Result};
use crate::names::ClientId;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::Row;

// By name: PostgreSQL refuses a statement prepared with "*" once another version of tel-control has added a column.
macro_rules! columns {
    () => {
        "id, label, client_id, created_at, expires_at, last_used, revoked_at"
    };
}

/// What a token begins with, so that people and scanners of leaked secrets know it.
const PREFIX: &str = "tel_";
/// Its whole length.
const LENGTH: usize = PREFIX.len() + 64;
/// Characters of a label.
const LONGEST_LABEL: usize = 100;
/// A later use is noted only after so long.
const USE_NOTED: Millis = 60_000;

/// A token that was just made.
#[derive(Clone)]
pub struct NewToken {
    /// Its public name, by which it is revoked.
    pub id: String,
    /// The token itself, which is nowhere else.
    pub secret: String,
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its public name.
    pub id: String,
    /// Whom it was made for.
    pub label: String,
    /// The client that it speaks for; none: an operator.
    pub client: Option<ClientId>,
    /// When it was made.
    pub created_at: Millis,
    /// From when it is no longer taken.
    pub expires_at: Option<Millis>,
    /// When it was last used, to the minute.
    pub last_used: Option<Millis>,
    /// When it was revoked.
    pub revoked_at: Option<Millis>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The token that proved it; none after a launch link.
    pub token: Option<String>,
    /// The token's label, or what the launch link calls the person.
    pub label: String,
    /// The client that may be asked about; none: an operator, who may ask about all.
    pub client: Option<ClientId>,
}

impl Who {
    /// Whether everything may be asked.
    pub fn is_operator(&self) -> bool {
        self.client.is_none()
    }

    /// As the audit log names them.
    pub fn actor(&self) -> Actor {
        match &self.client {
            Some(id) => Actor::client(id),
            None => Actor::operator(&self.label),
        }
    }
}

impl Store {
    /// Makes a token: an operator's, or one that speaks for `client`, which need not be added yet.
    ///
    /// # Errors
    /// `Invalid` for a label that is empty, longer than 100 characters or not one line; `Unavailable`.
    pub async fn create_token(
        &self,
        who: &Actor,
        label: &str,
        client: Option<&ClientId>,
        expires_at: Option<Millis>,
        now: Millis,
    ) -> Result<NewToken> {
        check_text("label", label, LONGEST_LABEL)?;
        let secret = format!("{PREFIX}{}", secrets::random_hex()?);
        let id: String = secrets::random_hex()?.chars().take(16).collect();
        let mut change = self.change(who, now).await?;
        let sql =
            "INSERT INTO tokens (id, hash, label, client_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
        sqlx::query(sql)
            .bind(&id)
            .bind(secrets::hash(&secret))
            .bind(label)
            .bind(client.map(|client| client.as_str().to_owned()))
            .bind(now)
            .bind(expires_at)
            .execute(&mut *change)
            .await?;
        let details = json!({ "label": label, "client": client.map(ClientId::as_str), "expires_at": expires_at });
        change.audit("token.create", &format!("token:{id}"), details);
        change.commit().await?;
        Ok(NewToken { id, secret })
    }

    /// Whose token this is, if it is one that is taken now.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn authenticate(&self, token: &str, now: Millis) -> Result<Option<Who>> {
        if token.len() != LENGTH || !token.starts_with(PREFIX) {
            return Ok(None);
        }
        let row = sqlx::query(concat!("SELECT ", columns!(), " FROM tokens WHERE hash = $1"))
            .bind(secrets::hash(token))
            .fetch_optional(self.pool())
            .await?;
        let Some(token) = row.as_ref().map(read).transpose()? else { return Ok(None) };
        if token.revoked_at.is_some() || token.expires_at.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        if token.last_used.is_none_or(|last| last + USE_NOTED <= now) {
            let mut seen = self.observe().await?;
            let sql = "UPDATE tokens SET last_used = $1 WHERE id = $2";
            sqlx::query(sql).bind(now).bind(&token.id).execute(&mut *seen).await?;
            seen.commit().await?;
        }
        Ok(Some(Who { token: Some(token.id), label: token.label, client: token.client }))
    }

    /// Takes a token no more, nor the sessions that began with it. False if it was revoked before.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable`.
    pub async fn revoke_token(&self, who: &Actor, id: &str, now: Millis) -> Result<bool> {
        let mut change = self.change(who, now).await?;
        let row = sqlx::query(concat!("SELECT ", columns!(), " FROM tokens WHERE id = $1"))
            .bind(id)
            .fetch_optional(&mut *change)
            .await?;
        let Some(token) = row.as_ref().map(read).transpose()? else {
            return Err(Error::not_found("token is not known"));
        };
        if token.revoked_at.is_some() {
            return Ok(false);
        }
        sqlx::query("UPDATE tokens SET revoked_at = $1 WHERE id = $2").bind(now).bind(id).execute(&mut *change).await?;
        sqlx::query("DELETE FROM sessions WHERE token_id = $1").bind(id).execute(&mut *change).await?;
        change.audit("token.revoke", &format!("token:{id}"), json!({ "label": token.label }));
        change.commit().await?;
        Ok(true)
    }

    /// All tokens, or those of a client, the latest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn tokens(&self, client: Option<&ClientId>) -> Result<Vec<Token>> {
        let rows = match client {
            None => {
                sqlx::query(concat!("SELECT ", columns!(), " FROM tokens ORDER BY created_at DESC, id"))
                    .fetch_all(self.pool())
                    .await?
            }
            Some(client) => {
                sqlx::query(concat!(
                    "SELECT ",
                    columns!(),
                    " FROM tokens WHERE client_id = $1 ORDER BY created_at DESC, id"
                ))
                .bind(client.as_str())
                .fetch_all(self.pool())
                .await?
            }
        };
        rows.iter().map(read).collect()
    }
}

fn read(row: &AnyRow) -> Result<Token> {
    let client: Option<String> = row.try_get("client_id")?;
    Ok(Token {
        id: row.try_get("id")?,
        label: row.try_get("label")?,
        client: client.as_deref().map(client_id).transpose()?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used: row.try_get("last_used")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

//! Sessions of the panel: a cookie, and what its forms must carry so that no other site can send them.

use super::client::client_id;
use super::{check_text, secrets, Millis, Store, Who};
use crate::error::Result;
use serde_json::json;
use sqlx::Row;

/// Characters of the name that a launch link gives a person.
const LONGEST_LABEL: usize = 100;

/// A session that was just begun.
#[derive(Clone)]
pub struct NewSession {
    /// The cookie's value, which is nowhere else.
    pub cookie: String,
    /// What the forms must carry.
    pub csrf: String,
}

/// A session under way.
#[derive(Clone)]
pub struct Session {
    /// Whose.
    pub who: Who,
    /// When it ends.
    pub expires_at: Millis,
    csrf: String,
}

impl Session {
    /// What the forms of this session's pages must carry. It follows from the cookie, and the cookie not from it.
    pub fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Whether a form carried it; takes as long for a near miss as for a far one.
    pub fn is_csrf(&self, carried: &str) -> bool {
        carried.len() == self.csrf.len() && openssl::memcmp::eq(carried.as_bytes(), self.csrf.as_bytes())
    }
}

impl Store {
    /// Begins a session for someone who has proved who they are.
    ///
    /// # Errors
    /// `Invalid` for an impossible label; `Unavailable`.
    pub async fn create_session(&self, who: &Who, expires_at: Millis, now: Millis) -> Result<NewSession> {
        check_text("name", &who.label, LONGEST_LABEL)?;
        let cookie = secrets::random_hex()?;
        let mut change = self.change(&who.actor(), now).await?;
        let sql = "INSERT INTO sessions (hash, token_id, label, client_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
        sqlx::query(sql)
            .bind(secrets::hash(&cookie))
            .bind(who.token.clone())
            .bind(&who.label)
            .bind(who.client.as_ref().map(|client| client.as_str().to_owned()))
            .bind(now)
            .bind(expires_at)
            .execute(&mut *change)
            .await?;
        let subject = match &who.client {
            Some(client) => super::audit::of_client(client),
            None => format!("operator:{}", who.label),
        };
        change.audit("session.begin", &subject, json!({ "label": who.label, "token": who.token }));
        change.commit().await?;
        let csrf = csrf_of(&cookie);
        Ok(NewSession { cookie, csrf })
    }

    /// The session of a cookie, if there is one now and its token is still taken.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn session(&self, cookie: &str, now: Millis) -> Result<Option<Session>> {
        let sql = "SELECT sessions.token_id, sessions.label, sessions.client_id, sessions.expires_at FROM sessions \
                   LEFT JOIN tokens ON tokens.id = sessions.token_id \
                   WHERE sessions.hash = $1 AND sessions.expires_at > $2 \
                   AND tokens.revoked_at IS NULL AND (tokens.expires_at IS NULL OR tokens.expires_at > $2)";
        let row = sqlx::query(sql).bind(secrets::hash(cookie)).bind(now).fetch_optional(self.pool()).await?;
        let Some(row) = row else { return Ok(None) };
        let client: Option<String> = row.try_get("client_id")?;
        let client = client.as_deref().map(client_id).transpose()?;
        let who = Who { token: row.try_get("token_id")?, label: row.try_get("label")?, client };
        Ok(Some(Session { who, expires_at: row.try_get("expires_at")?, csrf: csrf_of(cookie) }))
    }

    /// Ends a session. False if there was none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn end_session(&self, cookie: &str, now: Millis) -> Result<bool> {
        let Some(session) = self.session(cookie, now).await? else { return Ok(false) };
        let mut change = self.change(&session.who.actor(), now).await?;
        let done = sqlx::query("DELETE FROM sessions WHERE hash = $1")
            .bind(secrets::hash(cookie))
            .execute(&mut *change)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        change.audit("session.end", session.who.actor().as_str(), json!({}));
        change.commit().await?;
        Ok(true)
    }
}

fn csrf_of(cookie: &str) -> String {
    secrets::hash(&format!("csrf:{cookie}"))
}

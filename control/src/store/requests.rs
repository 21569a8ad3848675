//! What is done once although it is asked for twice: POSTs with an idempotency key, and launch links.

use super::{check_text, secrets, Millis, Store};
use crate::error::{Error, Result};
use sqlx::Row;

/// Characters of an idempotency key.
const LONGEST_KEY: usize = 255;
/// A request that has not been answered by then never will be: its process is gone.
const LEASE: Millis = 60_000;

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Do it, and then finish or release it.
    New,
    /// It was done: answer the same.
    Replay {
        /// The HTTP status.
        status: u16,
        /// The body; none if it held a secret, which is handed out once.
        body: Option<String>,
    },
    /// Its key was used for something else.
    Different,
    /// It is being done.
    Running,
}

impl Store {
    /// Claims a request for the one who will do it. `scope` is who asks; `request` is what is asked, in whatever form tells one
    /// request from another. The claim is kept until `expires_at`.
    ///
    /// # Errors
    /// `Invalid` for a key that is empty, longer than 255 characters or not one line; `Unavailable`.
    pub async fn claim_request(
        &self,
        scope: &str,
        key: &str,
        request: &str,
        expires_at: Millis,
        now: Millis,
    ) -> Result<Claim> {
        check_text("idempotency key", key, LONGEST_KEY)?;
        let request = secrets::hash(request);
        let mut seen = self.observe().await?;
        let sql = "INSERT INTO requests (scope, idempotency_key, request_hash, taken_at, expires_at) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (scope, idempotency_key) DO NOTHING";
        let done = sqlx::query(sql)
            .bind(scope)
            .bind(key)
            .bind(&request)
            .bind(now)
            .bind(expires_at)
            .execute(&mut *seen)
            .await?;
        if done.rows_affected() == 1 {
            seen.commit().await?;
            return Ok(Claim::New);
        }
        // Taken over if it is expired, or was left unanswered: one UPDATE, so that only one takes it.
        let sql = "UPDATE requests SET request_hash = $1, status = NULL, body = NULL, taken_at = $2, expires_at = $3 \
                   WHERE scope = $4 AND idempotency_key = $5 \
                   AND (expires_at <= $2 OR (status IS NULL AND request_hash = $1 AND taken_at <= $6))";
        let done = sqlx::query(sql)
            .bind(&request)
            .bind(now)
            .bind(expires_at)
            .bind(scope)
            .bind(key)
            .bind(now - LEASE)
            .execute(&mut *seen)
            .await?;
        if done.rows_affected() == 1 {
            seen.commit().await?;
            return Ok(Claim::New);
        }
        let row =
            sqlx::query("SELECT request_hash, status, body FROM requests WHERE scope = $1 AND idempotency_key = $2")
                .bind(scope)
                .bind(key)
                .fetch_optional(&mut *seen)
                .await?;
        // Released this moment: whoever asks again gets it.
        let Some(row) = row else { return Ok(Claim::Running) };
        if row.try_get::<String, _>("request_hash")? != request {
            return Ok(Claim::Different);
        }
        match row.try_get::<Option<i64>, _>("status")? {
            None => Ok(Claim::Running),
            Some(status) => {
                Ok(Claim::Replay { status: u16::try_from(status).unwrap_or(500), body: row.try_get("body")? })
            }
        }
    }

    /// Keeps the answer for whoever asks again. A body that holds a secret must not be given.
    ///
    /// # Errors
    /// `NotFound` if it is not claimed; `Unavailable`.
    pub async fn finish_request(&self, scope: &str, key: &str, status: u16, body: Option<&str>) -> Result<()> {
        let mut seen = self.observe().await?;
        let sql =
            "UPDATE requests SET status = $1, body = $2 WHERE scope = $3 AND idempotency_key = $4 AND status IS NULL";
        let done = sqlx::query(sql)
            .bind(i64::from(status))
            .bind(body.map(str::to_owned))
            .bind(scope)
            .bind(key)
            .execute(&mut *seen)
            .await?;
        if done.rows_affected() == 0 {
            return Err(Error::not_found("request is not claimed"));
        }
        seen.commit().await
    }

    /// Gives a claim back, for the request failed and may be tried again.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn release_request(&self, scope: &str, key: &str) -> Result<()> {
        let mut seen = self.observe().await?;
        let sql = "DELETE FROM requests WHERE scope = $1 AND idempotency_key = $2 AND status IS NULL";
        sqlx::query(sql).bind(scope).bind(key).execute(&mut *seen).await?;
        seen.commit().await
    }

    /// Takes something that works once, such as a launch link. False if it was taken before.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn take_once(&self, link: &str, expires_at: Millis) -> Result<bool> {
        let mut seen = self.observe().await?;
        let sql = "INSERT INTO used_links (hash, expires_at) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";
        let done = sqlx::query(sql).bind(secrets::hash(link)).bind(expires_at).execute(&mut *seen).await?;
        seen.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets requests, links and sessions that are over. To be called now and then.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn tidy(&self, now: Millis) -> Result<()> {
        let mut seen = self.observe().await?;
        for sql in [
            "DELETE FROM requests WHERE expires_at <= $1",
            "DELETE FROM used_links WHERE expires_at <= $1",
            "DELETE FROM sessions WHERE expires_at <= $1",
        ] {
            sqlx::query(sql).bind(now).execute(&mut *seen).await?;
        }
        seen.commit().await
    }
}

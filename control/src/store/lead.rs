//! Which of several processes reconciles.

use super::{Engine, Store};
use crate::error::Result;
use sqlx::{AnyConnection, Connection, Executor, Row};
use std::time::Duration;

/// PostgreSQL's advisory lock of the leader: "tel-lead".
const LEAD_LOCK: i64 = 0x7465_6c2d_6c65_6164;
/// Within which the leader's session must answer.
const ANSWER: Duration = Duration::from_secs(5);
/// A leader whose machine is gone is noticed by the server within half a minute instead of two hours.
const LEAD_SETTINGS: &str =
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET idle_session_timeout = 0";

impl Store {
    /// Whether this process is the one that reconciles: now, and until the next call says otherwise. To be called again every few
    /// seconds. With SQLite always.
    ///
    /// The lock is the session's: between this process and PostgreSQL there may be no pooler that shares sessions.
    ///
    /// # Errors
    /// `Unavailable` if the database does not answer: then this process does not lead.
    pub async fn try_lead(&self) -> Result<bool> {
        if self.engine() == Engine::Sqlite {
            return Ok(true);
        }
        let mut lead = self.inner.lead.lock().await;
        if let Some(mut session) = lead.take() {
            // Taken out first: a session that was given up half-way through a question is not asked again.
            if answers(&mut session).await {
                *lead = Some(session);
                return Ok(true);
            }
        }
        // Out of the pool before it asks: a call given up half-way must not leave the lock with a session that others use.
        let mut session = self.pool().acquire().await?.detach();
        let row =
            sqlx::query("SELECT pg_try_advisory_lock($1) AS mine").bind(LEAD_LOCK).fetch_one(&mut session).await?;
        if !row.try_get::<bool, _>("mine")? {
            session.close().await?;
            return Ok(false);
        }
        session.execute(LEAD_SETTINGS).await?;
        *lead = Some(session);
        Ok(true)
    }

    /// Leads no longer, so that another can at once.
    pub async fn resign(&self) {
        if let Some(session) = self.inner.lead.lock().await.take() {
            let _ = tokio::time::timeout(ANSWER, session.close()).await;
        }
    }
}

async fn answers(session: &mut AnyConnection) -> bool {
    matches!(tokio::time::timeout(ANSWER, session.ping()).await, Ok(Ok(())))
}

//! The tables, and how an older database gets those of this version.

use super::{secrets, Engine, Millis};
use crate::error::{Error, Result};
use sqlx::{AnyConnection, AnyPool, Executor, Row};

/// Each brings a database from the version before it to its own, which is its place in this list from 1. Released ones never change.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_tables.sql"),
    include_str!("../../migrations/0002_looks.sql"),
    include_str!("../../migrations/0003_list_topic.sql"),
    include_str!("../../migrations/0004_refused_list.sql"),
    include_str!("../../migrations/0005_certificates.sql"),
];

/// PostgreSQL's advisory lock while tables change: "tel-tabl".
const TABLES_LOCK: i64 = 0x7465_6c2d_7461_626c;

/// Brings the tables to this version, all or nothing.
pub(super) async fn migrate(pool: &AnyPool, engine: Engine, now: Millis) -> Result<()> {
    let mut tx = match engine {
        Engine::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await?,
        Engine::Postgres => {
            let mut tx = pool.begin().await?;
            // Several processes may start at once; "IF NOT EXISTS" alone lets two of them collide.
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(TABLES_LOCK).execute(&mut *tx).await?;
            tx
        }
    };
    let applied =
        "CREATE TABLE IF NOT EXISTS migrations (version BIGINT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)";
    sqlx::query(applied).execute(&mut *tx).await?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM migrations").fetch_one(&mut *tx).await?;
    let version = usize::try_from(row.try_get::<i64, _>("version")?).unwrap_or(0);
    if version > MIGRATIONS.len() {
        return Err(Error::conflict(format!(
            "database: its tables are of version {version}, this tel-control knows those up to {}: use a newer tel-control",
            MIGRATIONS.len()
        )));
    }
    for (at, text) in MIGRATIONS.iter().enumerate().skip(version) {
        apply(&mut tx, engine, text).await?;
        let number = i64::try_from(at + 1).unwrap_or(i64::MAX);
        sqlx::query("INSERT INTO migrations (version, applied_at) VALUES ($1, $2)")
            .bind(number)
            .bind(now)
            .execute(&mut *tx)
            .await?;
    }
    if version == 0 {
        let sql = "INSERT INTO state (one, id, mark, previous_mark, revision, generation_floor, created_at) \
                   VALUES (1, $1, $2, $2, 0, 0, $3)";
        sqlx::query(sql).bind(secrets::random_hex()?).bind(secrets::random_hex()?).bind(now).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn apply(connection: &mut AnyConnection, engine: Engine, text: &str) -> Result<()> {
    let name = match engine {
        // Its own default collation.
        Engine::Sqlite => "TEXT",
        // The server's collation differs from machine to machine and from release to release; order and indexes here do not.
        Engine::Postgres => "TEXT COLLATE \"C\"",
    };
    connection.execute(text.replace("{name}", name).as_str()).await?;
    Ok(())
}

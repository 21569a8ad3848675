//! Copies of the database.

use super::open::{sqlite_options, Target};
use super::{Engine, Store};
use crate::error::{Error, Result};
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What does it for PostgreSQL.
const POSTGRES: &str =
    "the database is PostgreSQL's: back it up with pg_dump --format=custom, and restore it with pg_restore";

impl Store {
    /// Writes a copy of the SQLite file as it is at this moment, while everything goes on. The copy is a database like any other:
    /// restoring is putting it in the place of the file while no tel-control runs.
    ///
    /// # Errors
    /// `Invalid` for PostgreSQL, saying what to use; `Conflict` if `to` exists; `Unavailable`.
    pub async fn backup(&self, to: &Path) -> Result<()> {
        match self.engine() {
            Engine::Sqlite => write(&sqlite_options(Path::new(self.place()), "rw")?, to).await,
            Engine::Postgres => Err(Error::invalid(POSTGRES)),
        }
    }
}

/// The same as [`Store::backup`] for a database that another process may have open.
///
/// # Errors
/// As [`Store::backup`].
pub async fn backup_file(url: &str, to: &Path) -> Result<()> {
    sqlx::any::install_default_drivers();
    match Target::parse(url)? {
        Target::Sqlite(path) => write(&sqlite_options(&path, "rw")?, to).await,
        Target::Postgres(_) => Err(Error::invalid(POSTGRES)),
    }
}

async fn write(from: &AnyConnectOptions, to: &Path) -> Result<()> {
    let shown = to.display();
    let text = to.to_str().ok_or_else(|| Error::invalid(format!("backup {shown}: the path is not UTF-8")))?;
    // SQLite writes into an empty file as well, and this one is for its owner only.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(to) {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::conflict(format!("backup {shown}: is there already")))
        }
        Err(e) => return Err(Error::unavailable(format!("backup {shown}: {e}"))),
    }
    let copied = async {
        // A connection of its own: copying takes no place of a pool, and no writer waits for it.
        let mut connection: AnyConnection = from.connect().await?;
        sqlx::query("VACUUM INTO $1").bind(text).execute(&mut connection).await?;
        connection.close().await
    };
    if let Err(e) = copied.await {
        let _ = std::fs::remove_file(to);
        return Err(Error::unavailable(format!("backup {shown}: {e}")));
    }
    std::fs::File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::unavailable(format!("backup {shown}: {e}")))
}

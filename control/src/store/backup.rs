//! Copies of the database.

use super::open::{sqlite_options, take, Target};
use super::{Engine, Store};
use crate::error::{Error, Result};
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

/// Puts the copy `from` in the place of the database at `url`, which no process may have open. What was there is kept as
/// `<database>.before`, which is returned; one from an earlier time goes. Ended at any moment, the old or the new one is there whole.
///
/// # Errors
/// `Invalid` for PostgreSQL, saying what to use, and for a file that is no database of tel-control's; `Conflict` if a process has the
/// database; `Unavailable`.
pub async fn restore_file(url: &str, from: &Path) -> Result<Option<PathBuf>> {
    sqlx::any::install_default_drivers();
    let Target::Sqlite(path) = Target::parse(url)? else { return Err(Error::invalid(POSTGRES)) };
    let failed = |what: &Path| {
        let shown = what.display().to_string();
        move |error: std::io::Error| Error::unavailable(format!("restore {shown}: {error}"))
    };
    check(from).await?;
    let was_there = path.exists();
    let (path, _lock) = take(&path)?;
    let beside = |end: &str| {
        let mut name = path.clone().into_os_string();
        name.push(end);
        PathBuf::from(name)
    };
    let (new, before) = (beside(".restoring"), beside(".before"));
    let remove = |old: &Path| match fs::remove_file(old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(old)(error)),
        _ => Ok(()),
    };
    remove(&new)?;
    // Through SQLite: both may have changes in a log beside them.
    write(&sqlite_options(from, "rw")?, &new).await?;
    if was_there {
        // Only now: it may be what is restored.
        remove(&before)?;
        let options = sqlite_options(&path, "rw")?;
        if let Err(error) = write(&options, &before).await {
            // A file that SQLite cannot read is what one restores for: it is kept as it is.
            crate::log::warning(format_args!("{}: {error}; kept as it is", path.display()));
            fs::copy(&path, &before).map_err(failed(&before))?;
        } else if let Ok(mut connection) = options.connect().await {
            // All into the file: the log beside it must not be taken for the new one's.
            let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
            let _ = connection.close().await;
        }
    }
    for log in [beside("-wal"), beside("-shm")] {
        let _ = fs::remove_file(log);
    }
    fs::rename(&new, &path).map_err(failed(&path))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    Ok(was_there.then_some(before))
}

/// Whether it is a database of tel-control's, and whole.
async fn check(from: &Path) -> Result<()> {
    let shown = from.display();
    if !from.exists() {
        return Err(Error::not_found(format!("restore {shown}: is not there")));
    }
    let look = async {
        let mut connection: AnyConnection = sqlite_options(from, "ro")?.connect().await?;
        let found: String = sqlx::query_scalar("PRAGMA quick_check").fetch_one(&mut connection).await?;
        sqlx::query("SELECT id, mark, revision FROM state").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok::<String, Error>(found)
    };
    match look.await {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(Error::invalid(format!("restore {shown}: damaged: {found}"))),
        Err(error) => Err(Error::invalid(format!("restore {shown}: is no copy of tel-control's database ({error})"))),
    }
}

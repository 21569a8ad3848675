//! Which database, and the way to it.

use super::{schema, Engine, Inner, Millis, Store};
use crate::error::{Error, Result};
use rustix::fs::FlockOperation;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, ConnectOptions, Connection, Executor};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Readers go on beside the one writer.
const SQLITE_CONNECTIONS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 10;
/// Until a server must have answered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Nothing is lost when the machine loses its power, and another program's lock is waited for.
const SQLITE_SETTINGS: &str = "PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL";
/// A process that hangs within a transaction holds up the others no longer than this.
const POSTGRES_SETTINGS: &str = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '30s'";

impl Store {
    /// Opens the database and brings its tables to this version.
    ///
    /// `url` is `sqlite:PATH` or a plain path (created with mode 0600 if missing), or `postgres://user:password@host/database`.
    /// An SQLite file is one process's until it ends or closes the store.
    ///
    /// # Errors
    /// `Invalid` for a URL that is neither; `Conflict` if another process has the SQLite file, or its tables are newer than this
    /// program; `Unavailable` if the database cannot be reached.
    pub async fn open(url: &str, now: Millis) -> Result<Store> {
        sqlx::any::install_default_drivers();
        let (engine, place, lock, options) = match Target::parse(url)? {
            Target::Sqlite(path) => {
                let (path, lock) = take(&path)?;
                (Engine::Sqlite, path.display().to_string(), Some(lock), sqlite_options(&path, "rw")?)
            }
            Target::Postgres(url) => (Engine::Postgres, without_password(url), None, postgres_options(url)?),
        };
        let pool = connect(engine, options).await.map_err(|e| named(&place, e))?;
        schema::migrate(&pool, engine, now).await.map_err(|e| named(&place, e))?;
        let inner = Inner {
            pool,
            engine,
            place,
            writer: Arc::new(tokio::sync::Mutex::new(())),
            lock: Mutex::new(lock),
            lead: tokio::sync::Mutex::new(None),
        };
        Ok(Store { inner: Arc::new(inner) })
    }

    /// Waits for what is under way, then gives the database back. Later calls on any clone fail.
    pub async fn close(&self) {
        self.resign().await;
        self.pool().close().await;
        if let Ok(mut lock) = self.inner.lock.lock() {
            *lock = None;
        }
    }
}

/// What a URL asks for.
pub(super) enum Target<'a> {
    Sqlite(PathBuf),
    Postgres(&'a str),
}

impl Target<'_> {
    pub(super) fn parse(url: &str) -> Result<Target<'_>> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Target::Postgres(url));
        }
        let path = match url.split_once(':') {
            Some(("sqlite", rest)) => rest.strip_prefix("//").unwrap_or(rest),
            Some((scheme, _)) if !scheme.contains('/') => {
                return Err(Error::invalid(format!("database: \"{scheme}:\" is neither sqlite: nor postgres:")))
            }
            _ => url,
        };
        if path.is_empty() || path.starts_with(':') || path.contains(['?', '\0']) {
            return Err(Error::invalid("database: sqlite: must be followed by the path of a file, without parameters"));
        }
        let path = std::path::absolute(path).map_err(|e| Error::invalid(format!("database {path}: {e}")))?;
        Ok(Target::Sqlite(path))
    }
}

/// A process that is just ending, or was killed, has its lock for a moment longer.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

fn lock_within(lock: &File, patience: Duration) -> rustix::io::Result<()> {
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
}

/// Creates the file if need be, and takes it for this process: its path without links, and what holds the lock.
pub(super) fn take(path: &Path) -> Result<(PathBuf, File)> {
    let failed = |e: std::io::Error| Error::unavailable(format!("database {}: {e}", path.display()));
    // Its -wal and -shm files get the same mode from SQLite. One that is there is not opened: closing the descriptor would drop the
    // locks that SQLite may have on it in this process.
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(made) => drop(made),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let path = path.canonicalize().map_err(failed)?;

    let mut beside = path.clone().into_os_string();
    beside.push(".lock");
    // The kernel drops the lock with the process, however it ends. The file itself stays: removing it would let two in.
    let mut options = OpenOptions::new();
    let mut lock =
        options.create(true).truncate(false).read(true).write(true).mode(0o600).open(&beside).map_err(failed)?;
    match lock_within(&lock, LOCK_PATIENCE) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            let holder = match holder.trim().parse::<u32>() {
                Ok(process) => format!("process {process}"),
                Err(_) => "another process".to_owned(),
            };
            return Err(Error::conflict(format!(
                "database {}: in use by {holder}; ask it through its API, or use PostgreSQL for several processes",
                path.display()
            )));
        }
        Err(e) => return Err(failed(e.into())),
    }
    let write = |lock: &mut File| {
        lock.set_len(0)?;
        lock.rewind()?;
        write!(lock, "{}", std::process::id())
    };
    write(&mut lock).map_err(failed)?;
    Ok((path, lock))
}

/// How to open the file: `mode` is SQLite's, such as "rw" or "ro".
pub(super) fn sqlite_options(path: &Path, mode: &str) -> Result<AnyConnectOptions> {
    let text =
        path.to_str().ok_or_else(|| Error::invalid(format!("database {}: the path is not UTF-8", path.display())))?;
    let mut url = "sqlite://".to_owned();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-') {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    let _ = write!(url, "?mode={mode}");
    options(&url)
}

fn postgres_options(url: &str) -> Result<AnyConnectOptions> {
    options(url)
}

fn options(url: &str) -> Result<AnyConnectOptions> {
    let options = AnyConnectOptions::from_str(url).map_err(|e| Error::invalid(format!("database URL: {e}")))?;
    Ok(options.disable_statement_logging())
}

async fn connect(engine: Engine, options: AnyConnectOptions) -> Result<AnyPool> {
    // The pool tries again until its time is over and then no longer knows why: the first connection does.
    let first = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    let mut first = first.map_err(|_| Error::unavailable("no answer"))??;
    if engine == Engine::Sqlite {
        let row = sqlx::query("PRAGMA journal_mode = WAL").fetch_one(&mut first).await?;
        let mode: String = sqlx::Row::try_get(&row, 0)?;
        if mode != "wal" {
            return Err(Error::unavailable(format!("the file system takes no write-ahead log (\"{mode}\")")));
        }
    }
    first.close().await?;

    let settings = match engine {
        Engine::Sqlite => SQLITE_SETTINGS,
        Engine::Postgres => POSTGRES_SETTINGS,
    };
    let pool = AnyPoolOptions::new().acquire_timeout(CONNECT_TIMEOUT).after_connect(move |connection, _| {
        Box::pin(async move {
            connection.execute(settings).await?;
            Ok(())
        })
    });
    let pool = match engine {
        Engine::Sqlite => pool
            .max_connections(SQLITE_CONNECTIONS)
            // All at once: one that is being opened for somebody who no longer waits would be open beyond the pool's end.
            .min_connections(SQLITE_CONNECTIONS)
            .idle_timeout(None::<Duration>)
            .max_lifetime(None::<Duration>)
            .test_before_acquire(false),
        Engine::Postgres => pool.max_connections(POSTGRES_CONNECTIONS),
    };
    Ok(pool.connect_with(options).await?)
}

fn named(place: &str, error: Error) -> Error {
    let text = error.text.strip_prefix("database: ").unwrap_or(&error.text);
    Error { kind: error.kind, text: format!("database {place}: {text}") }
}

/// The URL for people: neither its password nor its parameters, which may hold one.
fn without_password(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match (url.split_once("://"), url.rfind('@')) {
        (Some((scheme, rest)), Some(at)) => {
            let user = rest.split([':', '@']).next().unwrap_or_default();
            format!("{scheme}://{user}{}", &url[at..])
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_file_or_a_server() {
        for (url, path) in [
            ("sqlite:/var/lib/x.db", "/var/lib/x.db"),
            ("sqlite:///var/lib/x.db", "/var/lib/x.db"),
            ("/var/lib/a b.db", "/var/lib/a b.db"),
        ] {
            assert!(matches!(Target::parse(url).unwrap(), Target::Sqlite(found) if found == Path::new(path)), "{url}");
        }
        assert!(matches!(Target::parse("postgresql://h/d").unwrap(), Target::Postgres(_)));
        for bad in ["", "sqlite:", "sqlite::memory:", "sqlite:/x?mode=ro", "mysql://h/d"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_shows_no_password() {
        for url in [
            "postgres://u:se/cr@et@h:5432/d",
            "postgres://u:secret@h:5432/d?password=secret",
            "postgres://h/d?password=secret",
        ] {
            let place = without_password(url);
            assert!(!place.contains("se/cr") && !place.contains("secret") && place.ends_with("/d"), "{place}");
        }
        assert_eq!(without_password("postgres://u:p@h:5432/d"), "postgres://u@h:5432/d");
    }
}

//! What is of one database only: locks, leaders, files, backups.

use crate::database::{Database, NOW};
use crate::{added, certificate, edge, id, on_both, operator, plain};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tel_control::error::Kind;
use tel_control::store::{backup_file, Actor, Continuity, Store};

/// When set, this process is the second one that opens the file.
const SECOND: &str = "TEL_STORE_SECOND";

#[tokio::test]
async fn a_second_process_is_refused() {
    if let Ok(url) = std::env::var(SECOND) {
        let refused = Store::open(&url, NOW).await.err().unwrap();
        assert_eq!(refused.kind, Kind::Conflict, "{refused}");
        println!("refused: {refused}");
        return;
    }
    let database = Database::sqlite();
    let store = database.open().await;
    added(&store, "c83").await;
    let second = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "engines::a_second_process_is_refused", "--nocapture"])
        .env(SECOND, database.url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stdout);
    assert!(second.status.success(), "{said}{}", String::from_utf8_lossy(&second.stderr));
    assert!(said.contains(&format!("in use by process {}", std::process::id())), "{said}");

    // Also within this process, and by another name of the same file.
    let link = database.folder().join("link.db");
    std::os::unix::fs::symlink(database.folder().join("control.db"), &link).unwrap();
    for url in [database.url().to_owned(), link.display().to_string()] {
        assert_eq!(Store::open(&url, NOW).await.err().unwrap().kind, Kind::Conflict);
    }
    store.close().await;
    assert!(store.client(&id("c83")).await.is_err());
    assert!(database.open().await.client(&id("c83")).await.unwrap().is_some());
}

#[tokio::test]
async fn files_are_for_their_owner_only_and_copies_are_databases() {
    let database = Database::sqlite();
    let store = database.open().await;
    added(&store, "c83").await;
    let seen = store.renew_marker(None, NOW).await.unwrap();
    let copies = ["one.db", "two #%?.db"].map(|name| database.folder().join(name));
    store.backup(&copies[0]).await.unwrap();
    // The command line, beside the process that has the file.
    backup_file(database.url(), &copies[1]).await.unwrap();
    assert_eq!(store.backup(&copies[0]).await.unwrap_err().kind, Kind::Conflict);
    for entry in std::fs::read_dir(database.folder()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }

    // An hour goes on, then the copy takes the file's place.
    added(&store, "c8").await;
    let seen = store.renew_marker(Some(&seen), NOW).await.unwrap();
    let seen = store.renew_marker(Some(&seen), NOW).await.unwrap();
    store.close().await;
    for old in ["control.db", "control.db-wal", "control.db-shm"] {
        let _ = std::fs::remove_file(database.folder().join(old));
    }
    std::fs::copy(&copies[1], database.folder().join("control.db")).unwrap();
    let restored = database.open().await;
    assert_eq!(restored.count_clients().await.unwrap().wanted, 1);
    assert_eq!(restored.judge(&seen).await.unwrap(), Continuity::Restored);
    let first = store_with_other_file(&database).await;
    assert_eq!(first.judge(&seen).await.unwrap(), Continuity::Other);
}

async fn store_with_other_file(database: &Database) -> Store {
    Store::open(database.folder().join("new.db").to_str().unwrap(), NOW).await.unwrap()
}

#[tokio::test]
async fn what_cannot_be_opened_is_named() {
    let database = Database::sqlite();
    let missing = format!("sqlite:{}/none/control.db", database.folder().display());
    let text = database.folder().join("text.db");
    std::fs::write(&text, "no database, but long enough to be looked at".repeat(100)).unwrap();
    for url in [missing.as_str(), text.to_str().unwrap(), "postgres://tel:secret@127.0.0.1:1/none"] {
        let error = Store::open(url, NOW).await.err().unwrap();
        assert_eq!(error.kind, Kind::Unavailable);
        let name = url.trim_start_matches("sqlite:").replace(":secret", "");
        assert!(error.text.contains(&name) && !error.text.contains("secret"), "{error}");
    }
    assert_eq!(Store::open("mysql://h/d", NOW).await.err().unwrap().kind, Kind::Invalid);

    let newer = Database::postgres();
    newer.open().await.close().await;
    newer.psql("INSERT INTO migrations VALUES (999, 0)");
    let error = Store::open(newer.url(), NOW).await.err().unwrap();
    assert_eq!(error.kind, Kind::Conflict);
    assert!(error.text.contains("999"), "{error}");
}

/// What the first version had not.
const BACK_TO_THE_FIRST: &str = "ALTER TABLE state DROP COLUMN looked_at; ALTER TABLE state DROP COLUMN looked_since; \
     ALTER TABLE state DROP COLUMN list_topic_id; ALTER TABLE clients DROP COLUMN use_unknown_until; \
     ALTER TABLE edges DROP COLUMN refused; ALTER TABLE credentials DROP COLUMN certificate; \
     DELETE FROM migrations WHERE version > 1";

async fn an_older_database_gets_what_is_new(database: &Database) {
    use sqlx::Connection;
    let store = database.open().await;
    let c83 = added(&store, "c83").await;
    store.issue_credential(&operator(), &c83, NOW).await.unwrap();
    store.certify_credential(&operator(), &c83, 1, &certificate("f", NOW + 1000), NOW).await.unwrap();
    store.add_edge(&operator(), &edge("e1"), NOW).await.unwrap();
    store.close().await;
    let url = database.url().replace("sqlite:", "sqlite://");
    let mut older = sqlx::AnyConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(BACK_TO_THE_FIRST).execute(&mut older).await.unwrap();
    older.close().await.unwrap();

    let store = database.open().await;
    assert_eq!(store.edges().await.unwrap()[0].refused, "");
    assert_eq!(store.live_certificate(&c83, NOW).await.unwrap(), None, "it is not known of an older one");
    assert_eq!(store.credentials(&c83).await.unwrap()[0].fingerprint.as_deref(), Some("f"));
    store.issue_credential(&operator(), &c83, NOW).await.unwrap();
    store.certify_credential(&operator(), &c83, 2, &certificate("g", NOW + 1000), NOW).await.unwrap();
    assert_eq!(store.live_certificate(&c83, NOW).await.unwrap().unwrap().generation, 2);
}

on_both!(an_older_database_gets_what_is_new);

#[tokio::test]
async fn another_program_s_lock_is_waited_for() {
    use sqlx::Connection;
    let database = Database::sqlite();
    let store = database.open().await;
    let url = format!("{}?mode=rw", database.url());
    let mut other = sqlx::AnyConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.add_client(&operator(), &plain("c83"), NOW).await }
    });
    // Reading goes on meanwhile.
    assert_eq!(store.count_clients().await.unwrap().wanted, 0);
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    waiting.await.unwrap().unwrap();
    other.close().await.unwrap();

    assert!(store.try_lead().await.unwrap() && store.clone().try_lead().await.unwrap());
}

#[tokio::test]
async fn one_of_several_leads() {
    let database = Database::postgres();
    let stores = [database.open().await, database.open().await, database.open().await];
    assert!(stores[0].try_lead().await.unwrap());
    for _ in 0..3 {
        assert!(stores[0].try_lead().await.unwrap());
        assert!(!stores[1].try_lead().await.unwrap() && !stores[2].try_lead().await.unwrap());
    }
    stores[0].close().await;
    assert!(stores[1].try_lead().await.unwrap());
    assert!(!stores[2].try_lead().await.unwrap());
    stores[1].resign().await;
    assert!(stores[2].try_lead().await.unwrap() && !stores[1].try_lead().await.unwrap());

    // The server ends the leader's session: the leader notices, and whoever asks first leads.
    let ended = "SELECT COUNT(pg_terminate_backend(pid, 10000)) FROM pg_locks WHERE locktype = 'advisory' \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(database.psql(ended), "1");
    assert!(stores[1].try_lead().await.unwrap());
    assert!(!stores[2].try_lead().await.unwrap());
    // Two databases of one server do not meet.
    assert!(Database::postgres().open().await.try_lead().await.unwrap());
}

#[tokio::test]
async fn several_processes_start_at_once() {
    let database = Database::postgres();
    let opened: Vec<_> = (0..6)
        .map(|_| {
            let url = database.url().to_owned();
            tokio::spawn(async move { Store::open(&url, NOW).await.unwrap().marker().await.unwrap() })
        })
        .collect();
    let mut markers = Vec::new();
    for task in opened {
        markers.push(task.await.unwrap());
    }
    assert!(markers.iter().all(|marker| *marker == markers[0]));
    let refused = database.open().await.backup(&database.folder().join("copy")).await.unwrap_err();
    assert!(refused.kind == Kind::Invalid && refused.text.contains("pg_dump"), "{refused}");
}

#[tokio::test]
async fn a_lost_connection_is_an_error_once() {
    let database = Database::postgres();
    let store = database.open().await;
    let c83 = added(&store, "c83").await;
    database.psql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    // The pool looks at a connection before it gives it away.
    store.leave(&operator(), &c83, NOW, NOW).await.unwrap();
    store.forget(&Actor::reconciler(), &c83, None, NOW).await.unwrap();
}

//! The database, on SQLite and on a real PostgreSQL: every test runs on both unless it says which.

mod accounts;
mod batches;
mod database;
mod engines;
mod killed;
mod lifecycle;
mod work;

use database::NOW;
use tel_control::names::{ClientId, EdgeName};
use tel_control::store::{Actor, Certificate, ClientSettings, MadeTopic, NewClient, OwnSettings, Store};

/// Each of these on both databases.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::database::Database::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::database::Database::postgres()).await;
            })*
        }
    };
}
pub(crate) use on_both;

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

fn edge(text: &str) -> EdgeName {
    EdgeName::new(text).unwrap()
}

fn operator() -> Actor {
    Actor::operator("test")
}

fn plain(text: &str) -> NewClient {
    NewClient { id: id(text), topic: format!("logs.{text}"), settings: ClientSettings::default() }
}

fn certificate(fingerprint: &str, not_after: i64) -> Certificate<'_> {
    Certificate { fingerprint, not_after, pem: fingerprint }
}

/// Adds a client as it comes.
async fn added(store: &Store, text: &str) -> ClientId {
    store.add_client(&operator(), &plain(text), NOW).await.unwrap();
    id(text)
}

/// Notes that a topic was made for a client.
async fn made(store: &Store, client: &ClientId, topic_id: &str) {
    let topic = MadeTopic { id: client.clone(), topic_id: topic_id.to_owned(), settings: OwnSettings::default() };
    store.set_topics(&Actor::reconciler(), &[topic], NOW).await.unwrap();
}

/// What the audit log has of a subject, in the order in which it happened.
async fn audited(store: &Store, subject: &str) -> Vec<String> {
    let rows = store.audit_log(Some(subject), None, 1000).await.unwrap();
    rows.into_iter().rev().map(|row| row.what).collect()
}

//! Kafka is down, the database is locked: it is said, and it goes on when that is over.

use crate::database::Database;
use crate::system::{until, Place, System};
use crate::{id, operator};
use sqlx::{Connection, Executor};
use std::collections::BTreeSet;
use std::time::Instant;
use tel_control::onboarding::{clients, credentials};
use tel_control::reconcile::{self, Role};
use tel_control::store::{Step, StepState};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_is_down_and_comes_back() {
    let place = Place::own().await;
    place.configure("tel.db", r#"{"full_pass_seconds": 1}"#);
    let system = place.start().await;
    clients::subscribe(&system.app, &operator(), &id("before"), None).await.unwrap();
    system.await_listed("before").await;

    place.broker().stop();
    clients::subscribe(&system.app, &operator(), &id("during"), None).await.unwrap();
    credentials::issue(&system.app, &operator(), &id("before"), None).await.unwrap();
    clients::subscribe(&system.app, &operator(), &id("gone"), None).await.unwrap();
    for (client, step) in [("during", Step::Topic), ("before", Step::Acls)] {
        let detail = system.await_step(client, step, StepState::Failed).await;
        assert!(!detail.is_empty(), "{client}");
    }
    clients::unsubscribe(&system.app, &operator(), &id("gone")).await.unwrap();
    assert!(reconcile::status(&system.app).kafka.is_some());
    assert_eq!(system.step("during", Step::List).await.0, StepState::Pending);

    place.broker().start_again();
    let back = Instant::now();
    system.await_listed("during").await;
    system.await_listed("before").await;
    println!("Kafka is back: all is done {:?} later", back.elapsed());
    system.await_step("gone", Step::AclsRemoved, StepState::Done).await;
    assert_eq!(place.listed(), ["before", "during"]);
    assert!(place.topic("logs.gone").is_none());
    until("its rights", || async { place.rights("User:CN=before:1").len() == 2 }).await;
    assert_eq!(reconcile::status(&system.app).kafka, None);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_locked_for_a_while() {
    let place = Place::on_shared().await;
    let system = place.start().await;
    clients::subscribe(&system.app, &operator(), &id("first"), None).await.unwrap();
    system.await_listed("first").await;

    // Another program writes, from before the reconciler does until it has given up waiting.
    clients::subscribe(&system.app, &operator(), &id("second"), None).await.unwrap();
    let url = format!("sqlite://{}", place.folder.join("tel.db").display());
    let mut other = sqlx::AnyConnection::connect(&url).await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    until("it is said", || async { reconcile::status(&system.app).database.is_some() }).await;
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();

    system.await_listed("second").await;
    clients::subscribe(&system.app, &operator(), &id("third"), None).await.unwrap();
    system.await_listed("third").await;
    until("that is over", || async { reconcile::status(&system.app).database.is_none() }).await;
    let status = reconcile::status(&system.app);
    assert_eq!((status.role, place.listed().len()), (Role::Leading, 3), "{status:?}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_one_leads_and_the_other_takes_over() {
    let database = Database::postgres();
    let place = Place::on_shared().await;
    place.configure("unused.db", &serde_json::json!({ "database": database.url() }).to_string());
    let (first, second) = (place.start().await, place.start().await);
    let role = |system: &System| reconcile::status(&system.app).role;
    let roles = || BTreeSet::from([format!("{:?}", role(&first)), format!("{:?}", role(&second))]);
    until("one leads", || async { roles() == BTreeSet::from(["Leading".into(), "Standby".into()]) }).await;
    let (leader, other) = if role(&first) == Role::Leading { (first, second) } else { (second, first) };

    // Whichever is asked.
    let begun = Instant::now();
    clients::subscribe(&other.app, &operator(), &id("asked"), None).await.unwrap();
    other.await_listed("asked").await;
    println!("asked of the one that stands by: listed after {:?}", begun.elapsed());
    let begun = Instant::now();
    leader.stop().await;
    clients::subscribe(&other.app, &operator(), &id("later"), None).await.unwrap();
    other.await_listed("later").await;
    println!("the other one leads, and has listed a client after {:?}", begun.elapsed());
    assert_eq!(role(&other), Role::Leading);
    assert_eq!(place.listed(), ["asked", "later"]);
    other.stop().await;
}

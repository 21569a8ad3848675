//! Many clients: the bounds of the issue, measured.

use crate::system::{until, Place};
use crate::{id, operator};
use std::time::{Duration, Instant};
use tel_control::app::now;
use tel_control::names::ClientId;
use tel_control::onboarding::clients;
use tel_control::reconcile;
use tel_control::store::{ClientSettings, Step, StepState};

/// The issue's, for both.
const BOUND: Duration = Duration::from_secs(60);

fn ids(prefix: &str, count: usize) -> Vec<(ClientId, ClientSettings)> {
    (0..count).map(|n| (id(&format!("{prefix}-{n:05}")), ClientSettings::default())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_with_credentials_are_brought_up_from_empty() {
    let place = Place::in_memory().await;
    let app = place.app().await;
    let new = ids("many", 1000);
    clients::import(&app, &operator(), new.clone()).await.unwrap();
    for (client, _) in &new {
        // The certificates are made before: what is measured is Kafka.
        let credential = app.store().issue_credential(&operator(), client, now()).await.unwrap();
        let end = now() + 365 * 24 * 3_600_000;
        app.store().certify_credential(&operator(), client, credential.generation, "aa", end, now()).await.unwrap();
    }
    let begun = Instant::now();
    let system = crate::system::System::start(app);
    until("all are listed", || async { place.topic("tel.clients").is_some() && place.listed().len() == 1000 }).await;
    for (client, _) in new.iter().rev().take(1).chain(&new[..1]) {
        system.await_listed(client.as_str()).await;
    }
    let took = begun.elapsed();
    println!("1,000 clients with credentials from empty: {took:?}");
    assert!(took < BOUND, "{took:?}");
    until("all rights", || async { reconcile::plan(&system.app).await.unwrap().is_empty() }).await;
    let list = place.list();
    system.ack("edge-1", Some(&list)).await;
    let begun = Instant::now();
    until("all are active", || async { system.app.store().waiting_for_edges(None, 1).await.unwrap().is_empty() }).await;
    println!("1,000 clients active {:?} after the edge has said that it has them", begun.elapsed());
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_are_compared() {
    let place = Place::in_memory().await;
    place.configure("tel.db", r#"{"full_pass_seconds": 20, "topic": {"partitions": 1}}"#);
    let app = place.app().await;
    let new = ids("drift", 10_000);
    for part in new.chunks(1000) {
        clients::import(&app, &operator(), part.to_vec()).await.unwrap();
    }
    let begun = Instant::now();
    let system = crate::system::System::start(app);
    let deadline = begun + Duration::from_secs(900);
    while system.app.store().due(now(), 1).await.unwrap().len() + usize::from(place.topic("tel.clients").is_none()) > 0
    {
        assert!(Instant::now() < deadline, "{:?}", reconcile::status(&system.app));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("10,000 clients from empty: {:?}", begun.elapsed());
    assert_eq!(place.listed().len(), 10_000);
    system.await_pass().await;
    system.await_pass().await;
    let pass = reconcile::status(&system.app).last_pass.unwrap();
    println!("a full pass over {} clients: {} ms", pass.clients, pass.took_ms);
    assert_eq!((pass.clients, pass.differing), (10_000, 0));
    assert!(Duration::from_millis(pass.took_ms) < BOUND, "{pass:?}");

    // Drift is found, and somebody who subscribes meanwhile does not wait for it.
    crate::system::delete_topics(place.broker(), &["logs.drift-00000", "logs.drift-09999"]).await;
    let begun = Instant::now();
    clients::subscribe(&system.app, &operator(), &id("late"), None).await.unwrap();
    system.await_listed("late").await;
    println!("one more client beside 10,000: listed after {:?}", begun.elapsed());
    until("the topics are back", || async {
        place.topic("logs.drift-00000").is_some() && place.topic("logs.drift-09999").is_some()
    })
    .await;
    system.await_step("drift-09999", Step::Topic, StepState::Done).await;
    system.stop().await;
}

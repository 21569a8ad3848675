//! Many clients, measured against their bounds.

use crate::system::{until, Place, System};
use crate::{id, operator};
use std::time::{Duration, Instant};
use tel_control::app::{now, App};
use tel_control::names::ClientId;
use tel_control::onboarding::clients;
use tel_control::reconcile;
use tel_control::store::{ClientSettings, Step, StepState};

/// For a thousand from empty, and for a pass over ten thousand.
const BOUND: Duration = Duration::from_secs(60);

/// Far longer than Kafka takes to make 10,000 clients from empty.
const BUILD: Duration = Duration::from_secs(900);

fn ids(prefix: &str, count: usize) -> Vec<(ClientId, ClientSettings)> {
    (0..count).map(|n| (id(&format!("{prefix}-{n:05}")), ClientSettings::default())).collect()
}

/// One credential each, without its certificate: rights come from the number alone, and what is measured is Kafka.
async fn give_credentials(app: &App, clients: &[(ClientId, ClientSettings)]) {
    for (client, _) in clients {
        app.store().issue_credential(&operator(), client, now()).await.unwrap();
    }
}

/// Waits until nothing is left to be done but what edges do.
async fn await_done(place: &Place, system: &System, clients: usize) {
    let deadline = Instant::now() + BUILD;
    loop {
        let is_idle = system.app.store().due(now(), 1).await.unwrap().is_empty();
        if is_idle && place.topic("tel.clients").is_some() && place.listed().len() == clients {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", reconcile::status(&system.app));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What has failed is not due until it is tried again.
    until("Kafka has all that is wanted", || async { reconcile::plan(&system.app).await.unwrap().is_empty() }).await;
}

/// A client may read its topic, and be in its groups.
fn assert_rights(place: &Place, client: &ClientId) {
    assert_eq!(place.rights(&format!("User:CN={client}:1")).len(), 2, "{client}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_with_credentials_are_brought_up_from_empty() {
    let place = Place::in_memory().await;
    let app = place.app().await;
    let new = ids("many", 1000);
    clients::import(&app, &operator(), new.clone()).await.unwrap();
    give_credentials(&app, &new).await;
    let begun = Instant::now();
    let system = System::start(app);
    await_done(&place, &system, new.len()).await;
    let took = begun.elapsed();
    println!("1,000 clients with credentials from empty, with all their rights: {took:?}");
    for (client, _) in [&new[0], &new[999]] {
        assert_rights(&place, client);
    }
    assert!(took < BOUND, "{took:?}");
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
    give_credentials(&app, &new).await;
    println!("10,000 credentials: {:?}", begun.elapsed());
    let begun = Instant::now();
    let system = System::start(app);
    await_done(&place, &system, new.len()).await;
    println!("10,000 clients with their rights from empty: {:?}", begun.elapsed());
    for (client, _) in [&new[0], &new[9999]] {
        assert_rights(&place, client);
    }
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

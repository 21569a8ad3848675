//! A client from its first day to its last.

use crate::system::{until, Place, System};
use crate::{edge, id, operator};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, Instant};
use tel_control::app::{now, App};
use tel_control::ca::IssuedCredential;
use tel_control::kafka::admin::{ConfigOf, TopicId};
use tel_control::kafka::quotas::{self, Limit};
use tel_control::onboarding::{clients, credentials, edges};
use tel_control::store::{
    Added, Certificate, ClientSettings, CredentialState, Desired, MadeTopic, OwnSettings, Step, StepState,
};

const NOTHING: [String; 0] = [];
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_brought_up_and_is_active_when_all_edges_have_it() {
    let place = Place::on_shared().await;
    place.configure("tel.db", r#"{"quota": {"consumer_bytes_per_second": 1000000}}"#);
    let system = place.start().await;
    until("it leads", || async { system_leads(&system) }).await;
    let settings = ClientSettings {
        sample: Some(0.5),
        max_lines_per_second: Some(9),
        partitions: Some(2),
        retention_ms: Some(3_600_000),
    };
    let begun = Instant::now();
    clients::subscribe(&system.app, &operator(), &id("up"), Some(settings)).await.unwrap();
    system.await_listed("up").await;
    println!("from the request to the list: {:?}", begun.elapsed());

    let topic = place.topic("logs.up").expect("its topic");
    assert_eq!(topic.partitions, 2);
    let of = [ConfigOf::Topic("logs.up".into())];
    let names = ["cleanup.policy", "retention.bytes", "retention.ms", "segment.ms"];
    let config = place.admin().describe_configs(&of, &names).unwrap().remove(0).unwrap();
    let config: Vec<_> = config.into_iter().map(|entry| (entry.name, entry.value.unwrap())).collect();
    let wanted = [
        ("cleanup.policy", "delete"),
        ("retention.bytes", "-1"),
        ("retention.ms", "3600000"),
        ("segment.ms", "3600000"),
    ];
    for (name, value) in wanted {
        assert!(config.contains(&(name.into(), value.into())), "{config:?}");
    }
    let client = system.app.store().client(&id("up")).await.unwrap().unwrap();
    assert_eq!(client.topic_id.as_deref(), Some(topic.id.as_str()));
    let listed = &place.list().clients["up"];
    assert_eq!((listed.topic.as_str(), listed.sample, listed.max_lines_per_second), ("logs.up", Some(0.5), Some(9)));

    // The edges: none, then two of which one is behind.
    let detail = system.await_step("up", Step::Edges, StepState::Pending).await;
    assert!(detail.contains("no edge"), "{detail}");
    let list = place.list();
    let before = tel_control::kafka::list::ListState {
        position: tel_control::kafka::list::Position { offset: 1, ..list.position.clone() },
        ..list.clone()
    };
    system.ack("one", Some(&list)).await;
    system.await_step("up", Step::Edges, StepState::Done).await;
    system.ack("two", Some(&before)).await;
    clients::subscribe(&system.app, &operator(), &id("up2"), None).await.unwrap();
    system.await_listed("up2").await;
    until("none has it", || async { system.step("up2", Step::Edges).await.1 == "0 of 2 edges" }).await;
    let list = place.list();
    system.ack("one", Some(&list)).await;
    until("one has it", || async { system.step("up2", Step::Edges).await.1 == "1 of 2 edges" }).await;
    assert_eq!(system.view("up2").await.state, "pending");
    system.ack("two", Some(&list)).await;
    system.await_step("up2", Step::Edges, StepState::Done).await;
    assert_eq!(system.view("up2").await.state, "active");

    // A credential has its rights, and its quota.
    let principal = "User:CN=up:1";
    credentials::issue(&system.app, &operator(), &id("up"), None).await.unwrap();
    system.await_step("up", Step::Acls, StepState::Done).await;
    until("its rights", || async { place.rights(principal).len() == 2 }).await;
    let quota = || quotas::describe(system.app.connection()).unwrap().remove(principal).unwrap_or_default();
    until("its quota", || async { quota().get(&Limit::ConsumerBytes) == Some(&1e6) }).await;
    credentials::revoke(&system.app, &operator(), &id("up"), 1, "test").await.unwrap();
    until("no rights", || async { place.rights(principal) == NOTHING }).await;
    until("no quota", || async { quota().is_empty() }).await;

    // Other settings.
    let settings = ClientSettings { partitions: Some(3), retention_ms: Some(7_200_000), ..Default::default() };
    clients::change_settings(&system.app, &operator(), &id("up"), &settings, None).await.unwrap();
    system.await_listed("up").await;
    until("three partitions", || async { place.topic("logs.up").unwrap().partitions == 3 }).await;
    assert_eq!(place.list().clients["up"].sample, None);
    assert_eq!(place.topic("logs.up").unwrap().id, topic.id);
    system.stop().await;
}

fn system_leads(system: &System) -> bool {
    tel_control::reconcile::status(&system.app).role == tel_control::reconcile::Role::Leading
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_is_undone_or_ends_with_the_topic_s_deletion() {
    let place = Place::on_shared().await;
    let system = place.start().await;
    let app = &system.app;
    clients::subscribe(app, &operator(), &id("leaver"), None).await.unwrap();
    credentials::issue(app, &operator(), &id("leaver"), None).await.unwrap();
    system.await_listed("leaver").await;
    let first = place.topic("logs.leaver").unwrap().id;

    clients::unsubscribe(app, &operator(), &id("leaver")).await.unwrap();
    system.await_step("leaver", Step::AclsRemoved, StepState::Done).await;
    assert_eq!((place.listed(), place.list().marker.unwrap().clients), (vec![], 0));
    assert_eq!(place.rights("User:CN=leaver:1"), NOTHING);
    assert_eq!(system.view("leaver").await.state, "leaving");
    assert_eq!(system.step("leaver", Step::TopicDeleted).await.0, StepState::Pending);
    assert_eq!(place.topic("logs.leaver").unwrap().id, first, "kept for the grace period");

    assert_eq!(clients::subscribe(app, &operator(), &id("leaver"), None).await.unwrap(), Added::Back);
    system.await_listed("leaver").await;
    assert_eq!((place.listed(), place.rights("User:CN=leaver:1").len()), (vec!["leaver".to_owned()], 2));
    assert_eq!(place.topic("logs.leaver").unwrap().id, first);
    system.stop().await;

    // Without a grace period.
    place.configure("tel.db", r#"{"grace_period_hours": 0}"#);
    let system = place.start().await;
    let app = &system.app;
    place.create_topic("logs.others").await;
    clients::unsubscribe(app, &operator(), &id("leaver")).await.unwrap();
    until("it is forgotten", || async { app.store().client(&id("leaver")).await.unwrap().is_none() }).await;
    until("its topic is gone", || async { place.topic("logs.leaver").is_none() }).await;
    assert!(place.topic("logs.others").is_some());
    assert_eq!(place.listed(), NOTHING);
    let log = system.audited("leaver").await;
    assert_eq!(log.iter().filter(|what| *what == "topic.delete" || *what == "client.forget").count(), 2, "{log:?}");

    // A topic of another id stays, and is told.
    clients::subscribe(app, &operator(), &id("leaver"), None).await.unwrap();
    system.await_listed("leaver").await;
    let recorded = place.topic("logs.leaver").unwrap().id;
    assert_ne!(recorded, first);
    let client = app.store().client(&id("leaver")).await.unwrap().unwrap();
    let other = MadeTopic { id: client.id, topic_id: "A".repeat(22), settings: OwnSettings::default() };
    app.store().set_topics(&operator(), &[other], now()).await.unwrap();
    clients::unsubscribe(app, &operator(), &id("leaver")).await.unwrap();
    let detail = system.await_step("leaver", Step::TopicDeleted, StepState::Failed).await;
    assert!(detail.contains("made anew") && detail.contains(recorded.as_str()), "{detail}");
    let client = app.store().client(&id("leaver")).await.unwrap().unwrap();
    assert!(matches!(client.desired, Desired::Leaving { deleting: false, .. }), "{client:?}");
    assert_eq!(place.topic("logs.leaver").unwrap().id, recorded);
    // Until an operator says whose it is.
    tel_control::reconcile::take_over_topic(app, &operator(), &id("leaver")).await.unwrap();
    until("it is forgotten", || async { app.store().client(&id("leaver")).await.unwrap().is_none() }).await;
    until("its topic is gone", || async { place.topic("logs.leaver").is_none() }).await;
    assert_ne!(TopicId::from_text("AAAAAAAAAAAAAAAAAAAAAA"), recorded);
    system.stop().await;
}

/// A client's consumer, of whose fetches each waits for lines at the broker for so long.
fn reading(app: &App, id: &str, credential: &IssuedCredential, wait: Duration) -> BaseConsumer {
    let kafka = &app.config().kafka;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka["bootstrap.servers"].clone())
        .set("security.protocol", "ssl")
        .set("broker.address.family", "v4")
        .set("ssl.ca.location", kafka["ssl.ca.location"].clone())
        .set("ssl.certificate.pem", &credential.certificate_pem)
        .set("ssl.key.pem", credential.key_pem.as_ref().unwrap().text().to_owned())
        .set("group.id", format!("{id}:test"))
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", wait.as_millis().to_string())
        .set("socket.timeout.ms", "300000")
        .create()
        .unwrap();
    consumer.subscribe(&[&format!("logs.{id}")]).unwrap();
    consumer
}

/// What a consumer has got since it was asked last: lines, and whether it was refused.
fn got(consumer: &BaseConsumer, lines: &mut Vec<String>) -> bool {
    match consumer.poll(Duration::from_millis(10)) {
        Some(Ok(message)) => {
            lines.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
            false
        }
        Some(Err(KafkaError::MessageConsumption(code))) => format!("{code:?}").contains("AuthorizationFailed"),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_credential_gets_one_parked_fetch_at_most_and_is_refused_within_a_second() {
    const REFUSED: Duration = Duration::from_secs(1);
    let place = Place::on_shared().await;
    let system = place.start().await;
    let app = &system.app;
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", place.broker().plain()).set("linger.ms", "0").create().unwrap();
    // The last is the longest that there is.
    for wait in [100, 500, 300_000].map(Duration::from_millis) {
        let name = format!("reader{}", wait.as_millis());
        let write = |line: &str| {
            producer.send(BaseRecord::<(), str>::to(&format!("logs.{name}")).payload(line)).unwrap();
            producer.flush(crate::system::PATIENCE).unwrap();
        };
        clients::subscribe(app, &operator(), &id(&name), None).await.unwrap();
        let issued = credentials::issue(app, &operator(), &id(&name), None).await.unwrap();
        system.await_listed(&name).await;
        write("before");
        let consumer = reading(app, &name, &issued.credential, wait);
        let mut lines = Vec::new();
        let deadline = Instant::now() + crate::system::PATIENCE;
        while lines.is_empty() {
            assert!(Instant::now() < deadline, "{name}: no line");
            // A new credential may be refused at first.
            got(&consumer, &mut lines);
        }
        assert_eq!(lines, ["before"]);

        let begun = Instant::now();
        credentials::revoke(app, &operator(), &id(&name), issued.generation, "lost").await.unwrap();
        let watched = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            while !got(&consumer, &mut lines) {
                assert!(begun.elapsed() < crate::system::PATIENCE, "it goes on");
            }
            (consumer, lines, Instant::now())
        });
        // A fetch that waits longer than that ends with the first line.
        if wait > REFUSED {
            until("no rights", || async { place.rights(&format!("User:CN={name}:1")) == NOTHING }).await;
            write("parked");
        }
        let parked = begun.elapsed().min(wait);
        let (consumer, mut lines, refused) = watched.await.unwrap();
        let refused = refused - begun;
        println!("fetches that wait for {wait:?}: refused {refused:?} after the revocation, with {lines:?}");
        assert!(refused < parked + REFUSED, "{name}: {refused:?}");
        assert_eq!(place.rights(&format!("User:CN={name}:1")), NOTHING);
        write("after");
        let over = Instant::now() + 2 * REFUSED;
        while Instant::now() < over {
            got(&consumer, &mut lines);
        }
        assert!(lines.iter().all(|line| line == "parked") && lines.len() <= 1, "{name}: {lines:?}");
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_have_rights_as_long_as_they_are_live() {
    let place = Place::on_shared().await;
    let system = place.start().await;
    let principal = "User:CN=edge:north";
    edges::certify(&system.app, &operator(), &edge("north"), None).await.unwrap();
    until("its rights", || async { place.rights(principal).len() == 3 }).await;
    // One that has only been named by somebody gets none.
    system.ack("rumoured", None).await;
    edges::retire(&system.app, &operator(), &edge("north")).await.unwrap();
    until("no rights", || async { place.rights(principal) == NOTHING }).await;
    assert_eq!(place.rights("User:CN=edge:rumoured"), NOTHING);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_end_when_they_are_not_used_or_expire() {
    let place = Place::on_shared().await;
    let app = place.app().await;
    for minutes in (0..=26 * 60).rev().step_by(5) {
        app.store().note_look(now() - minutes * MINUTE).await.unwrap();
    }
    // Of this client it cannot be told what it uses.
    let unclear = id("unclear");
    clients::subscribe(&app, &operator(), &unclear, None).await.unwrap();
    app.store().issue_credential(&operator(), &unclear, now() - 26 * HOUR).await.unwrap();
    app.store().note_use_unknown(&unclear, now() - HOUR).await.unwrap();
    app.store().close().await;
    let system = place.start_whole().await;
    let store = system.app.store();
    let ends = id("ends");
    clients::subscribe(&system.app, &operator(), &ends, None).await.unwrap();
    for made in [now() - 25 * HOUR, now(), now(), now()] {
        store.issue_credential(&operator(), &ends, made).await.unwrap();
    }
    let certify = |generation, end| {
        let (store, ends) = (store.clone(), ends.clone());
        let made = Certificate { fingerprint: "f", not_after: end, pem: "f" };
        async move { store.certify_credential(&operator(), &ends, generation, &made, now()).await.unwrap() }
    };
    certify(2, now() + 2000).await;
    certify(3, now() + 20 * HOUR).await;
    let rights = |generation: u32| place.rights(&format!("User:CN=ends:{generation}")).len();
    until("that of yesterday is revoked", || async {
        let all = store.credentials(&ends).await.unwrap();
        all.iter().any(|it| it.generation == 1 && it.state == CredentialState::Revoked)
    })
    .await;
    assert_eq!(store.credentials(&unclear).await.unwrap()[0].state, CredentialState::Issued);
    until("and the one that has expired has no rights", || async { (1..=4).map(rights).eq([0, 0, 2, 2]) }).await;
    system.stop().await;

    // One that expires while nobody reconciles.
    let app = place.app().await;
    let made = Certificate { fingerprint: "f", not_after: now() - 1, pem: "f" };
    app.store().certify_credential(&operator(), &ends, 4, &made, now()).await.unwrap();
    app.store().close().await;
    let system = place.start().await;
    until("it has none either", || async { (1..=4).map(rights).eq([0, 0, 2, 0]) }).await;
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_in_which_nobody_looked_makes_no_credential_unused() {
    let place = Place::on_shared().await;
    let app = place.app().await;
    // It ran until three days ago.
    app.store().note_look(now() - 72 * HOUR).await.unwrap();
    let away = id("away");
    clients::subscribe(&app, &operator(), &away, None).await.unwrap();
    for made in [now() - 71 * HOUR, now()] {
        app.store().issue_credential(&operator(), &away, made).await.unwrap();
    }
    app.store().close().await;
    let begun = now();
    let system = place.start_whole().await;
    let store = system.app.store();
    let rights = |generation: u32| place.rights(&format!("User:CN=away:{generation}")).len();
    until("both have their rights", || async { (1..=2).map(rights).eq([2, 2]) }).await;
    until("a look", || async { store.looks().await.unwrap().is_some_and(|looks| looks.since >= begun) }).await;
    // What has expired and what is unused end in one go.
    let made = Certificate { fingerprint: "f", not_after: now() + 1, pem: "f" };
    store.certify_credential(&operator(), &away, 2, &made, now()).await.unwrap();
    until("the other has expired", || async { rights(2) == 0 }).await;
    assert_eq!(rights(1), 2);
    let first = store.credentials(&away).await.unwrap().pop().unwrap();
    assert_eq!((first.generation, first.state), (1, CredentialState::Issued));
    system.stop().await;
}

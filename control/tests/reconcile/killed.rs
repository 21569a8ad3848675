//! The process is killed at each place of each operation: whoever starts next brings it to its end, nothing is there twice, and
//! nothing of others is touched.

use crate::system::{until, Place, System};
use crate::{id, operator};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tel_control::app::App;
use tel_control::config::Config;
use tel_control::kafka::admin::{Acl, Operation, Pattern, ResourceType};
use tel_control::kafka::quotas::{self, Limit, QuotaChange};
use tel_control::onboarding::{clients, credentials};
use tel_control::store::{CredentialState, Step, StepState};

/// When set, this process is the one that is killed: the configuration it runs with.
const VICTIM: &str = "TEL_RECONCILE_VICTIM";
/// With a quota, so that it has all steps; without a grace period, so that it comes to its end.
pub const WITH: &str = r#"{"quota": {"consumer_bytes_per_second": 4096}, "grace_period_hours": 0}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Ok(config) = std::env::var(VICTIM) else { return };
    let app = App::open(Config::read(config.as_ref()).unwrap()).await.unwrap();
    let _running = System::start(app);
    std::future::pending::<()>().await;
}

/// Runs a process on the place's database until it is at `halt`, and kills it there.
pub fn kill_at(place: &Place, halt: &str) {
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "killed::victim", "--nocapture"]).env(VICTIM, place.config_path());
    kill_when_halted(halting(&mut victim, halt), halt);
}

/// Starts a process that stops at `halt`.
pub fn halting(command: &mut Command, halt: &str) -> Child {
    command.env("TEL_CONTROL_HALT", halt).stdout(Stdio::piped()).spawn().unwrap()
}

/// Kills it once it has stopped there.
pub fn kill_when_halted(mut victim: Child, halt: &str) {
    let halted = format!("halted at {halt}");
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let came = lines.map_while(Result::ok).any(|line| line.contains(&halted));
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(came, "it ended before {halt}");
}

/// What is not tel-control's: a topic in its namespace, one outside, somebody's right and quota.
pub struct Others {
    before: (Vec<String>, Vec<String>, Option<f64>),
}

const ALICE: &str = "User:CN=alice";

impl Others {
    pub async fn make(place: &Place, app: &App) -> Others {
        place.create_topic("logs.bystander").await;
        place.create_topic("bystander").await;
        let right = Acl::allow(ALICE, Operation::Read, ResourceType::Topic, Pattern::Prefixed, "logs.");
        place.admin().create_acls(&[right]).unwrap().remove(0).unwrap();
        let quota = QuotaChange { principal: ALICE.into(), limit: Limit::ConsumerBytes, bytes_per_second: Some(77.0) };
        quotas::alter(app.connection(), &[quota]).unwrap().remove(0).unwrap();
        Others { before: Others::now(place, app) }
    }

    fn now(place: &Place, app: &App) -> (Vec<String>, Vec<String>, Option<f64>) {
        let topics = ["logs.bystander", "bystander"].map(|name| place.topic(name).expect("it is there").id.to_string());
        let quota = quotas::describe(app.connection()).unwrap().remove(ALICE).unwrap_or_default();
        (topics.to_vec(), place.rights(ALICE), quota.get(&Limit::ConsumerBytes).copied())
    }

    pub fn are_untouched(&self, place: &Place, app: &App) {
        assert_eq!(Others::now(place, app), self.before);
    }
}

/// Whoever starts next brings the client to where nothing is left to be done.
pub async fn ends_well(place: &Place, client: &str) {
    let system = place.start().await;
    system.await_listed(client).await;
    system.await_pass().await;
    let known = system.app.store().client(&id(client)).await.unwrap().unwrap();
    let topic = place.topic(&known.topic).expect("its topic");
    assert_eq!(known.topic_id.as_deref(), Some(topic.id.as_str()));
    assert!(place.listed().contains(&client.to_owned()));
    for credential in system.app.store().credentials(&id(client)).await.unwrap() {
        let principal = format!("User:CN={client}:{}", credential.generation);
        let live = credential.state != CredentialState::Revoked;
        until("its rights", || async { place.rights(&principal).len() == if live { 2 } else { 0 } }).await;
        let quota = || quotas::describe(system.app.connection()).unwrap().remove(&principal).unwrap_or_default();
        until("its quota", || async { quota().is_empty() != live }).await;
    }
    let log = system.audited(client).await;
    let came = log.iter().filter(|what| ["topic.create", "topic.take-over"].contains(&what.as_str()));
    assert_eq!(came.count(), 1, "{log:?}");
    let plan = tel_control::reconcile::plan(&system.app).await.unwrap();
    assert!(plan.is_empty() && plan.conflicts.is_empty() && plan.strange.is_empty(), "{plan:#?}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_brings_a_client_up() {
    let place = Place::on_shared().await;
    place.configure("tel.db", WITH);
    let app = place.app().await;
    let others = Others::make(&place, &app).await;
    app.store().close().await;
    for halt in [
        "marker-renewed",
        "settings-noted",
        "topics-applied",
        "topics-recorded",
        "rights-applied",
        "quotas-applied",
        "list-published",
        "list-recorded",
    ] {
        let client = format!("k-{halt}");
        let app = place.app().await;
        clients::subscribe(&app, &operator(), &id(&client), None).await.unwrap();
        credentials::issue(&app, &operator(), &id(&client), None).await.unwrap();
        app.store().close().await;
        kill_at(&place, halt);
        ends_well(&place, &client).await;
    }
    let app = place.app().await;
    others.are_untouched(&place, &app);
    app.store().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_changes_settings_or_takes_rights() {
    let place = Place::on_shared().await;
    place.configure("tel.db", WITH);
    let app = place.app().await;
    clients::subscribe(&app, &operator(), &id("k-change"), None).await.unwrap();
    for _ in 0..2 {
        credentials::issue(&app, &operator(), &id("k-change"), None).await.unwrap();
    }
    app.store().close().await;
    ends_well(&place, "k-change").await;
    // Each change is made on one that was cut short before it was noted.
    for (halt, retention) in [("settings-noted", 100_000), ("topics-applied", 200_000), ("topics-recorded", 300_000)] {
        let app = place.app().await;
        let settings = tel_control::store::ClientSettings { retention_ms: Some(retention), ..Default::default() };
        clients::change_settings(&app, &operator(), &id("k-change"), &settings, None).await.unwrap();
        app.store().close().await;
        kill_at(&place, halt);
    }
    ends_well(&place, "k-change").await;
    for (halt, generation) in [("rights-applied", 1), ("quotas-applied", 2)] {
        let app = place.app().await;
        credentials::revoke(&app, &operator(), &id("k-change"), generation, "test").await.unwrap();
        app.store().close().await;
        kill_at(&place, halt);
        ends_well(&place, "k-change").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_client_leaves_and_its_topic_is_deleted() {
    let place = Place::on_shared().await;
    place.configure("tel.db", WITH);
    let app = place.app().await;
    let others = Others::make(&place, &app).await;
    let halts = ["list-removed", "rights-applied", "quotas-applied", "deletion-begun", "topics-deleted"];
    for halt in halts {
        let client = id(&format!("k-{halt}"));
        clients::subscribe(&app, &operator(), &client, None).await.unwrap();
        credentials::issue(&app, &operator(), &client, None).await.unwrap();
    }
    app.store().close().await;
    for halt in halts {
        let client = format!("k-{halt}");
        ends_well(&place, &client).await;
        let app = place.app().await;
        clients::unsubscribe(&app, &operator(), &id(&client)).await.unwrap();
        app.store().close().await;
        kill_at(&place, halt);
        let system = place.start().await;
        until("it is forgotten", || async { system.app.store().client(&id(&client)).await.unwrap().is_none() }).await;
        until("its topic is gone", || async { place.topic(&format!("logs.{client}")).is_none() }).await;
        let principal = format!("User:CN={client}:1");
        until("its rights are gone", || async { place.rights(&principal).is_empty() }).await;
        assert!(!place.listed().contains(&client));
        let log = system.audited(&client).await;
        let count = |what: &str| log.iter().filter(|row| *row == what).count();
        assert_eq!((count("topic.delete"), count("client.forget")), (1, 1), "{log:?}");
        others.are_untouched(&place, &system.app);
        system.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_restored_database_takes_over() {
    let place = Place::on_shared().await;
    let system = place.start().await;
    let backup = place.folder.join("backup.db");
    system.app.store().backup(&backup).await.unwrap();
    clients::subscribe(&system.app, &operator(), &id("k-adopted"), None).await.unwrap();
    system.await_listed("k-adopted").await;
    system.stop().await;
    place.restore(&backup);
    kill_at(&place, "recovered");
    kill_at(&place, "marker-renewed");
    let system = place.start().await;
    system.await_listed("k-adopted").await;
    system.await_step("k-adopted", Step::Acls, StepState::Done).await;
    system.await_pass().await;
    assert_eq!(place.listed(), ["k-adopted"]);
    let log = system.audited("k-adopted").await;
    assert_eq!(log.iter().filter(|what| *what == "client.adopt").count(), 1, "{log:?}");
    system.stop().await;
}

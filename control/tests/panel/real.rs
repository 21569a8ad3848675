//! The panel in front of the whole: a real Kafka, the reconciler, edges that report to it, and a client's own consumers.

use crate::broker::Broker;
use crate::browser::{drive, serve};
use crate::id;
use crate::site::Site;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::Router;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tel_control::app::{now, App};
use tel_control::onboarding::credentials;
use tel_control::store::Actor;
use tel_control::{observe, reconcile};
use tokio::sync::watch;

const EDGES: u64 = 5;

/// What the browser's script acts on.
#[derive(Clone)]
struct World {
    app: App,
    producer: Arc<BaseProducer>,
    /// Edges that have the list.
    current: Arc<AtomicU64>,
    /// Lines that edges have counted.
    lines: Arc<AtomicU64>,
    credential: Arc<Mutex<Option<(String, String)>>>,
    over: Arc<AtomicBool>,
}

impl World {
    /// Each edge says every second how far it is.
    async fn report(self) {
        while !self.over.load(Ordering::Relaxed) {
            let client = self.app.store().client(&id("c83")).await.unwrap();
            let listed = client.and_then(|client| client.listed);
            for n in 1..=EDGES {
                let has_it = n <= self.current.load(Ordering::Relaxed);
                let offset = listed.as_ref().filter(|_| has_it).map_or(0, |listed| listed.offset);
                let topic_id = listed.as_ref().map_or("", |listed| &listed.topic_id);
                let delivered = self.lines.load(Ordering::Relaxed) / EDGES;
                let counted = json!({ "delivered": delivered, "dropped": 0 });
                let edge = format!("edge-{n}");
                let ack = json!({
                    "edge": edge, "topic_id": topic_id, "offset": offset, "rejected": [], "refused": "",
                    "clients": if delivered > 0 { json!({ "c83": counted }) } else { json!({}) },
                    "at_ms": now(), "since_ms": 1, "version": "0.1.0",
                });
                let ack = ack.to_string();
                let record = BaseRecord::to("tel.acks").key(&edge).payload(&ack);
                self.producer.send(record).map_err(|(error, _)| error).unwrap();
            }
            self.producer.poll(Duration::ZERO);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn write(&self, line: &str) {
        let record = BaseRecord::<str, str>::to("logs.c83").payload(line);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    /// A consumer with the client's own certificate.
    async fn consumer(&self, group: &str) -> BaseConsumer {
        let known = self.credential.lock().unwrap().clone();
        let (certificate, key) = match known {
            Some(known) => known,
            None => {
                let made = credentials::issue(&self.app, &Actor::client(&id("c83")), &id("c83"), None).await.unwrap();
                let key = made.credential.key_pem.as_ref().unwrap().text().to_owned();
                let known = (made.credential.certificate_pem.clone(), key);
                *self.credential.lock().unwrap() = Some(known.clone());
                known
            }
        };
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.app.config().public_bootstrap.clone())
            .set("security.protocol", "ssl")
            .set("broker.address.family", "v4")
            .set("ssl.ca.pem", self.app.brokers_ca_pem())
            .set("ssl.certificate.pem", certificate)
            .set("ssl.key.pem", key)
            .set("group.id", group)
            // Among others, that of which certificate a member of a group is.
            .set("client.id", "c83")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("topic.metadata.refresh.interval.ms", "1000")
            .create()
            .unwrap();
        consumer.subscribe(&["logs.c83"]).unwrap();
        consumer
    }
}

async fn act(State(world): State<World>, Path((_, what)): Path<(String, String)>) {
    match what.split(':').collect::<Vec<_>>().as_slice() {
        ["heard"] => {
            while world.app.store().edges_heard(now(), 30_000).await.unwrap().edges().len() < 5 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        ["edges", current] => world.current.store(current.parse().unwrap(), Ordering::Relaxed),
        ["write", count] => {
            let count: u64 = count.parse().unwrap();
            for n in 0..count {
                world.write(&format!("192.0.2.{} - - \"GET /video/{n}.ts HTTP/1.1\" 200 {}", n % 250, 1000 + n));
            }
            world.producer.flush(Duration::from_secs(30)).unwrap();
            world.lines.fetch_add(count, Ordering::Relaxed);
        }
        ["mark"] => {
            world.write("198.51.100.7 - - \"GET /<script>document.title = 'taken'</script>\" 404 0");
            world.producer.flush(Duration::from_secs(30)).unwrap();
        }
        ["wrong-group"] => {
            let consumer = world.consumer("x").await;
            let over = world.over.clone();
            std::thread::spawn(move || {
                for _ in 0..20 {
                    if !over.load(Ordering::Relaxed) {
                        let _ = consumer.poll(Duration::from_millis(500));
                    }
                }
            });
        }
        ["read"] => {
            let consumer = world.consumer("c83:report").await;
            let over = world.over.clone();
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if let Some(Ok(_)) = consumer.poll(Duration::from_millis(100)) {
                        let _ = consumer.commit_consumer_state(CommitMode::Async);
                    }
                }
            });
        }
        other => panic!("the stage knows no {other:?}"),
    }
}

#[test]
fn what_becomes_of_lines_is_said_as_it_is() {
    crate::run(with_everything());
}

async fn with_everything() {
    let broker = Broker::start();
    let site = Site::on(&broker).await;
    let (stop, stopped) = watch::channel(false);
    let reconciling = tokio::spawn(reconcile::run(site.app.clone(), stopped.clone()));
    let observing = tokio::spawn(observe::run(site.app.clone(), stopped));
    let plain = ClientConfig::new().set("bootstrap.servers", broker.plain()).set("linger.ms", "5").clone();
    let world = World {
        app: site.app.clone(),
        producer: Arc::new(plain.create().unwrap()),
        current: Arc::default(),
        lines: Arc::default(),
        credential: Arc::default(),
        over: Arc::default(),
    };
    let reporting = tokio::spawn(world.clone().report());
    let panel = serve(site.router.clone()).await;
    let stage = serve(Router::new().route("/{client}/{what}", post(act)).with_state(world.clone())).await;
    let who = Actor::command_line();
    let client = site.app.store().create_token(&who, "Ada (c83)", Some(&id("c83")), None, now()).await.unwrap();
    let operator = site.app.store().create_token(&who, "Grace", None, None, now()).await.unwrap();
    drive("real.mjs", &panel, &stage, &[("CLIENT_TOKEN", &client.secret), ("OPERATOR_TOKEN", &operator.secret)]).await;
    world.over.store(true, Ordering::Relaxed);
    stop.send_replace(true);
    reporting.await.unwrap();
    reconciling.await.unwrap().unwrap();
    observing.await.unwrap().unwrap();
}

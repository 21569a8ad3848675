//! What is seen of edges and consumers, with a real Kafka, real consumers and its own authorizer's log.

#[path = "../kafka/broker.rs"]
mod broker;
mod edges;
mod reading;
mod scale;

use broker::Broker;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tel_control::app::{now, App};
use tel_control::ca::{Authority, Protection};
use tel_control::config::Config;
use tel_control::error::Result;
use tel_control::kafka::acks;
use tel_control::names::ClientId;
use tel_control::observe;
use tel_control::store::{Actor, ClientSettings, NewClient, Outcome, Step, StepState};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

/// A tel-control that only watches; it ends with the value.
struct Control {
    app: App,
    stop: watch::Sender<bool>,
    watching: Option<JoinHandle<Result<()>>>,
    folder: PathBuf,
}

impl Control {
    /// Opened, and not watching yet.
    async fn open(broker: &Broker) -> Control {
        Control::open_as(broker, "admin").await
    }

    /// The same with the rights of another certificate.
    async fn open_as(broker: &Broker, certificate: &str) -> Control {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("observe-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Authority::create(&folder.join("ca"), "tel clients", Protection::Plain).unwrap();
        let admin = broker.connection(certificate);
        let property = |name: &str| (name.to_owned(), admin.get(name).unwrap().to_owned());
        let names = [
            "bootstrap.servers",
            "security.protocol",
            "broker.address.family",
            "ssl.ca.location",
            "ssl.certificate.location",
            "ssl.key.location",
        ];
        let kafka: std::collections::BTreeMap<String, String> = names.into_iter().map(property).collect();
        let config = serde_json::json!({
            "database": format!("sqlite:{}", folder.join("control.db").display()),
            "kafka": kafka,
            "public_bootstrap": admin.get("bootstrap.servers"),
            "brokers_ca": admin.get("ssl.ca.location"),
            "ca": "ca",
            "authorizer_logs": [log_of(broker)],
            "topic": { "partitions": 2, "retention_ms": 7_200_000 },
        });
        let config = Config::from_json(&config.to_string(), &folder).unwrap();
        let app = App::open(config).await.unwrap();
        Control { app, stop: watch::channel(false).0, watching: None, folder }
    }

    fn watch(&mut self) {
        let (stop, seen) = watch::channel(false);
        self.stop = stop;
        self.watching = Some(tokio::spawn(observe::run(self.app.clone(), seen)));
    }

    async fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(watching) = self.watching.take() {
            watching.await.unwrap().unwrap();
        }
    }

    /// Adds clients for which nothing is left to be done.
    async fn add_active(&self, ids: &[ClientId]) {
        let who = Actor::operator("test");
        for ids in ids.chunks(500) {
            let new: Vec<NewClient> = ids
                .iter()
                .map(|id| NewClient {
                    id: id.clone(),
                    topic: self.app.namespace().topic(id),
                    settings: ClientSettings::default(),
                })
                .collect();
            self.app.store().add_clients(&who, &new, now()).await.unwrap();
            for id in ids {
                self.set_active(id).await;
            }
        }
    }

    async fn set_active(&self, id: &ClientId) {
        let revision = self.app.store().client(id).await.unwrap().unwrap().revision;
        let done = |step: &Step| Outcome {
            id: id.clone(),
            revision,
            step: *step,
            state: StepState::Done,
            detail: String::new(),
            next_try: 0,
        };
        let outcomes: Vec<Outcome> = Step::WANTED.iter().map(done).collect();
        self.app.store().set_steps(&Actor::reconciler(), &outcomes, now()).await.unwrap();
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where the broker's authorizer says what it refuses: its only log here.
fn log_of(broker: &Broker) -> PathBuf {
    let connection = broker.connection("admin");
    let ca = Path::new(connection.get("ssl.ca.location").unwrap());
    ca.parent().and_then(Path::parent).unwrap().join("log")
}

/// Asks until it is so.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> std::result::Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(last) => assert!(Instant::now() < deadline, "never: {what}; last: {last}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// rdkafka's own client with the certificate of that name.
fn client(broker: &Broker, certificate: &str) -> ClientConfig {
    let connection = broker.connection(certificate);
    let mut config = ClientConfig::new();
    for name in [
        "bootstrap.servers",
        "security.protocol",
        "broker.address.family",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
    ] {
        config.set(name, connection.get(name).unwrap());
    }
    config
}

/// A client's consumer, as its bundle has it.
struct Reader(BaseConsumer);

impl Reader {
    fn start(broker: &Broker, certificate: &str, client_id: &str, group: &str, topic: &str) -> Reader {
        let consumer: BaseConsumer = client(broker, certificate)
            .set("client.id", client_id)
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", "10000")
            .set("topic.metadata.refresh.interval.ms", "1000")
            .create()
            .unwrap();
        consumer.subscribe(&[topic]).unwrap();
        Reader(consumer)
    }

    /// Reads so many lines and commits.
    fn read(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        while lines.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} lines", lines.len());
            if let Some(Ok(message)) = self.0.poll(Duration::from_millis(100)) {
                lines.push(String::from_utf8_lossy(message.payload().unwrap()).into_owned());
            }
        }
        self.0.commit_consumer_state(rdkafka::consumer::CommitMode::Sync).unwrap();
        lines
    }

    /// Tries for a moment: Kafka refuses it.
    fn try_to(&self) {
        let _ = self.0.poll(Duration::from_millis(200));
    }
}

/// Writes lines into a topic, as edges would, `ago` before now.
fn write(broker: &Broker, topic: &str, lines: impl Iterator<Item = String>, ago: Duration) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.plain()).create().unwrap();
    let at = now() - i64::try_from(ago.as_millis()).unwrap();
    for (number, line) in lines.enumerate() {
        let partition = i32::try_from(number % 2).unwrap();
        let at = at + i64::try_from(number).unwrap();
        let record = BaseRecord::<(), str>::to(topic).payload(&line).partition(partition).timestamp(at);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Says something in an edge's name, whatever it is.
struct Voice(BaseProducer);

impl Voice {
    fn new(broker: &Broker) -> Voice {
        acks::ensure_topic(&broker.admin(), 1).unwrap();
        Voice(ClientConfig::new().set("bootstrap.servers", broker.plain()).set("linger.ms", "0").create().unwrap())
    }

    fn say(&self, key: &str, value: Option<&str>) {
        self.send(key, value);
        self.wait();
    }

    fn send(&self, key: &str, value: Option<&str>) {
        let mut record = BaseRecord::<str, str>::to("tel.acks").key(key);
        record.payload = value;
        self.0.send(record).map_err(|(error, _)| error).unwrap();
    }

    fn wait(&self) {
        while self.0.in_flight_count() > 0 {
            self.0.poll(Duration::from_millis(1));
        }
    }

    fn ack(&self, edge: &str, offset: i64, since_ms: u64, at_ms: i64, clients: &[(&str, u64, u64)]) {
        self.acks([edge.to_owned()].into_iter(), offset, since_ms, at_ms, clients);
    }

    /// The same of several edges.
    fn acks(
        &self,
        edges: impl Iterator<Item = String>,
        offset: i64,
        since_ms: u64,
        at_ms: i64,
        clients: &[(&str, u64, u64)],
    ) {
        let clients: serde_json::Map<String, serde_json::Value> = clients
            .iter()
            .map(|(id, delivered, dropped)| {
                ((*id).to_owned(), serde_json::json!({ "delivered": delivered, "dropped": dropped }))
            })
            .collect();
        let mut ack = serde_json::json!({
            "edge": "", "topic_id": "list-of-the-test", "offset": offset, "rejected": [], "refused": "", "clients": clients,
            "at_ms": at_ms, "since_ms": since_ms, "version": "0.1.0",
        });
        for edge in edges {
            ack["edge"] = edge.clone().into();
            self.send(&edge, Some(&ack.to_string()));
            // Several megabytes of them may wait, no more.
            if self.0.in_flight_count() > 20 {
                self.wait();
            }
        }
        self.wait();
    }
}

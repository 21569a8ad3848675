//! A tel-control without its listeners, on a broker of its own or a shared one, and edges that say what they are told to.

use crate::broker::{shared, Broker};
use crate::{edge, id};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use std::collections::BTreeMap;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tel_control::app::{now, App};
use tel_control::config::Config;
use tel_control::kafka::admin::{Acl, AclFilter, Admin, NewTopic, Topic, TopicId};
use tel_control::kafka::list::{self, ListState};
use tel_control::kafka::Connection;
use tel_control::observe;
use tel_control::onboarding::{clients, ClientView};
use tel_control::reconcile;
use tel_control::store::{Ack, Position, Step, StepState};
use tokio::sync::{watch, Mutex, MutexGuard};
use tokio::task::JoinHandle;

/// Nothing here takes so long on a healthy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// There is one client list on a broker, and a small machine has room for few brokers.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A broker for one test, and the test's own folder.
pub struct Place {
    own: Option<Broker>,
    pub folder: PathBuf,
    admin: Admin,
    connection: Connection,
    _alone: MutexGuard<'static, ()>,
}

impl Place {
    /// On the broker that all share, without control topics and without the topics of other tests.
    pub async fn on_shared() -> Place {
        let alone = ALONE.lock().await;
        let broker = shared();
        delete_topics(broker, &["tel.clients", "tel.acks"]).await;
        Place::new(None, alone)
    }

    /// On a broker of its own, which may be stopped.
    pub async fn own() -> Place {
        let alone = ALONE.lock().await;
        Place::new(Some(Broker::start()), alone)
    }

    /// The same with its data in memory, if the machine has a place for that: thousands of topics are made there in half the time.
    pub async fn in_memory() -> Place {
        let alone = ALONE.lock().await;
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
        Place::new(Some(Broker::start_in(parent)), alone)
    }

    fn new(own: Option<Broker>, alone: MutexGuard<'static, ()>) -> Place {
        let on = own.as_ref().unwrap_or_else(|| shared());
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reconcile-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("ca")).expect("a folder");
        // The brokers trust it: what is issued here works there.
        for (from, to) in [("ca.pem", "ca.crt"), ("ca.key", "ca.key")] {
            let to = folder.join("ca").join(to);
            std::fs::copy(on.folder().join("pki").join(from), &to).expect("the brokers' authority");
            std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).expect("its mode");
        }
        let connection = on.connection("admin");
        let admin = Admin::new(&connection).expect("an admin");
        let place = Place { own, folder, admin, connection, _alone: alone };
        place.configure("tel.db", "{}");
        place
    }

    pub fn broker(&self) -> &Broker {
        self.own.as_ref().unwrap_or_else(|| shared())
    }

    /// Writes a configuration: `with` is over the usual one.
    pub fn configure(&self, database: &str, with: &str) {
        let pki = self.broker().folder().join("pki");
        let file = |name: &str| pki.join(name).display().to_string();
        let mut config = serde_json::json!({
            "database": format!("sqlite:{}", self.folder.join(database).display()),
            "kafka": {
                "bootstrap.servers": self.connection.get("bootstrap.servers"),
                "security.protocol": "ssl",
                "broker.address.family": "v4",
                "ssl.ca.location": file("ca.pem"),
                "ssl.certificate.location": file("admin.crt"),
                "ssl.key.location": file("admin.key"),
            },
            "public_bootstrap": self.connection.get("bootstrap.servers"),
            "brokers_ca": file("ca.pem"),
            "ca": "ca",
            "topic": { "partitions": 1 },
        });
        let with: serde_json::Map<String, serde_json::Value> = serde_json::from_str(with).expect("an object");
        for (key, value) in with {
            config[key] = value;
        }
        std::fs::write(self.config_path(), config.to_string()).expect("the configuration");
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.join("control.json")
    }

    /// A running reconciler.
    pub async fn start(&self) -> System {
        System::start(self.app().await)
    }

    /// The same that watches edges and consumers, too.
    pub async fn start_whole(&self) -> System {
        System::start_with(self.app().await, true)
    }

    /// The same that does not reconcile.
    pub async fn app(&self) -> App {
        App::open(Config::read(&self.config_path()).expect("a configuration")).await.expect("an app")
    }

    /// Puts a copy in the place of the database, which nobody has open.
    pub fn restore(&self, backup: &Path) {
        for file in ["tel.db", "tel.db-wal", "tel.db-shm"] {
            let _ = std::fs::remove_file(self.folder.join(file));
        }
        std::fs::copy(backup, self.folder.join("tel.db")).expect("the copy");
    }

    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    pub fn list(&self) -> ListState {
        list::read_all(&self.connection, &self.admin, PATIENCE).expect("the list")
    }

    pub fn listed(&self) -> Vec<String> {
        self.list().clients.into_keys().collect()
    }

    pub fn topic(&self, name: &str) -> Option<Topic> {
        self.admin.describe_topics(&[name.to_owned()]).expect("an answer").remove(0).ok()
    }

    /// Creates a topic as somebody else would: it is there once a broker shows it, which is after the controller's answer.
    pub async fn create_topic(&self, name: &str) -> TopicId {
        let new = NewTopic { name: name.to_owned(), partitions: 1, replication: 1, config: BTreeMap::new() };
        self.admin.create_topics(&[new]).expect("an answer").remove(0).expect("a topic");
        until("a topic is there", || async { self.topic(name).is_some() }).await;
        self.topic(name).expect("a topic").id
    }

    pub fn rights(&self, principal: &str) -> Vec<String> {
        let found = self.admin.describe_acls(&AclFilter::of(principal)).expect("an answer");
        let mut found: Vec<String> = found.iter().map(Acl::to_string).collect();
        found.sort();
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Deletes topics that are there, and waits until they are not.
pub async fn delete_topics(broker: &Broker, names: &[&str]) {
    let client: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.plain()).create().expect("a client");
    client.delete_topics(names, &AdminOptions::new()).await.expect("an answer");
    let admin = broker.admin();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    until("topics are gone", || async { admin.describe_topics(&names).expect("an answer").iter().all(Result::is_err) })
        .await;
}

/// Waits for something to be so.
pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A running reconciler.
pub struct System {
    pub app: App,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl System {
    pub fn start(app: App) -> System {
        System::start_with(app, false)
    }

    fn start_with(app: App, watches: bool) -> System {
        let (stop, stopped) = watch::channel(false);
        let reconciling = reconcile::run(app.clone(), stopped.clone());
        let watching = watches.then(|| observe::run(app.clone(), stopped));
        let running = tokio::spawn(async move {
            let watching = async move {
                match watching {
                    Some(watching) => watching.await,
                    None => Ok(()),
                }
            };
            tokio::try_join!(reconciling, watching).expect("an orderly end");
        });
        System { app, stop, running }
    }

    /// Ends it in order and gives the database back.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        self.running.await.expect("an orderly end");
        self.app.store().close().await;
    }

    pub async fn view(&self, client: &str) -> ClientView {
        clients::view(&self.app, &id(client)).await.expect("a client")
    }

    /// A step's state and detail; pending if the client does not have it.
    pub async fn step(&self, client: &str, step: Step) -> (StepState, String) {
        let steps = self.app.store().steps(&id(client)).await.expect("steps");
        let row = steps.into_iter().find(|row| row.step == step);
        row.map_or((StepState::Pending, "it has no such step".to_owned()), |row| (row.state, row.detail))
    }

    /// Waits until a step is in this state; its detail.
    pub async fn await_step(&self, client: &str, step: Step, state: StepState) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (now, detail) = self.step(client, step).await;
            if now == state {
                return detail;
            }
            assert!(
                Instant::now() < deadline,
                "{client}: {step:?} is {now:?}: {detail}; {:?}",
                reconcile::status(&self.app)
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until everything but the edges is done.
    pub async fn await_listed(&self, client: &str) {
        for step in &Step::WANTED[..4] {
            self.await_step(client, *step, StepState::Done).await;
        }
    }

    /// Waits for the end of a comparison that begins after this.
    pub async fn await_pass(&self) {
        let before = reconcile::status(&self.app).last_pass;
        until("a pass", || async {
            let last = reconcile::status(&self.app).last_pass;
            last.is_some() && last != before
        })
        .await;
    }

    /// An edge says that it has the list as far as `list` is; without one it has none.
    pub async fn ack(&self, name: &str, list: Option<&ListState>) {
        static OFFSET: AtomicI64 = AtomicI64::new(0);
        let applied = list.map(|list| Position {
            topic_id: list.position.topic_id.as_str().to_owned(),
            offset: list.position.offset,
        });
        let ack = Ack {
            edge: edge(name),
            read_at: Position { topic_id: "acks".into(), offset: OFFSET.fetch_add(1, Ordering::Relaxed) },
            applied,
            rejected: Vec::new(),
            refused: String::new(),
            at: now(),
            started_at: 1,
            lines: BTreeMap::new(),
        };
        self.app.store().record_ack(&ack).await.expect("noted");
        self.app.wake();
    }

    /// What the audit log has of a client, in the order in which it happened.
    pub async fn audited(&self, client: &str) -> Vec<String> {
        let rows = self.app.store().audit_log(Some(&format!("client:{client}")), None, 1000).await.expect("rows");
        rows.into_iter().rev().map(|row| row.what).collect()
    }
}

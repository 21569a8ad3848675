//! What all parts of a running tel-control share: the configuration, the store, the authority, Kafka, and word of changes.
//!
//! Kafka's calls wait; [`App::kafka`] makes them from a thread where that harms nobody. Whoever changes what is wanted calls
//! [`App::wake`], and the reconciler looks at once; whoever changes what can be seen calls [`App::announce`], and open pages look again.

use crate::ca::Authority;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::kafka::admin::Admin;
use crate::kafka::Connection;
use crate::names::Namespace;
use crate::seen::Seen;
use crate::status;
use crate::store::{Millis, Store};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{watch, Notify};

/// Kafka that is there answers a small question within.
const ANSWER: Duration = Duration::from_secs(3);

/// A running tel-control. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    store: Store,
    authority: Authority,
    brokers_ca_pem: String,
    connection: Connection,
    admin: Arc<Admin>,
    work: Notify,
    changes: watch::Sender<u64>,
    reconciler: status::Shared,
    seen: Seen,
}

impl App {
    /// Opens the database and the authority and reads the brokers' CA. Kafka may be away: it is not asked for anything.
    ///
    /// # Errors
    /// `Invalid` for what the configuration names and is not as it should be; those of [`Store::open`] and [`Authority::open`].
    pub async fn open(config: Config) -> Result<App> {
        let connection = Connection::new(config.kafka.clone())?;
        let admin = Arc::new(Admin::new(&connection)?);
        let authority = Authority::open(&config.ca, config.passphrase()?.as_deref())?;
        let brokers_ca_pem = std::fs::read_to_string(&config.brokers_ca)
            .map_err(|error| Error::invalid(format!("brokers_ca: {}: {error}", config.brokers_ca.display())))?;
        let store = Store::open(&config.database, now()).await?;
        let (changes, _) = watch::channel(0);
        let work = Notify::new();
        Ok(App {
            inner: Arc::new(Inner {
                config,
                store,
                authority,
                brokers_ca_pem,
                connection,
                admin,
                work,
                changes,
                reconciler: status::Shared::default(),
                seen: Seen::default(),
            }),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Who signs clients' and edges' certificates.
    pub fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    /// PEM certificates of who signed the brokers' certificates, for bundles.
    pub fn brokers_ca_pem(&self) -> &str {
        &self.inner.brokers_ca_pem
    }

    /// What clients' topics begin with.
    pub fn namespace(&self) -> &Namespace {
        &self.inner.config.namespace
    }

    /// How Kafka is reached.
    pub fn connection(&self) -> &Connection {
        &self.inner.connection
    }

    /// What was seen of edges and consumers, in memory.
    pub fn seen(&self) -> &Seen {
        &self.inner.seen
    }

    /// Kafka's admin calls, for a thread that may wait.
    pub fn admin(&self) -> Arc<Admin> {
        Arc::clone(&self.inner.admin)
    }

    /// Makes calls to Kafka that wait, on a thread of their own.
    ///
    /// # Errors
    /// Those of the calls; `Unavailable` if they ended without a result.
    pub async fn kafka<T: Send + 'static>(
        &self,
        calls: impl FnOnce(&Admin, &Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let app = self.clone();
        let done = tokio::task::spawn_blocking(move || calls(&app.inner.admin, &app.inner.connection)).await;
        done.unwrap_or_else(|error| Err(Error::unavailable(format!("kafka: a call did not end: {error}"))))
    }

    /// Asks whether Kafka answers: whoever asked for something is told soon that it is away, however long the calls after this may take.
    ///
    /// # Errors
    /// `Unavailable` if it does not within [`ANSWER`].
    pub async fn kafka_answers(&self) -> Result<()> {
        let ask = |_: &Admin, connection: &Connection| {
            let mut admin = Admin::new(connection)?;
            admin.set_timeout(ANSWER);
            admin.describe_cluster().map(drop)
        };
        self.kafka(ask).await.map_err(|error| Error { text: format!("Kafka does not answer: {}", error.text), ..error })
    }

    /// Says that something is wanted otherwise than before: the reconciler looks at once. Pages look again, too.
    pub fn wake(&self) {
        self.inner.work.notify_one();
        self.announce();
    }

    /// Waits until [`App::wake`] was called; a call before counts, too.
    pub async fn woken(&self) {
        self.inner.work.notified().await;
    }

    /// Says that something that pages show is otherwise than before.
    pub fn announce(&self) {
        self.inner.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What the reconciler says of itself.
    pub(crate) fn reconciler(&self) -> &status::Shared {
        &self.inner.reconciler
    }

    /// Tells of every [`App::announce`] from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }
}

/// The time, in milliseconds since 1970.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

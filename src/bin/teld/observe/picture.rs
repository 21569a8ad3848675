//! The picture: the producer's account, what each input does, and where the client list is followed to.

use crate::supervisor::Supervisor;
use crate::sync::{Following, View};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tel::Producer;

/// Numbers by the names of `tel_stats`.
pub type Numbers = BTreeMap<String, u64>;

/// A moment of teld.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Picture {
    /// Process id.
    pub pid: u32,
    pub version: String,
    /// Milliseconds since 1970.
    pub started_unix_ms: u64,
    /// When the picture was taken, in milliseconds since 1970.
    pub now_unix_ms: u64,
    /// Without an account if there is no producer.
    pub producer: ProducerPicture,
    /// By name.
    pub inputs: BTreeMap<String, InputPicture>,
    /// The client list's following, if it is followed.
    pub sync: Option<View>,
}

/// The producer's own picture (`tel_stats_json`), as far as it is shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProducerPicture {
    pub bootstrap_servers: String,
    pub closing: bool,
    /// Empty if all is well; so is `clients_trouble`.
    pub kafka_trouble: String,
    pub clients_trouble: String,
    pub total: Numbers,
    pub clients: BTreeMap<String, Numbers>,
}

/// An input.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InputPicture {
    #[serde(rename = "type")]
    pub kind: String,
    /// What is read, in words.
    pub source: String,
    /// Counters, from the input's start on.
    pub lines: u64,
    pub bytes: u64,
    /// Reads from the system.
    pub reads: u64,
    /// Bytes copied between the read and the producer.
    pub copied_bytes: u64,
    pub dropped_full: u64,
    pub dropped_too_long: u64,
    pub restarts: u64,
    /// Writers now.
    pub writers: u64,
    /// Empty if it works.
    pub trouble: String,
}

/// Where pictures are taken.
pub struct Observed {
    producer: Option<Arc<Producer>>,
    supervisor: Arc<Supervisor>,
    following: Arc<Following>,
    started_unix_ms: u64,
}

impl Observed {
    pub fn new(producer: Option<Arc<Producer>>, supervisor: Arc<Supervisor>, following: Arc<Following>) -> Observed {
        Observed { producer, supervisor, following, started_unix_ms: unix_ms() }
    }

    /// The picture now.
    ///
    /// # Errors
    /// Why there is none: a defect.
    pub fn picture(&self) -> Result<Picture, String> {
        // Where lines end is read before where they come from.
        let producer = match &self.producer {
            None => ProducerPicture::default(),
            Some(producer) => {
                let json = producer.stats_json().map_err(|error| error.describe().to_string_lossy().into_owned())?;
                serde_json::from_str(&json).map_err(|error| error.to_string())?
            }
        };
        let inputs = self.supervisor.views().into_iter().map(|view| {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let counters = &view.counters;
            let picture = InputPicture {
                kind: view.input.source.kind().to_owned(),
                source: view.input.source.describe(),
                lines: read(&counters.lines),
                bytes: read(&counters.bytes),
                reads: read(&counters.reads),
                copied_bytes: read(&counters.copied),
                dropped_full: read(&counters.dropped_full),
                dropped_too_long: read(&counters.dropped_too_long),
                restarts: read(&counters.restarts),
                writers: read(&counters.writers),
                trouble: counters.trouble(),
            };
            (view.input.name, picture)
        });
        Ok(Picture {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms: self.started_unix_ms,
            now_unix_ms: unix_ms(),
            producer,
            inputs: inputs.collect(),
            sync: self.following.view(),
        })
    }
}

impl Picture {
    /// What keeps it from working as it should, each named; empty if nothing does.
    pub fn troubles(&self) -> Vec<String> {
        let own = [("kafka", &self.producer.kafka_trouble), ("clients", &self.producer.clients_trouble)];
        let own = own.into_iter().map(|(name, trouble)| (name.to_owned(), trouble.clone()));
        let inputs = self.inputs.iter().map(|(name, input)| (format!("inputs.{name}"), input.trouble.clone()));
        let sync = self.sync.iter().map(|view| ("sync".to_owned(), view.trouble()));
        own.chain(inputs)
            .chain(sync)
            .filter(|(_, trouble)| !trouble.is_empty())
            .map(|(name, trouble)| format!("{name}: {trouble}"))
            .collect()
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

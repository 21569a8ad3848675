//! Acknowledgements: what this edge has of the list, and what it has delivered, told to the control plane.

use super::good::Source;
use super::kafka;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tel::{tel_stats, Level, Log, Producer};

/// Between two acknowledgements, if nothing changes.
const INTERVAL: Duration = Duration::from_secs(10);
/// Between two, at the least.
const LEAST: Duration = Duration::from_secs(1);
/// Rejected keys that are named.
const MOST_REJECTED: usize = 100;
/// Bytes of the clients' volumes: Kafka's limit of a message is 1 MB.
const MOST_BYTES: usize = 800_000;

/// What the producer's properties are, beside those of the connection.
const PROPERTIES: [(&str, &str); 6] = [
    ("request.required.acks", "all"),
    ("queue.buffering.max.ms", "0"),
    ("queue.buffering.max.messages", "10"),
    ("compression.codec", "gzip"),
    // The next one says more than one that is late.
    ("message.timeout.ms", "10000"),
    ("allow.auto.create.topics", "false"),
];

/// One client's lines since this teld was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Volume {
    pub delivered: u64,
    pub dropped: u64,
}

/// What is told, beside the volumes.
#[derive(Clone, Debug, Default)]
pub struct Told<'a> {
    /// Where the list that is written is from.
    pub source: Option<&'a Source>,
    pub rejected: Vec<&'a str>,
    /// Why the list that was read is not written; empty if it is.
    pub refused: &'a str,
}

#[derive(Serialize)]
struct Ack<'a> {
    edge: &'a str,
    topic_id: &'a str,
    offset: i64,
    rejected: &'a [&'a str],
    refused: &'a str,
    clients: BTreeMap<&'a str, Volume>,
    at_ms: u64,
    since_ms: u64,
    version: &'a str,
}

/// The client that sends them.
pub type Sender = BaseProducer<Voice>;

/// Sends them.
pub struct Acks {
    edge: String,
    topic: String,
    kafka: Arc<tel::Config>,
    log: Log,
    sender: Option<Arc<Sender>>,
    since_ms: u64,
    due: Instant,
    last: Option<Instant>,
    volumes: Volumes,
    counters: Arc<Counters>,
}

/// What has become of them.
#[derive(Debug, Default)]
pub struct Counters {
    pub acknowledged: AtomicU64,
    pub failed: AtomicU64,
    /// The last one was not, and that is said.
    is_failing: AtomicBool,
}

impl Counters {
    fn fail(&self, log: &Log, topic: &str, why: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            log.say(Level::Warning, "sync acks", format_args!("sync.acks: {topic}: not acknowledged: {why}"));
        }
    }

    fn succeed(&self, log: &Log, topic: &str) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        if self.is_failing.swap(false, Ordering::Relaxed) {
            log.say(Level::Notice, "sync acks", format_args!("sync.acks: {topic}: acknowledged again"));
        }
    }
}

impl Acks {
    pub fn new(edge: &str, topic: &str, kafka: &Arc<tel::Config>, producer: Option<Arc<Producer>>, log: &Log) -> Acks {
        Acks {
            edge: edge.to_owned(),
            topic: topic.to_owned(),
            kafka: Arc::clone(kafka),
            log: log.clone(),
            sender: None,
            since_ms: super::unix_ms(),
            due: Instant::now() + LEAST,
            last: None,
            volumes: Volumes { producer, total: None, clients: BTreeMap::new() },
            counters: Arc::default(),
        }
    }

    /// Something has changed: the next one is not to wait.
    pub fn soon(&mut self) {
        let earliest = self.last.map_or_else(Instant::now, |last| last + LEAST);
        self.due = self.due.min(earliest);
    }

    /// When the next one is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Reads what became of earlier ones, and sends one if it is due.
    pub fn send_if_due(&mut self, told: &Told<'_>) {
        if let Some(sender) = &self.sender {
            sender.poll(Duration::ZERO);
        }
        let now = Instant::now();
        if now < self.due {
            return;
        }
        (self.due, self.last) = (now + INTERVAL, Some(now));
        if let Err(why) = self.send(told) {
            self.counters.fail(&self.log, &self.topic, &why);
        }
    }

    fn send(&mut self, told: &Told<'_>) -> Result<(), String> {
        let sender = self.sender()?;
        self.volumes.read();
        let ack = Ack {
            edge: &self.edge,
            topic_id: told.source.map_or("", |source| &source.topic_id),
            offset: told.source.map_or(0, |source| source.offset),
            rejected: &told.rejected[..told.rejected.len().min(MOST_REJECTED)],
            refused: told.refused,
            clients: largest(&self.volumes.clients),
            at_ms: super::unix_ms(),
            since_ms: self.since_ms,
            version: env!("CARGO_PKG_VERSION"),
        };
        let text = serde_json::to_string(&ack).map_err(|error| error.to_string())?;
        let sent = sender.send(BaseRecord::to(&self.topic).key(self.edge.as_str()).payload(text.as_str()));
        sent.map_err(|(error, _)| error.to_string())
    }

    /// The client that sends them, started if there is none.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn sender(&mut self) -> Result<Arc<Sender>, String> {
        if let Some(sender) = &self.sender {
            return Ok(Arc::clone(sender));
        }
        let sender = Arc::new(self.start()?);
        self.sender = Some(Arc::clone(&sender));
        Ok(sender)
    }

    fn start(&self) -> Result<Sender, String> {
        let mut config = kafka::connection(&self.kafka);
        config.extend(PROPERTIES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let voice = Voice {
            log: self.log.clone(),
            kafka: Arc::clone(&self.kafka),
            topic: self.topic.clone(),
            counters: Arc::clone(&self.counters),
        };
        config.create_with_context(voice).map_err(|error| self.kafka.kafka.secrets.redact(&error.to_string()))
    }
}

/// Those with most lines, as many as a message holds.
fn largest(clients: &BTreeMap<String, Volume>) -> BTreeMap<&str, Volume> {
    /// Bytes of a client's entry beside its id, with numbers as long as they get.
    const ENTRY: usize = 72;
    let mut all: Vec<(&str, Volume)> = clients.iter().map(|(id, volume)| (id.as_str(), *volume)).collect();
    let bytes: usize = all.iter().map(|(id, _)| id.len() + ENTRY).sum();
    if bytes > MOST_BYTES {
        all.sort_by_key(|(_, volume)| std::cmp::Reverse(volume.delivered + volume.dropped));
        let mut left = MOST_BYTES;
        let fits = |(id, _): &(&str, Volume)| {
            left = left.saturating_sub(id.len() + ENTRY);
            left > 0
        };
        return all.into_iter().take_while(fits).collect();
    }
    all.into_iter().collect()
}

/// The clients' volumes, as the producer beside counts them.
struct Volumes {
    producer: Option<Arc<Producer>>,
    /// As of the last reading: without a line since then there is nothing to be read.
    total: Option<[u64; 4]>,
    clients: BTreeMap<String, Volume>,
}

impl Volumes {
    fn read(&mut self) {
        #[derive(Deserialize)]
        struct Picture {
            clients: BTreeMap<String, Counts>,
        }
        #[derive(Deserialize)]
        struct Counts {
            delivered: u64,
            failed: u64,
            dropped_full: u64,
            dropped_rate: u64,
            dropped_spool: u64,
        }
        let Some(producer) = &self.producer else { return };
        let moved = |stats: tel_stats| [stats.delivered, stats.failed, stats.dropped_full, stats.dropped_rate];
        let total = producer.stats().ok().map(moved);
        if total == self.total {
            return;
        }
        let picture = producer.stats_json().ok().and_then(|json| serde_json::from_str::<Picture>(&json).ok());
        let Some(picture) = picture else { return };
        let volume = |counts: Counts| Volume {
            delivered: counts.delivered,
            dropped: counts.failed + counts.dropped_full + counts.dropped_rate + counts.dropped_spool,
        };
        let clients = picture.clients.into_iter().map(|(id, counts)| (id, volume(counts)));
        self.clients = clients.filter(|(_, volume)| *volume != Volume::default()).collect();
        self.total = total;
    }
}

/// What the sender's engine tells.
pub struct Voice {
    log: Log,
    kafka: Arc<tel::Config>,
    topic: String,
    counters: Arc<Counters>,
}

impl ClientContext for Voice {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        kafka::say(&self.log, &self.kafka, level as i32, facility, text);
    }

    /// A connection's errors are the reader's as well, and said there.
    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ProducerContext for Voice {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.counters.succeed(&self.log, &self.topic),
            Err((error, _)) => {
                let text = self.kafka.kafka.secrets.redact(&error.to_string());
                self.counters.fail(&self.log, &self.topic, &text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_clients_those_with_most_lines_are_told() {
        let volumes = |count: u64| -> BTreeMap<String, Volume> {
            (0..count).map(|number| (format!("client{number:09}"), Volume { delivered: number, dropped: 1 })).collect()
        };
        let few = volumes(100);
        assert_eq!(largest(&few).len(), 100);
        let many = volumes(100_000);
        let told = largest(&many);
        let text = serde_json::to_string(&told).unwrap();
        assert!(text.len() < MOST_BYTES && told.len() > 5000, "{} of them, {} bytes", told.len(), text.len());
        assert!(told.contains_key("client000099999") && !told.contains_key("client000000000"));
    }
}

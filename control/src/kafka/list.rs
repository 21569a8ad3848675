//! The client list, `tel.clients`: this is its one writer, and every edge follows it.
//!
//! # Format
//! One partition, compacted. Records are written in transactions; readers read committed ones.
//!
//! - Key: a client's id. Value: `{"id": "c83", "topic": "logs.c83", "sample": 0.1, "max_lines_per_second": 20000}`, the last two
//!   optional. Readers ignore fields that they do not know. A record whose key is not its id is bad. No value (a tombstone): the
//!   client is removed.
//! - Key: `!list`. Value: `{"accept": "<text>", "clients": N}`, the operator's marker: written when an operator has said that the list
//!   is right although it is empty, begins anew or is much shorter. `accept` is the topic's id as librdkafka prints it, or `shrink`
//!   for a list in the topic that is known.
//! - Key: `!database`. Value: the marker of the database that the list is of ([`crate::store::Marker`]), for tel-control itself: a
//!   database that was restored or is another one is known by it. Readers skip it.
//! - Keys that begin with `!` otherwise: reserved; readers skip them.
//!
//! `!` is in no client's id. Since records stay until they are compacted, a reader takes the marker for an answer to what it has seen
//! up to there, and once only: it accepts the list when all is read, if that has at least N clients (a list with fewer was not read
//! to where the operator has seen it, or is not the one meant).
//!
//! A *position* is the topic's id and an offset: that of the next record to be read, so that all before it is known. It is also what
//! edges acknowledge: an edge has a change if its topic id is the same and its offset is not lower than the change's. (Offsets have
//! gaps: the end of a transaction takes one, and compaction takes records away. A reader that has come to the end of the partition is
//! at the end's offset, even if the last record before it is gone.)

use super::admin::{Admin, ConfigEntry, ConfigOf, NewTopic, TopicId};
use super::reader::{Read, Reader};
use super::reports::{Report, Reports};
use super::{call_error, setup_error, Connection, PATIENCE};
use crate::error::{Error, Kind, Result};
use crate::names::LIST_TOPIC;
use crate::store;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The key of the operator's marker.
pub const MARKER_KEY: &str = "!list";
/// The key of the database's marker.
pub const DATABASE_KEY: &str = "!database";
/// Under which Kafka knows the one writer: a new one fences the old one.
const TRANSACTIONAL_ID: &str = "tel-control.list";
/// Removed clients stay visible for at least so long to an edge that was away.
const TWO_DAYS_MS: u64 = 2 * 24 * 3600 * 1000;

/// A client on the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// The share of its lines that is delivered, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<f64>,
    /// At most so many of its lines a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lines_per_second: Option<u64>,
}

/// The operator's word that the list is right as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// What is accepted: the topic's id as librdkafka prints it, or `shrink`.
    pub accept: String,
    /// At least so many clients are on the list.
    pub clients: u64,
}

impl Marker {
    /// Accepts the list in this topic, though edges know another topic or a much longer list.
    pub fn of_topic(topic: &TopicId, clients: u64) -> Marker {
        Marker { accept: topic.librdkafka_text(), clients }
    }
}

/// A change of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The client is on it, with these settings.
    Set(Listed),
    /// The client of this id is not on it any more.
    Remove(String),
    /// An operator accepts the list.
    Accept(Marker),
    /// The list is that of this database.
    Database(store::Marker),
}

/// A place in the list: all before it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The topic's id: positions of different topics cannot be compared.
    pub topic_id: TopicId,
    /// Offset of the next record.
    pub offset: i64,
}

impl Position {
    /// Whether who is here knows all that is before `change`.
    pub fn has(&self, change: &Position) -> bool {
        self.topic_id == change.topic_id && self.offset >= change.offset
    }
}

/// What the list is.
#[derive(Clone, Debug, PartialEq)]
pub struct ListState {
    /// The clients, by id.
    pub clients: BTreeMap<String, Listed>,
    /// Records that are not as they should be, by key as far as it is text. Edges skip them; a change or removal under the key mends it.
    pub bad: BTreeMap<String, String>,
    /// The last marker.
    pub marker: Option<Marker>,
    /// Which database the list is of.
    pub database: Option<store::Marker>,
    /// How far this is.
    pub position: Position,
}

/// Makes the topic if it is not there, with `replication` replicas (-1: the brokers' default), and tells what is wrong with one that is.
///
/// # Errors
/// `Conflict` if it is no place for the list: several partitions, or not only compacted.
pub fn ensure_topic(admin: &Admin, replication: i32) -> Result<Vec<String>> {
    let config = BTreeMap::from(
        [
            ("cleanup.policy", "compact".to_owned()),
            ("delete.retention.ms", TWO_DAYS_MS.to_string()),
            // The active segment is never compacted: an hour bounds what an edge reads at its start beyond the list itself.
            ("segment.ms", (3600 * 1000).to_string()),
            ("min.cleanable.dirty.ratio", "0.1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let topic = NewTopic { name: LIST_TOPIC.to_owned(), partitions: 1, replication, config };
    admin.create_topics(&[topic])?.into_iter().collect::<Result<Vec<_>>>()?;
    let partitions = await_topic(admin, LIST_TOPIC)?.1;
    check_topic(admin, partitions)
}

/// What is wrong with the topic, which has so many partitions.
pub(super) fn check_topic(admin: &Admin, partitions: i32) -> Result<Vec<String>> {
    let names = ["cleanup.policy", "delete.retention.ms", "segment.ms"];
    let config = admin.describe_configs(&[ConfigOf::Topic(LIST_TOPIC.to_owned())], &names)?.into_iter().next();
    check_settings(partitions, &config.transpose()?.unwrap_or_default())
}

fn check_settings(partitions: i32, config: &[ConfigEntry]) -> Result<Vec<String>> {
    let value = |name: &str| config.iter().find(|entry| entry.name == name).and_then(|entry| entry.value.as_deref());
    let number = |name: &str| value(name).and_then(|value| value.parse::<u64>().ok());
    if partitions != 1 {
        return Err(Error::conflict(format!("topic {LIST_TOPIC}: has {partitions} partitions; it must have one")));
    }
    match value("cleanup.policy") {
        Some("compact") => {}
        other => {
            let other = other.unwrap_or("unknown");
            return Err(Error::conflict(format!(
                "topic {LIST_TOPIC}: cleanup.policy is {other}; with anything but compact, clients would vanish from it"
            )));
        }
    }
    let mut wrong = Vec::new();
    match number("delete.retention.ms") {
        Some(time) if time >= TWO_DAYS_MS => {}
        time => wrong.push(format!(
            "topic {LIST_TOPIC}: delete.retention.ms is {}; below {TWO_DAYS_MS} an edge that was away may keep removed clients until it \
             reads the list from its beginning",
            time.map_or("unknown".to_owned(), |time| time.to_string())
        )),
    }
    if number("segment.ms").is_some_and(|time| time > 24 * 3600 * 1000) {
        wrong.push(format!(
            "topic {LIST_TOPIC}: segment.ms is over a day; edges read old changes for as long when they start"
        ));
    }
    Ok(wrong)
}

/// The id and number of partitions of a control topic that was made a moment ago or before.
pub(super) fn await_topic(admin: &Admin, name: &str) -> Result<(TopicId, i32)> {
    let deadline = Instant::now() + admin.timeout();
    loop {
        let found = admin.describe_topics(&[name.to_owned()])?.into_iter().next();
        match found.unwrap_or_else(|| Err(Error::not_found(format!("topic {name}: no answer")))) {
            Ok(topic) if topic.without_leader == 0 => return Ok((topic.id, topic.partitions)),
            Ok(_) if Instant::now() >= deadline => {
                return Err(Error::unavailable(format!("topic {name}: has no leader")));
            }
            Err(error) if error.kind != Kind::NotFound || Instant::now() >= deadline => return Err(error),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Reads the list, from its beginning to the end as it is when this is called.
///
/// # Errors
/// `NotFound` without the topic, `Unavailable` if it was not read within `timeout`.
pub fn read_all(connection: &Connection, admin: &Admin, timeout: Duration) -> Result<ListState> {
    let deadline = Instant::now() + timeout;
    let topic = admin.describe_topics(&[LIST_TOPIC.to_owned()])?.into_iter().next();
    let topic_id = topic.unwrap_or_else(|| Err(Error::not_found(format!("topic {LIST_TOPIC}"))))?.id;
    let mut reader = Reader::open(connection, LIST_TOPIC, Duration::from_millis(10))?;
    let end = reader.end(timeout)?;
    let mut state = ListState {
        clients: BTreeMap::new(),
        bad: BTreeMap::new(),
        marker: None,
        database: None,
        position: Position { topic_id, offset: end },
    };
    loop {
        match reader.next(deadline)? {
            Read::Record(record) => {
                state.position.offset = end.max(record.offset + 1);
                state.take(&record.key, record.value.as_deref());
                if record.offset + 1 >= end {
                    return Ok(state);
                }
            }
            Read::End => return Ok(state),
            Read::Nothing => return Err(reader.silence()),
        }
    }
}

impl ListState {
    /// Has what was published: `position` is where it was.
    pub fn apply(&mut self, changes: &[Change], position: Position) {
        for change in changes {
            match change {
                Change::Set(client) => {
                    self.bad.remove(&client.id);
                    self.clients.insert(client.id.clone(), client.clone());
                }
                Change::Remove(id) => {
                    self.bad.remove(id);
                    self.clients.remove(id);
                }
                Change::Accept(marker) => self.marker = Some(marker.clone()),
                Change::Database(marker) => self.database = Some(marker.clone()),
            }
        }
        self.position = position;
    }

    fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        let name = String::from_utf8_lossy(key).into_owned();
        self.bad.remove(&name);
        if name == MARKER_KEY {
            self.marker = value.and_then(|value| serde_json::from_slice(value).ok());
            return;
        }
        if name == DATABASE_KEY {
            self.database = value.and_then(|value| serde_json::from_slice(value).ok());
            return;
        }
        if name.starts_with('!') {
            return;
        }
        self.clients.remove(&name);
        let Some(value) = value else { return };
        match serde_json::from_slice::<Listed>(value) {
            Ok(client) if client.id.as_bytes() == key => {
                self.clients.insert(name, client);
            }
            Ok(client) => {
                self.bad.insert(name, format!("its id is {:?}", client.id));
            }
            Err(error) => {
                self.bad.insert(name, error.to_string());
            }
        }
    }
}

/// The one writer of the list.
pub struct ListWriter {
    producer: BaseProducer<Reports>,
    topic_id: TopicId,
    /// Why nothing more can be published through it.
    over: Option<Error>,
}

const RIGHT: &str = "Write on topic tel.clients and on transactional id tel-control.list";

impl ListWriter {
    /// Becomes the writer of a list that is there ([`ensure_topic`]). Whoever was it before is fenced, what it had begun is undone, and
    /// it is told so at its next change.
    ///
    /// # Errors
    /// `Unavailable` if Kafka is, `NotFound` without the topic.
    pub fn open(connection: &Connection, admin: &Admin) -> Result<ListWriter> {
        let (topic_id, _) = await_topic(admin, LIST_TOPIC)?;
        let mut config = connection.config();
        config
            .set("transactional.id", TRANSACTIONAL_ID)
            .set("transaction.timeout.ms", "60000")
            .set("message.timeout.ms", "30000")
            .set("linger.ms", "0")
            .set("compression.codec", "lz4");
        let producer: BaseProducer<Reports> = config.create_with_context(Reports::default()).map_err(setup_error)?;
        producer
            .init_transactions(PATIENCE)
            .map_err(|error| call_error("becoming the writer of the list", RIGHT, &error))?;
        Ok(ListWriter { producer, topic_id, over: None })
    }

    /// Writes all of the changes or none, in their order, and tells the position from which on a reader has them.
    ///
    /// After an error the writer is to be opened again, and the list to be read: a commit whose answer did not come may have been made.
    ///
    /// # Errors
    /// `Conflict` if there is another writer now, or the topic was made anew; `Invalid` for no changes; else `Unavailable`.
    pub fn publish(&mut self, admin: &Admin, changes: &[Change]) -> Result<Position> {
        if let Some(error) = &self.over {
            return Err(error.clone());
        }
        if changes.is_empty() {
            return Err(Error::invalid("publishing: no changes"));
        }
        let records = changes.iter().map(record).collect::<Result<Vec<_>>>()?;
        let published = self.same_topic(admin).and_then(|()| self.write(&records)).and_then(|last| {
            self.same_topic(admin)?;
            Ok(Position { topic_id: self.topic_id.clone(), offset: last + 1 })
        });
        published.inspect_err(|error| self.over = Some(error.clone()))
    }

    fn same_topic(&self, admin: &Admin) -> Result<()> {
        let (id, _) = await_topic(admin, LIST_TOPIC)?;
        if id == self.topic_id {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "topic {LIST_TOPIC}: was made anew (id {id}, not {}); the list in it is not the one known",
            self.topic_id
        )))
    }

    /// The offset of the last record.
    fn write(&self, records: &[(String, Option<Vec<u8>>)]) -> Result<i64> {
        let deadline = Instant::now() + PATIENCE;
        let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.producer.context().take();
        let written = self.producer.begin_transaction().and_then(|()| {
            for (key, value) in records {
                self.send(key, value.as_deref(), deadline)?;
            }
            self.commit(deadline)
        });
        let report = self.producer.context().take();
        match (written, report) {
            (Ok(()), Report { last: Some(last), error: None }) => Ok(last),
            (Ok(()), Report { error, .. }) => Err(self.error(&error.unwrap_or(KafkaError::NoMessageReceived))),
            (Err(error), report) => {
                let error = self.error(&report.error.unwrap_or(error));
                // Readers wait for the end of a transaction; a fenced writer has none to end.
                if error.kind != Kind::Conflict {
                    let _ = self.producer.abort_transaction(left());
                }
                Err(error)
            }
        }
    }

    fn send(&self, key: &str, value: Option<&[u8]>, deadline: Instant) -> std::result::Result<(), KafkaError> {
        let mut record = BaseRecord::<str, [u8]>::to(LIST_TOPIC).key(key).partition(0);
        if let Some(value) = value {
            record = record.payload(value);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    self.producer.poll(Duration::from_millis(20));
                    record = back;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    fn commit(&self, deadline: Instant) -> std::result::Result<(), KafkaError> {
        // The commit would wait for reports, too, but in steps of 100 ms.
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.producer.poll(Duration::from_millis(1));
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match self.producer.commit_transaction(left) {
                // librdkafka goes on with the commit that it has begun.
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                done => return done,
            }
        }
    }

    fn error(&self, error: &KafkaError) -> Error {
        let fatal = self.producer.client().fatal_error();
        let code = fatal.as_ref().map(|(code, _)| *code).or_else(|| error.rdkafka_error_code());
        use RDKafkaErrorCode as Code;
        if matches!(code, Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)) {
            return Error::conflict("publishing: another tel-control writes the client list now");
        }
        match fatal {
            Some((_, text)) => Error::unavailable(format!("publishing: {text}")),
            None => call_error("publishing", RIGHT, error),
        }
    }
}

fn record(change: &Change) -> Result<(String, Option<Vec<u8>>)> {
    let json = |value: serde_json::Result<Vec<u8>>| {
        value.map(Some).map_err(|error| Error::invalid(format!("publishing: {error}")))
    };
    let (key, value) = match change {
        Change::Set(client) => (client.id.clone(), json(serde_json::to_vec(client))?),
        Change::Remove(id) => (id.clone(), None),
        Change::Accept(marker) => return Ok((MARKER_KEY.to_owned(), json(serde_json::to_vec(marker))?)),
        Change::Database(marker) => return Ok((DATABASE_KEY.to_owned(), json(serde_json::to_vec(marker))?)),
    };
    if key.is_empty() || key.starts_with('!') {
        return Err(Error::invalid(format!("publishing: {key:?} is no client's id")));
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::admin::ConfigSource;

    fn state() -> ListState {
        ListState {
            clients: BTreeMap::new(),
            bad: BTreeMap::new(),
            marker: None,
            database: None,
            position: Position { topic_id: TopicId::from_text("a"), offset: 0 },
        }
    }

    #[test]
    fn a_record_is_the_client_s_object() {
        let client = Listed { id: "c83".into(), topic: "logs.c83".into(), sample: None, max_lines_per_second: Some(5) };
        let (key, value) = record(&Change::Set(client)).unwrap();
        assert_eq!(key, "c83");
        assert_eq!(value.unwrap(), br#"{"id":"c83","topic":"logs.c83","max_lines_per_second":5}"#);
        assert_eq!(record(&Change::Remove("c83".into())).unwrap(), ("c83".into(), None));
        let marker = Change::Accept(Marker { accept: "x".into(), clients: 2 });
        assert_eq!(record(&marker).unwrap(), ("!list".into(), Some(br#"{"accept":"x","clients":2}"#.to_vec())));
        assert_eq!(record(&Change::Remove("!list".into())).unwrap_err().kind, Kind::Invalid);
    }

    #[test]
    fn bad_records_are_told_and_harm_no_other() {
        let mut list = state();
        list.take(b"c8", Some(br#"{"id":"c8","topic":"logs.c8","later":[1]}"#));
        list.take(b"c83", Some(br#"{"id":"c8","topic":"logs.c8"}"#));
        list.take(b"x", Some(b"nonsense"));
        list.take(b"", Some(b"{}"));
        list.take(b"\xff", Some(b"{}"));
        list.take(b"!later", Some(b"anything"));
        list.take(b"!list", Some(br#"{"accept":"id","clients":1}"#));
        assert_eq!(list.clients.keys().collect::<Vec<_>>(), ["c8"]);
        assert_eq!(list.bad.len(), 4);
        assert_eq!(list.marker, Some(Marker { accept: "id".into(), clients: 1 }));
        let database = store::Marker { database: "d".into(), mark: "m".into(), revision: 7 };
        let (key, value) = record(&Change::Database(database.clone())).unwrap();
        list.take(key.as_bytes(), value.as_deref());
        assert_eq!((list.database.clone(), list.clients.len()), (Some(database), 1));
        list.take(b"c8", Some(b"nonsense"));
        list.take(b"x", None);
        assert!(list.clients.is_empty() && list.bad.contains_key("c8") && !list.bad.contains_key("x"));
    }

    #[test]
    fn a_position_is_compared_within_its_topic() {
        let at = |id: &str, offset| Position { topic_id: TopicId::from_text(id), offset };
        assert!(at("a", 5).has(&at("a", 5)) && at("a", 6).has(&at("a", 5)));
        assert!(!at("a", 4).has(&at("a", 5)) && !at("b", 9).has(&at("a", 5)));
    }

    #[test]
    fn a_topic_that_forgets_is_no_place_for_the_list() {
        let entry = |name: &str, value: &str| ConfigEntry {
            name: name.into(),
            value: Some(value.into()),
            source: ConfigSource::Topic,
        };
        let good = [entry("cleanup.policy", "compact"), entry("delete.retention.ms", "172800000")];
        assert_eq!(check_settings(1, &good), Ok(Vec::new()));
        assert_eq!(check_settings(2, &good).unwrap_err().kind, Kind::Conflict);
        assert_eq!(check_settings(1, &[entry("cleanup.policy", "compact,delete")]).unwrap_err().kind, Kind::Conflict);
        let short = [
            entry("cleanup.policy", "compact"),
            entry("delete.retention.ms", "1000"),
            entry("segment.ms", "604800000"),
        ];
        assert_eq!(check_settings(1, &short).unwrap().len(), 2);
    }
}

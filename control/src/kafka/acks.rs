//! What edges say of the list: `tel.acks`, which every edge writes about every ten seconds.
//!
//! # Format
//! Compacted; key = the edge's name; a tombstone retires the edge. The value:
//!
//! ```json
//! { "edge": "edge-1", "topic_id": "…", "offset": 42, "rejected": ["bad id"], "refused": "",
//!   "clients": { "c83": { "delivered": 1000, "dropped": 0 } },
//!   "at_ms": 1764000000000, "since_ms": 1763999990000, "version": "0.1.0" }
//! ```
//!
//! `topic_id` and `offset` are the edge's position in `tel.clients` (see [`super::list`]): it has written all that is before the
//! offset. `rejected` are keys and ids that it has left out; `refused` says why it keeps its list from before, if it does. `clients`
//! has counters in lines since `since_ms`, when the edge's process started. Any edge can write any record here, as Kafka has no rights
//! by key: this is the edges' own word, not a proof.

use super::admin::{Admin, NewTopic, TopicId};
use super::list::{await_topic, Position};
use super::reader::{Read, Reader};
use super::reports::Reports;
use super::{call_error, setup_error, Connection, PATIENCE};
use crate::error::{Error, Result};
use crate::names::{EdgeName, ACKS_TOPIC};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Lines of one client on one edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Delivered since the edge's process started.
    pub delivered: u64,
    /// Not delivered, for whatever reason, since then.
    pub dropped: u64,
}

/// What an edge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeAck {
    /// Which one.
    pub edge: EdgeName,
    /// How much of the list it has written.
    pub position: Position,
    /// Keys and ids that it has left out.
    pub rejected: Vec<String>,
    /// Why it does not write the list that it has read; empty if it does.
    pub refused: String,
    /// Its counters by client.
    pub clients: BTreeMap<String, Volume>,
    /// Since when it counts, by its clock, in milliseconds since 1970; 0 if it does not say.
    pub since_ms: u64,
    /// When it said so, by its clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// Which version of tel it is.
    pub version: String,
}

/// Where and when something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaidAt {
    /// The record's offset.
    pub offset: i64,
    /// When the broker took it, by its clock, in milliseconds since 1970; none in a topic that keeps the writers' times.
    pub taken_ms: Option<i64>,
}

/// Something new of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckEvent {
    /// It has said something.
    Said(EdgeAck, SaidAt),
    /// It was retired.
    Retired(EdgeName),
}

/// As it stands in the record.
#[derive(Deserialize)]
struct Raw {
    edge: String,
    #[serde(default)]
    topic_id: String,
    #[serde(default)]
    offset: i64,
    #[serde(default)]
    rejected: Vec<String>,
    #[serde(default)]
    refused: String,
    #[serde(default)]
    clients: BTreeMap<String, Volume>,
    #[serde(default)]
    since_ms: u64,
    #[serde(default)]
    at_ms: u64,
    #[serde(default)]
    version: String,
}

/// Makes the topic if it is not there, with `replication` replicas (-1: the brokers' default).
///
/// # Errors
/// Those of the requests; `Conflict` if it has several partitions.
pub fn ensure_topic(admin: &Admin, replication: i32) -> Result<()> {
    let config = BTreeMap::from(
        [
            ("cleanup.policy", "compact"),
            // All edges write every few seconds and only the last record of each counts.
            ("segment.ms", "600000"),
            ("segment.bytes", "67108864"),
            ("min.cleanable.dirty.ratio", "0.1"),
            // When an edge was heard of is told by one clock, the broker's: edges' may be wrong.
            ("message.timestamp.type", "LogAppendTime"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let topic = NewTopic { name: ACKS_TOPIC.to_owned(), partitions: 1, replication, config };
    admin.create_topics(&[topic])?.into_iter().collect::<Result<Vec<_>>>()?;
    match await_topic(admin, ACKS_TOPIC)?.1 {
        1 => Ok(()),
        partitions => {
            Err(Error::conflict(format!("topic {ACKS_TOPIC}: has {partitions} partitions; it must have one")))
        }
    }
}

/// A reader of what edges say, from the topic's beginning.
pub struct AckReader {
    reader: Reader,
    /// Where the topic ended when the first record was read.
    end: Option<i64>,
    is_current: bool,
    bad: u64,
}

impl AckReader {
    /// Starts to read.
    ///
    /// # Errors
    /// Those of the connection's properties.
    pub fn open(connection: &Connection) -> Result<AckReader> {
        Ok(AckReader {
            reader: Reader::open(connection, ACKS_TOPIC, Duration::from_millis(500))?,
            end: None,
            is_current: false,
            bad: 0,
        })
    }

    /// What has come, some thousands or megabytes at most; waits up to `timeout` for the first one. None is no error: Kafka may be
    /// away.
    ///
    /// # Errors
    /// What does not pass by itself, such as a missing right. Then it is to be opened again.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<AckEvent>> {
        const MOST: usize = 5000;
        const MOST_BYTES: usize = 16 << 20;
        let mut bytes = 0;
        let mut events = Vec::new();
        let mut deadline = Instant::now() + timeout;
        while events.len() < MOST && bytes < MOST_BYTES {
            match self.reader.next(deadline)? {
                Read::Record(record) => {
                    self.look_for_end(record.offset);
                    bytes += record.value.as_ref().map_or(0, Vec::len);
                    let at = SaidAt { offset: record.offset, taken_ms: record.taken_ms };
                    match event(&record.key, record.value.as_deref(), at) {
                        Some(event) => {
                            events.push(event);
                            deadline = Instant::now();
                        }
                        None => self.bad += 1,
                    }
                }
                Read::End => self.is_current = true,
                Read::Nothing => break,
            }
        }
        Ok(events)
    }

    /// That there is nothing more is told only in a pause, and many edges make none.
    fn look_for_end(&mut self, offset: i64) {
        const ANSWER: Duration = Duration::from_secs(2);
        if self.is_current {
            return;
        }
        if self.end.is_none() {
            self.end = self.reader.end(ANSWER).ok();
        }
        self.is_current = self.end.is_some_and(|end| offset + 1 >= end);
    }

    /// Whether all that was there at the start has been read: what is not known before is no edge that is away.
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    /// How many records were no acknowledgements.
    pub fn bad_records(&self) -> u64 {
        self.bad
    }
}

/// Forgets an edge: whoever reads the topic is told, and its record goes. It comes back with the next that it says, unless its rights
/// are taken, too.
///
/// # Errors
/// That of the connection.
pub fn retire(connection: &Connection, edge: &EdgeName) -> Result<()> {
    const RIGHT: &str = "Write on tel.acks";
    let mut config = connection.config();
    config.set("linger.ms", "0").set("message.timeout.ms", PATIENCE.as_millis().to_string());
    let producer: BaseProducer<Reports> = config.create_with_context(Reports::default()).map_err(setup_error)?;
    let failed = |error: KafkaError| call_error(format!("retiring edge {edge}"), RIGHT, &error);
    let record = BaseRecord::<str, [u8]>::to(ACKS_TOPIC).key(edge.as_str());
    producer.send(record).map_err(|(error, _)| failed(error))?;
    producer.flush(PATIENCE).map_err(failed)?;
    producer.context().take().error.map_or(Ok(()), |error| Err(failed(error)))
}

fn event(key: &[u8], value: Option<&[u8]>, at: SaidAt) -> Option<AckEvent> {
    let edge = EdgeName::new(std::str::from_utf8(key).ok()?).ok()?;
    let Some(value) = value else { return Some(AckEvent::Retired(edge)) };
    let raw: Raw = serde_json::from_slice(value).ok()?;
    if raw.edge != edge.as_str() {
        return None;
    }
    let ack = EdgeAck {
        edge,
        position: Position { topic_id: TopicId::from_text(&raw.topic_id), offset: raw.offset },
        rejected: raw.rejected,
        refused: raw.refused,
        clients: raw.clients,
        since_ms: raw.since_ms,
        at_ms: raw.at_ms,
        version: raw.version,
    };
    Some(AckEvent::Said(ack, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_read_and_nonsense_is_not() {
        let value = br#"{"edge":"one","topic_id":"a+b","offset":7,"rejected":["x y"],"clients":{"c83":{"delivered":3,"dropped":1}},
                         "at_ms":5,"version":"0.1.0","later":{}}"#;
        let at = SaidAt { offset: 3, taken_ms: None };
        let Some(AckEvent::Said(ack, said)) = event(b"one", Some(value), at) else { panic!("not read") };
        assert_eq!(said, at);
        assert_eq!(ack.position, Position { topic_id: TopicId::from_text("a-b"), offset: 7 });
        assert_eq!(ack.clients["c83"], Volume { delivered: 3, dropped: 1 });
        assert_eq!(ack.rejected, ["x y"]);
        assert!(matches!(event(b"one", None, at), Some(AckEvent::Retired(edge)) if edge.as_str() == "one"));
        for (key, value) in
            [(&b"two"[..], &value[..]), (b"one", b"{}"), (b"one", b"\xff"), (b"a b", value), (b"", value)]
        {
            assert_eq!(event(key, Some(value), at), None);
        }
    }
}

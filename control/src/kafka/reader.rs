//! Reads a topic from its beginning, without a consumer group: nothing is committed, everybody who reads so sees everything.

use super::{call_error, setup_error, Connection};
use crate::error::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, Timestamp};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

const RIGHT: &str = "Read on it and on group tel-control";

/// A record.
pub(super) struct Record {
    pub offset: i64,
    /// Empty if it has none.
    pub key: Vec<u8>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// When the broker took it, by its clock, in milliseconds since 1970; none if the topic keeps the writers' times.
    pub taken_ms: Option<i64>,
}

/// What there is to say.
pub(super) enum Read {
    /// The next record.
    Record(Record),
    /// All there is of the topic was read. It goes on when there is more.
    End,
    /// Nothing came in time.
    Nothing,
}

/// A place in a topic with one partition. Records of transactions are seen when these are committed.
pub(super) struct Reader {
    consumer: BaseConsumer,
    topic: String,
    /// The last error of a connection: the reason behind a silence.
    trouble: String,
}

impl Reader {
    /// A reader at the topic's beginning. Kafka holds back an answer for up to `wait` while there is nothing; the end is seen after it.
    pub fn open(connection: &Connection, topic: &str, wait: Duration) -> Result<Reader> {
        let consumer: BaseConsumer = connection
            .config()
            // librdkafka wants one to be named; nobody joins it.
            .set("group.id", "tel-control")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", wait.as_millis().to_string())
            .create()
            .map_err(setup_error)?;
        let mut assignment = TopicPartitionList::new();
        let assigned =
            assignment.add_partition_offset(topic, 0, Offset::Beginning).and_then(|()| consumer.assign(&assignment));
        assigned.map_err(|error| call_error(format!("reading {topic}"), RIGHT, &error))?;
        Ok(Reader { consumer, topic: topic.to_owned(), trouble: String::new() })
    }

    /// Offset of the next record to be written, as far as transactions are committed.
    pub fn end(&self, timeout: Duration) -> Result<i64> {
        let offsets = self.consumer.fetch_watermarks(&self.topic, 0, timeout);
        offsets.map(|(_, end)| end).map_err(|error| self.error(&error))
    }

    /// What comes next, waited for until `deadline`.
    pub fn next(&mut self, deadline: Instant) -> Result<Read> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                None if left.is_zero() => return Ok(Read::Nothing),
                None => {}
                Some(Ok(message)) => {
                    return Ok(Read::Record(Record {
                        offset: message.offset(),
                        key: message.key().unwrap_or_default().to_vec(),
                        value: message.payload().map(<[u8]>::to_vec),
                        taken_ms: match message.timestamp() {
                            Timestamp::LogAppendTime(at) => Some(at),
                            Timestamp::CreateTime(_) | Timestamp::NotAvailable => None,
                        },
                    }));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Read::End),
                Some(Err(error)) if is_passing(&error) => self.trouble = error.to_string(),
                Some(Err(error)) => return Err(self.error(&error)),
            }
        }
    }

    /// That nothing came in time, and why that may be.
    pub fn silence(&self) -> Error {
        let trouble = if self.trouble.is_empty() { "no answer in time" } else { &self.trouble };
        Error::unavailable(format!("reading {}: {trouble}", self.topic))
    }

    fn error(&self, error: &KafkaError) -> Error {
        call_error(format!("reading {}", self.topic), RIGHT, error)
    }
}

/// Whether librdkafka goes on by itself.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::MessageTimedOut
                | Code::RequestTimedOut
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
        )
    )
}

//! Looks at records in the middle of topics, without a consumer group: the last lines, and when a line was written.

use super::groups::Extent;
use super::{call_error, setup_error, Connection};
use crate::error::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

const RIGHT: &str = "Read on it and on group tel-control";

/// A record with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was handed to Kafka, in milliseconds since 1970, by the edge's clock; 0 if that is not known.
    pub at_ms: i64,
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// Bounds of what is read at once.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Lines.
    pub lines: usize,
    /// Bytes of lines.
    pub bytes: usize,
    /// When it ends, whatever has come by then.
    pub deadline: Instant,
}

/// A consumer that can look anywhere, at one place after the other.
pub struct Glance {
    consumer: BaseConsumer,
}

impl Glance {
    /// Starts it; it connects when it first looks.
    ///
    /// # Errors
    /// Those of the connection's properties.
    pub fn open(connection: &Connection) -> Result<Glance> {
        let consumer = connection
            .config()
            // librdkafka wants one to be named; nobody joins it.
            .set("group.id", "tel-control")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            // What retention has taken meanwhile is passed over.
            .set("auto.offset.reset", "earliest")
            .set("fetch.message.max.bytes", "262144")
            .set("fetch.max.bytes", "4194304")
            .set("fetch.wait.max.ms", "50")
            .set("queued.max.messages.kbytes", "4096")
            .create()
            .map_err(setup_error)?;
        Ok(Glance { consumer })
    }

    /// The last lines of a topic, the oldest first: the latest by time of those at the ends of its partitions.
    ///
    /// # Errors
    /// `Unavailable` if nothing was read in time.
    pub fn last(&self, topic: &str, extents: &BTreeMap<i32, Extent>, bounds: Bounds) -> Result<Vec<Line>> {
        /// Records read for each line that is wanted, at the most: beyond that, a topic of very many partitions is only sampled.
        const READ: usize = 20;
        let full = extents.iter().filter(|(_, extent)| extent.end > extent.start);
        let count = full.clone().count();
        if count == 0 || bounds.lines == 0 {
            return Ok(Vec::new());
        }
        let each = bounds.lines.min((bounds.lines * READ).div_ceil(count));
        let each = i64::try_from(each).unwrap_or(i64::MAX);
        let places: BTreeMap<i32, (i64, i64)> = full
            .map(|(partition, extent)| (*partition, (extent.start.max(extent.end.saturating_sub(each)), extent.end)))
            .collect();
        let mut lines = Vec::new();
        // Each partition has its share of the bytes, so that a quiet one is seen beside a loud one.
        let most = bounds.bytes.saturating_mul(4);
        let mut bytes = 0;
        let done = self.read(topic, &places, bounds.deadline, |message| {
            let value = message.payload().unwrap_or_default().to_vec();
            bytes += value.len();
            lines.push(Line {
                at_ms: time_of(message),
                partition: message.partition(),
                offset: message.offset(),
                value,
            });
            if bytes > most {
                Next::Stop
            } else {
                Next::More
            }
        })?;
        if lines.is_empty() && !done {
            return Err(Error::unavailable(format!("reading {topic}: no answer in time")));
        }
        lines.sort_by_key(|line| (line.at_ms, line.partition, line.offset));
        let mut kept = 0;
        let mut left = bounds.bytes;
        for line in lines.iter().rev().take(bounds.lines) {
            let Some(rest) = left.checked_sub(line.value.len()) else { break };
            left = rest;
            kept += 1;
        }
        Ok(lines.split_off(lines.len() - kept))
    }

    /// When the records at these places, or the next ones there are, were written, in milliseconds since 1970. Places at the end of
    /// their partition, and those not read in time, are left out.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn times(&self, topic: &str, places: &BTreeMap<i32, i64>, deadline: Instant) -> Result<BTreeMap<i32, i64>> {
        let mut times = BTreeMap::new();
        let ranges = places.iter().map(|(partition, offset)| (*partition, (*offset, i64::MAX))).collect();
        self.read(topic, &ranges, deadline, |message| {
            times.entry(message.partition()).or_insert_with(|| time_of(message));
            Next::Partition
        })?;
        Ok(times)
    }

    /// Gives every record from the first to before the second offset of each partition. True if all were read.
    fn read(
        &self,
        topic: &str,
        places: &BTreeMap<i32, (i64, i64)>,
        deadline: Instant,
        mut each: impl FnMut(&BorrowedMessage<'_>) -> Next,
    ) -> Result<bool> {
        let failed = |error: KafkaError| call_error(format!("reading {topic}"), RIGHT, &error);
        let mut assignment = TopicPartitionList::with_capacity(places.len());
        for (partition, (from, _)) in places {
            assignment.add_partition_offset(topic, *partition, Offset::Offset(*from)).map_err(failed)?;
        }
        self.consumer.assign(&assignment).map_err(failed)?;
        let mut open: BTreeSet<i32> = places.keys().copied().collect();
        let done = loop {
            if open.is_empty() {
                break Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                None if left.is_zero() => break Ok(false),
                None => {}
                Some(Ok(message)) => {
                    let partition = message.partition();
                    let Some((_, until)) = places.get(&partition) else { continue };
                    if !open.contains(&partition) || message.topic() != topic {
                        continue;
                    }
                    let next = if message.offset() < *until { each(&message) } else { Next::Partition };
                    match next {
                        Next::Stop => break Ok(false),
                        Next::More if message.offset() + 1 < *until => {}
                        Next::More | Next::Partition => {
                            open.remove(&partition);
                        }
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) if super::reader::is_passing(&error) => {}
                Some(Err(error)) => break Err(failed(error)),
            }
        };
        // Nothing is fetched until the next look.
        self.consumer.assign(&TopicPartitionList::new()).map_err(failed)?;
        done
    }
}

/// How reading goes on.
enum Next {
    More,
    /// No more of this partition.
    Partition,
    Stop,
}

fn time_of(message: &BorrowedMessage<'_>) -> i64 {
    message.timestamp().to_millis().unwrap_or(0)
}

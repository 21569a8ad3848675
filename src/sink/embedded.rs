//! The embedded broker: librdkafka's mock cluster, one broker in this process on a loopback port. For a first try and
//! for tests; it keeps only the newest lines, in memory.

use crate::error::{tel_error, Error, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::Message;
use std::time::Duration;

/// A running embedded broker.
pub struct EmbeddedBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

// SAFETY: the handle is only a pointer to the cluster, whose calls send operations to its own thread through a locked
// queue (rdkafka_mock.c); it may be used from whichever thread owns it.
unsafe impl Send for EmbeddedBroker {}

impl EmbeddedBroker {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// `TEL_ERR_IO` if the engine cannot start it.
    pub fn start() -> Result<EmbeddedBroker> {
        let cluster = MockCluster::new(1)
            .map_err(|error| Error::new(tel_error::TEL_ERR_IO, format!("embedded_broker cannot start: {error}")))?;
        Ok(EmbeddedBroker { cluster })
    }

    /// Its address, as `bootstrap.servers` takes it.
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Makes a topic of one partition, if it is not there.
    pub fn ensure_topic(&self, topic: &str) {
        // The one error is that the topic exists.
        let _ = self.cluster.create_topic(topic, 1, 1);
    }
}

/// Reads topics back from an embedded broker, from their beginning.
pub struct Reader {
    consumer: BaseConsumer,
}

impl Reader {
    /// A reader of `topics` of the broker at `bootstrap_servers`.
    ///
    /// # Errors
    /// `TEL_ERR_IO` if the engine cannot start one.
    pub fn new(bootstrap_servers: &str, topics: &[String]) -> Result<Reader> {
        let failed =
            |error| Error::new(tel_error::TEL_ERR_IO, format!("cannot read from the embedded broker: {error}"));
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("group.id", "tel-reader")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .set("allow.auto.create.topics", "false")
            .create()
            .map_err(failed)?;
        let mut assignment = TopicPartitionList::with_capacity(topics.len());
        for topic in topics {
            assignment.add_partition_offset(topic, 0, Offset::Beginning).map_err(failed)?;
        }
        consumer.assign(&assignment).map_err(failed)?;
        Ok(Reader { consumer })
    }

    /// The next line: its topic and value. `None` if none comes within `timeout`, or the broker has an error that
    /// passes.
    pub fn next(&self, timeout: Duration) -> Option<(String, Vec<u8>)> {
        let message = self.consumer.poll(timeout)?.ok()?;
        Some((message.topic().to_owned(), message.payload().unwrap_or_default().to_vec()))
    }
}

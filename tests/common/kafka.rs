//! The real Kafka of `tests/kafka/kafka`: one broker, its rules and certificates, and what can be read back from it.

use super::{root, Folder};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{json, Value};
use std::collections::HashMap;
use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Nothing that a healthy broker is asked takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running broker. It ends, with all its data, when this is dropped.
pub struct Kafka {
    folder: Folder,
    ssl: String,
}

/// The broker that the tests of one file share, one test at a time.
pub struct SharedKafka(MutexGuard<'static, Option<Kafka>>);

static SHARED: Mutex<Option<Kafka>> = Mutex::new(None);

/// The file's broker, started by the first test that asks and stopped when the process ends. The tests that hold it
/// run one after the other.
pub fn shared() -> SharedKafka {
    static AT_EXIT: Once = Once::new();
    extern "C" fn stop() {
        // After a test that failed it is poisoned; if some thread still holds it, the process is ending by force.
        match SHARED.try_lock() {
            Ok(mut broker) => drop(broker.take()),
            Err(TryLockError::Poisoned(poisoned)) => drop(poisoned.into_inner().take()),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    let mut broker = SHARED.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
        // Whatever state the test that failed has left it in.
        let mut broker = poisoned.into_inner();
        broker.take();
        SHARED.clear_poison();
        broker
    });
    if broker.is_none() {
        // Statics are not dropped.
        // SAFETY: the handler is a plain function that does not unwind: it only runs a command and deletes files.
        AT_EXIT.call_once(|| assert_eq!(unsafe { libc::atexit(stop) }, 0, "no place for an exit handler"));
        *broker = Some(Kafka::start());
    }
    SharedKafka(broker)
}

impl Deref for SharedKafka {
    type Target = Kafka;
    fn deref(&self) -> &Kafka {
        self.0.as_ref().expect("started")
    }
}

impl DerefMut for SharedKafka {
    fn deref_mut(&mut self) -> &mut Kafka {
        self.0.as_mut().expect("started")
    }
}

impl Kafka {
    /// Starts a broker, and makes the certificate `edge` of principal `CN=edge:one`, which may write to all topics
    /// that begin with `logs.`.
    pub fn start() -> Kafka {
        let mut kafka = Kafka { folder: Folder::new("kafka"), ssl: String::new() };
        let env = kafka.run("start", &[], "");
        kafka.ssl = env
            .lines()
            .find_map(|line| line.strip_prefix("TEL_KAFKA_SSL="))
            .unwrap_or_else(|| panic!("no TEL_KAFKA_SSL in: {env}"))
            .to_owned();
        kafka.cert("edge", "edge:one");
        kafka.admin("acl edge:one WRITE topic logs. prefixed");
        kafka
    }

    fn run(&self, command: &str, arguments: &[&str], input: &str) -> String {
        let script = root().join("tests/kafka/kafka");
        let mut child = Command::new(&script)
            .arg(command)
            .arg(self.folder.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
        // The command may end without reading all of it; its own words then say why.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().expect("its end");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kafka {command}: {}: {err}", output.status);
        out.into_owned()
    }

    /// Runs admin commands, one a line.
    pub fn admin(&self, commands: &str) -> String {
        self.run("admin", &[], commands)
    }

    /// Issues a certificate to `CN=<subject>`.
    pub fn cert(&self, name: &str, subject: &str) {
        self.run("cert", &[name, subject], "");
    }

    /// Ends the broker in order; its data stays.
    pub fn stop(&self) {
        self.run("stop", &[], "");
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.run("kill", &[], "");
    }

    /// Starts the broker that was stopped or killed, on the same ports.
    pub fn restart(&self) {
        self.run("start", &[], "");
    }

    /// The broker hangs until [`Kafka::resume`].
    pub fn pause(&self) {
        self.run("pause", &[], "");
    }

    pub fn resume(&self) {
        self.run("resume", &[], "");
    }

    /// The properties that connect with certificate `cert`.
    pub fn connection(&self, cert: &str) -> HashMap<&'static str, String> {
        let file = |name: String| self.pki().join(name).display().to_string();
        HashMap::from([
            ("bootstrap.servers", self.ssl.clone()),
            ("security.protocol", "ssl".into()),
            // The broker listens on 127.0.0.1 alone, whatever localhost is first.
            ("broker.address.family", "v4".into()),
            ("ssl.ca.location", file("ca.pem".into())),
            ("ssl.certificate.location", file(format!("{cert}.crt"))),
            ("ssl.key.location", file(format!("{cert}.key"))),
        ])
    }

    fn pki(&self) -> PathBuf {
        self.folder.file("pki")
    }

    /// A producer's configuration with certificate `cert`; `kafka` goes over the connection's properties.
    pub fn config(&self, cert: &str, clients: Option<&Path>, kafka: Value) -> String {
        let mut properties = json!(self.connection(cert));
        for (name, value) in kafka.as_object().expect("an object") {
            properties[name] = value.clone();
        }
        let mut config = json!({ "kafka": properties, "clients.watch": false });
        if let Some(clients) = clients {
            config["clients.file"] = json!(clients);
        }
        config.to_string()
    }

    /// A consumer with certificate `cert` in consumer group `group`.
    pub fn consumer(&self, cert: &str, group: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.extend(self.connection(cert).into_iter().map(|(name, value)| (name.to_owned(), value)));
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            .create()
            .expect("a consumer")
    }

    /// The names of all topics but Kafka's own.
    pub fn topics(&self) -> Vec<String> {
        let metadata = self.consumer("admin", "admin").fetch_metadata(None, PATIENCE).expect("metadata");
        let mut names: Vec<String> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
        names.retain(|name| !name.starts_with("__"));
        names.sort();
        names
    }

    /// Reads `topics` with certificate `cert`, from their beginning to their ends as they are now. The records of one
    /// partition come in order.
    ///
    /// # Errors
    /// What Kafka first refuses.
    pub fn read<'t>(
        &self,
        cert: &str,
        topics: impl IntoIterator<Item = &'t str>,
        mut each: impl FnMut(Record<'_>),
    ) -> KafkaResult<u64> {
        let consumer = self.consumer(cert, &format!("{cert}:reader"));
        let mut assignment = TopicPartitionList::new();
        let mut left: HashMap<(String, i32), i64> = HashMap::new();
        for topic in topics {
            for partition in 0..partitions(&consumer, topic)? {
                let (first, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
                assert_eq!(first, 0, "{topic} has lost records");
                if end > 0 {
                    assignment.add_partition_offset(topic, partition, Offset::Offset(0))?;
                    left.insert((topic.to_owned(), partition), end);
                }
            }
        }
        consumer.assign(&assignment)?;
        let (mut count, mut last) = (0, Instant::now());
        while !left.is_empty() {
            let Some(message) = consumer.poll(Duration::from_millis(100)) else {
                assert!(last.elapsed() < PATIENCE, "nothing more comes of {left:?}");
                continue;
            };
            let message = message?;
            last = Instant::now();
            count += 1;
            each(Record {
                topic: message.topic(),
                partition: message.partition(),
                timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
                has_key: message.key().is_some(),
                value: message.payload().unwrap_or_default(),
            });
            if left.get(&(message.topic().to_owned(), message.partition())) == Some(&(message.offset() + 1)) {
                left.remove(&(message.topic().to_owned(), message.partition()));
            }
        }
        Ok(count)
    }
}

/// What was read back.
pub struct Record<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub timestamp_ms: i64,
    pub has_key: bool,
    pub value: &'a [u8],
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> KafkaResult<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let topic = metadata.topics().first().expect("the topic asked for");
    match topic.error() {
        Some(error) => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::from(error))),
        None => Ok(topic.partitions().len() as i32),
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Its data goes with it: there is nothing that an orderly end would save.
        let script = root().join("tests/kafka/kafka");
        let _ = Command::new(script).arg("kill").arg(self.folder.path()).stderr(Stdio::null()).status();
    }
}

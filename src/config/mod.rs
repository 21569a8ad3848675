//! The configuration: one JSON object, read strictly. Every error names its key.

mod json;
pub mod kafka;

use crate::error::{Error, Result};
use crate::queue::Layout;
use json::Json;
pub use kafka::KafkaConfig;
use std::path::PathBuf;
use std::time::Duration;

/// Longest line that can be configured: Kafka's own default limit of a message, about.
const MOST_LINE_BYTES: u64 = 1 << 20;
/// More than any edge server gives to logging; guards the arithmetic.
const MOST_BYTES: u64 = 1 << 36;
/// An escaped line may be twice as long, and a few clients must be able to hold one each.
const LINES_IN_BATCHES: u64 = 8;

/// What a producer is told. Made by [`Config::from_json`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The engine's part.
    pub kafka: KafkaConfig,
    /// `embedded_broker`: librdkafka's mock cluster inside the process.
    pub embedded_broker: bool,
    /// `clients.file`.
    pub clients_file: Option<PathBuf>,
    /// `clients.watch`.
    pub clients_watch: bool,
    /// `queue.bytes`.
    pub queue_bytes: usize,
    /// `queue.max_line_bytes`.
    pub max_line_bytes: usize,
    /// `batches.bytes`.
    pub batches_bytes: usize,
    /// `exit_timeout_ms`.
    pub exit_timeout: Duration,
    /// Remarks on the configuration, to be logged once.
    pub warnings: Vec<String>,
}

/// The keys that may be written dotted (`"queue.bytes": 1`) or as an object (`"queue": {"bytes": 1}`).
const GROUPS: [&str; 4] = ["clients", "queue", "batches", "spool"];

impl Config {
    /// Reads the JSON text, without asking the engine about its properties.
    ///
    /// # Errors
    /// `TEL_ERR_CONFIG`, naming the key.
    pub fn from_json(text: &str) -> Result<Config> {
        let mut kafka = Vec::new();
        let mut embedded_broker = false;
        let mut insecure = false;
        let mut clients_file = None;
        let mut clients_watch = true;
        let mut queue_bytes = 32 << 20;
        let mut max_line_bytes = 16 << 10;
        let mut batches_bytes = 64 << 20;
        let mut exit_timeout_ms = 2000;

        for (key, value) in entries(text)? {
            match key.as_str() {
                "kafka" => kafka = value.object(&key)?,
                "embedded_broker" => embedded_broker = value.boolean(&key)?,
                "insecure" => insecure = value.boolean(&key)?,
                "clients.file" => clients_file = Some(path(&key, value.string(&key)?)?),
                "clients.watch" => clients_watch = value.boolean(&key)?,
                "queue.bytes" => queue_bytes = value.integer(&key, 1, MOST_BYTES)?,
                "queue.max_line_bytes" => max_line_bytes = value.integer(&key, 2, MOST_LINE_BYTES)?,
                "batches.bytes" => batches_bytes = value.integer(&key, 1, MOST_BYTES)?,
                "exit_timeout_ms" => exit_timeout_ms = value.integer(&key, 0, 3_600_000)?,
                "spool.dir" | "spool.max_bytes" => {
                    return Err(Error::config(format!(
                        "{key}: the disk spool is not available yet; leave the key out"
                    )));
                }
                _ => return Err(Error::config(format!("{key}: no such key"))),
            }
        }

        let least = Layout::least_bytes(max_line_bytes as usize) as u64;
        if queue_bytes < least {
            return Err(Error::config(format!(
                "queue.bytes: {queue_bytes} is too little for lines of queue.max_line_bytes={max_line_bytes}; \
                 at least {least} is needed"
            )));
        }
        let least = LINES_IN_BATCHES * max_line_bytes.max(1024);
        if batches_bytes < least {
            return Err(Error::config(format!(
                "batches.bytes: {batches_bytes} is too little for lines of queue.max_line_bytes={max_line_bytes}; \
                 at least {least} is needed"
            )));
        }
        let mut warnings = Vec::new();
        let kafka = KafkaConfig::new(kafka, embedded_broker, insecure, &mut warnings)?;
        Ok(Config {
            kafka,
            embedded_broker,
            clients_file,
            clients_watch,
            queue_bytes: queue_bytes as usize,
            max_line_bytes: max_line_bytes as usize,
            batches_bytes: batches_bytes as usize,
            exit_timeout: Duration::from_millis(exit_timeout_ms),
            warnings,
        })
    }
}

/// The object's entries, groups written out as dotted keys; each key at most once.
fn entries(text: &str) -> Result<Vec<(String, Json)>> {
    let mut entries: Vec<(String, Json)> = Vec::new();
    for (key, value) in Json::parse(text)?.object("the configuration")? {
        if GROUPS.contains(&key.as_str()) {
            let group = value.object(&key)?;
            entries.extend(group.into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)));
        } else {
            entries.push((key, value));
        }
    }
    for (index, (key, _)) in entries.iter().enumerate() {
        if entries[..index].iter().any(|(before, _)| before == key) {
            return Err(Error::config(format!("{key}: given twice")));
        }
    }
    Ok(entries)
}

fn path(key: &str, text: String) -> Result<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        return Err(Error::config(format!("{key}: must be the path of a file")));
    }
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::from_json(text).unwrap_err().to_string()
    }

    const KAFKA: &str = r#""kafka": {"bootstrap.servers": "127.0.0.1:9092"}"#;

    #[test]
    fn the_defaults_are_the_contract_s() {
        let config = Config::from_json(&format!("{{{KAFKA}}}")).unwrap();
        assert_eq!((config.queue_bytes, config.max_line_bytes, config.batches_bytes), (33554432, 16384, 67108864));
        assert_eq!(config.exit_timeout, Duration::from_millis(2000));
        assert!(config.clients_watch && !config.embedded_broker && config.clients_file.is_none());
    }

    #[test]
    fn keys_are_dotted_or_grouped() {
        let dotted =
            Config::from_json(r#"{"embedded_broker": true, "queue.bytes": 1000000, "clients.file": "a"}"#).unwrap();
        let grouped =
            Config::from_json(r#"{"embedded_broker": true, "queue": {"bytes": 1000000}, "clients": {"file": "a"}}"#)
                .unwrap();
        assert_eq!(dotted.queue_bytes, grouped.queue_bytes);
        assert_eq!(dotted.clients_file, grouped.clients_file);
    }

    #[test]
    fn every_error_names_its_key() {
        for (text, named) in [
            ("", "the configuration"),
            ("nonsense", "the configuration"),
            ("[]", "the configuration"),
            ("{}", "kafka.bootstrap.servers"),
            (r#"{"quue.bytes": 1}"#, "quue.bytes"),
            (r#"{"queue": {"byte": 1}}"#, "queue.byte"),
            (r#"{"queue": 5}"#, "queue"),
            (r#"{"queue.bytes": "much"}"#, "queue.bytes"),
            (r#"{"queue.bytes": 0}"#, "queue.bytes"),
            (r#"{"queue.bytes": -1}"#, "queue.bytes"),
            (r#"{"queue.bytes": 1.5}"#, "queue.bytes"),
            (r#"{"queue.bytes": 1000}"#, "queue.bytes"),
            (r#"{"queue.bytes": 1e300}"#, "queue.bytes"),
            (r#"{"queue.max_line_bytes": 99999999}"#, "queue.max_line_bytes"),
            (r#"{"batches.bytes": 1000}"#, "batches.bytes"),
            (r#"{"exit_timeout_ms": true}"#, "exit_timeout_ms"),
            (r#"{"clients.watch": "yes"}"#, "clients.watch"),
            (r#"{"clients.file": 7}"#, "clients.file"),
            (r#"{"clients.file": ""}"#, "clients.file"),
            (r#"{"embedded_broker": 1}"#, "embedded_broker"),
            (r#"{"insecure": null}"#, "insecure"),
            (r#"{"spool.dir": "/tmp"}"#, "spool.dir"),
            (r#"{"spool": {"max_bytes": 1}}"#, "spool.max_bytes"),
            (r#"{"queue.bytes": 1000000, "queue": {"bytes": 1000000}}"#, "queue.bytes"),
            (r#"{"insecure": true, "insecure": true}"#, "insecure"),
            (r#"{"kafka": []}"#, "kafka"),
        ] {
            let error = error(text);
            assert!(error.contains(named), "{text} gives: {error}");
        }
    }

    #[test]
    fn the_spool_is_refused_as_not_available_yet() {
        assert!(error(r#"{"spool": {"dir": "/var/spool/tel"}}"#).contains("not available yet"));
    }
}

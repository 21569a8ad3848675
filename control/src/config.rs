//! The configuration file: one JSON object, every key checked before anything starts.

use crate::error::{Error, Result};
use crate::names::Namespace;
use crate::store::ClientSettings;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// `sqlite:PATH` or `postgres://…`; holds secrets.
    pub database: String,
    /// librdkafka's properties of the administrator; may hold secrets.
    pub kafka: BTreeMap<String, String>,
    /// Where API and panel listen, `address:port`.
    pub listen: String,
    /// Certificate and key of API and panel; without them it is plain HTTP, which is for loopback alone.
    pub tls: Option<Tls>,
    /// Where clients find the brokers, `host:port` separated by commas.
    pub public_bootstrap: String,
    /// PEM file with the CA of the brokers' own certificates, for the bundle.
    pub brokers_ca: PathBuf,
    /// Folder of the CA that signs clients and edges.
    pub ca: PathBuf,
    /// File with the passphrase of that CA's key; none for a key in clear, which is not made here.
    pub ca_passphrase: Option<PathBuf>,
    /// What clients' topics begin with.
    pub namespace: Namespace,
    /// What a client's topic is like.
    pub topic: TopicPolicy,
    /// How long the topic of a client that has left is kept.
    pub grace_period: Duration,
    /// How long a client's certificate is valid.
    pub certificate_validity: Duration,
    /// A credential that was not seen at work for so long after it was made is revoked.
    pub unused_credential: Duration,
    /// What Kafka lets a credential consume; none: as much as it can.
    pub quota: Quota,
    /// How often all of Kafka is compared with what is wanted.
    pub full_pass: Duration,
    /// Where people reach the panel, such as `https://logs.example.com`; without it links are to `listen`.
    pub panel_url: Option<String>,
    /// File with the secret that launch links from another panel are signed with; without it none are taken.
    pub launch_key: Option<PathBuf>,
    /// The brokers' authorizer logs, if they can be read here: they tell which consumer is refused, and why.
    pub authorizer_logs: Vec<PathBuf>,
    /// The socket of the command line; who may connect to it is an operator.
    pub control_socket: PathBuf,
}

/// What Kafka lets each credential have on each broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Bytes consumed a second.
    pub consumer_bytes_per_second: Option<u64>,
}

/// Files of the listener's certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM, the chain included.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// What a client's topic is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicPolicy {
    /// Partitions of a new topic.
    pub partitions: u32,
    /// Replicas; 0: the brokers' default.
    pub replication: u16,
    /// Lines older than this are deleted: they hold addresses of people.
    pub retention_ms: u64,
    /// Bytes of a partition beyond which the oldest lines are deleted; 0: no bound.
    pub retention_bytes: u64,
}

impl Default for TopicPolicy {
    fn default() -> TopicPolicy {
        TopicPolicy { partitions: 3, replication: 0, retention_ms: 24 * 3600 * 1000, retention_bytes: 0 }
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    database: String,
    kafka: BTreeMap<String, serde_json::Value>,
    #[serde(default = "default_listen")]
    listen: String,
    tls: Option<Tls>,
    public_bootstrap: String,
    brokers_ca: PathBuf,
    ca: PathBuf,
    ca_passphrase: Option<PathBuf>,
    #[serde(default = "default_namespace")]
    namespace: String,
    #[serde(default)]
    topic: TopicPolicy,
    #[serde(default = "default_grace")]
    grace_period_hours: u32,
    #[serde(default = "default_validity")]
    certificate_days: u32,
    #[serde(default = "default_unused")]
    unused_credential_hours: u32,
    #[serde(default)]
    quota: Quota,
    #[serde(default = "default_full_pass")]
    full_pass_seconds: u32,
    panel_url: Option<String>,
    launch_key: Option<PathBuf>,
    #[serde(default)]
    authorizer_logs: Vec<PathBuf>,
    control_socket: Option<PathBuf>,
}

fn default_listen() -> String {
    "127.0.0.1:8470".into()
}

fn default_namespace() -> String {
    "logs.".into()
}

fn default_grace() -> u32 {
    72
}

fn default_validity() -> u32 {
    365
}

fn default_unused() -> u32 {
    24
}

fn default_full_pass() -> u32 {
    120
}

impl Config {
    /// Reads the file at `path`; paths in it are relative to its folder.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be read, `Invalid` with file, place or key, and reason.
    pub fn read(path: &Path) -> Result<Config> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| Error::unavailable(format!("{shown}: {error}")))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Config::from_json(&text, folder).map_err(|error| Error { text: format!("{shown}: {}", error.text), ..error })
    }

    /// Takes the text of a file in `folder`.
    ///
    /// # Errors
    /// `Invalid`, with place or key, and reason.
    pub fn from_json(text: &str, folder: &Path) -> Result<Config> {
        let file: File = serde_json::from_str(text).map_err(Error::invalid)?;
        let named = |key: &str, why: &str| Err(Error::invalid(format!("{key}: {why}")));
        if !["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| file.database.starts_with(scheme)) {
            return named("database", "must be sqlite:PATH or postgres://…");
        }
        let mut kafka = BTreeMap::new();
        for (name, value) in file.kafka {
            let value = match value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Number(number) => number.to_string(),
                serde_json::Value::Bool(is) => is.to_string(),
                _ => return named(&format!("kafka.{name}"), "must be a string, a number, true or false"),
            };
            kafka.insert(name, value);
        }
        if kafka.get("bootstrap.servers").is_none_or(|servers| servers.trim().is_empty()) {
            return named("kafka.bootstrap.servers", "required: host:port, separated by commas");
        }
        let servers: Vec<&str> = file.public_bootstrap.split(',').map(str::trim).collect();
        if servers.iter().any(|server| !is_server(server)) {
            return named("public_bootstrap", "must be host:port, separated by commas");
        }
        let is_local = ["127.0.0.1:", "[::1]:", "localhost:"].iter().any(|host| file.listen.starts_with(host));
        if file.tls.is_none() && !is_local {
            return named("tls", "required, unless listen is on 127.0.0.1, [::1] or localhost");
        }
        if !is_server(&file.listen) {
            return named("listen", "must be address:port");
        }
        if !(1..=ClientSettings::MOST_PARTITIONS).contains(&file.topic.partitions) {
            return named("topic.partitions", "must be from 1 to 10000");
        }
        if file.topic.retention_ms < ClientSettings::LEAST_RETENTION_MS {
            return named("topic.retention_ms", "must be at least a minute, 60000");
        }
        if !(1..=3650).contains(&file.certificate_days) {
            return named("certificate_days", "must be from 1 to 3650");
        }
        if file.unused_credential_hours == 0 {
            return named("unused_credential_hours", "must be at least 1");
        }
        if file.quota.consumer_bytes_per_second == Some(0) {
            return named("quota.consumer_bytes_per_second", "must be at least 1");
        }
        if file.full_pass_seconds == 0 {
            return named("full_pass_seconds", "must be at least 1");
        }
        if let Some(url) = &file.panel_url {
            if !is_url(url) {
                return named("panel_url", "must be http:// or https://, host, perhaps port, and nothing more");
            }
        }
        let at = |path: PathBuf| folder.join(path);
        Ok(Config {
            database: match file.database.strip_prefix("sqlite:") {
                Some(path) if !path.is_empty() => {
                    let path = at(PathBuf::from(path.strip_prefix("//").unwrap_or(path)));
                    format!("sqlite:{}", path.display())
                }
                _ => file.database,
            },
            kafka,
            listen: file.listen,
            tls: file.tls.map(|tls| Tls { certificate: at(tls.certificate), key: at(tls.key) }),
            public_bootstrap: servers.join(","),
            brokers_ca: at(file.brokers_ca),
            ca: at(file.ca),
            ca_passphrase: file.ca_passphrase.map(at),
            namespace: Namespace::new(&file.namespace)?,
            topic: file.topic,
            grace_period: Duration::from_secs(3600 * u64::from(file.grace_period_hours)),
            certificate_validity: Duration::from_secs(24 * 3600 * u64::from(file.certificate_days)),
            unused_credential: Duration::from_secs(3600 * u64::from(file.unused_credential_hours)),
            quota: file.quota,
            full_pass: Duration::from_secs(u64::from(file.full_pass_seconds)),
            panel_url: file.panel_url,
            launch_key: file.launch_key.map(at),
            authorizer_logs: file.authorizer_logs.into_iter().map(at).collect(),
            control_socket: at(file.control_socket.unwrap_or_else(|| PathBuf::from("tel-control.sock"))),
        })
    }

    /// The passphrase of the CA's key, if there is one: the file's first line.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be read.
    pub fn passphrase(&self) -> Result<Option<Vec<u8>>> {
        let Some(path) = &self.ca_passphrase else { return Ok(None) };
        let bytes = std::fs::read(path)
            .map_err(|error| Error::unavailable(format!("ca_passphrase: {}: {error}", path.display())))?;
        Ok(Some(bytes.split(|byte| *byte == b'\n' || *byte == b'\r').next().unwrap_or_default().to_vec()))
    }

    /// Where people reach the panel, without a slash at the end.
    pub fn panel(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.panel_url.clone().unwrap_or_else(|| format!("{scheme}://{}", self.listen))
    }
}

/// `host:port`, of characters that need no quoting wherever it is put.
fn is_server(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// An origin: scheme, host and perhaps a port.
fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    !rest.is_empty() && rest.chars().all(is_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"database": "sqlite:tel.db", "kafka": {"bootstrap.servers": "k:9092", "socket.timeout.ms": 5000},
        "public_bootstrap": "kafka.example.com:9093", "brokers_ca": "brokers.pem", "ca": "ca"}"#;

    fn with(from: &str, to: &str) -> Result<Config> {
        assert!(GOOD.contains(from), "{from}");
        Config::from_json(&GOOD.replace(from, to), Path::new("/etc/tel"))
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let config = Config::from_json(GOOD, Path::new("/etc/tel")).unwrap();
        assert_eq!((config.listen.as_str(), config.namespace.as_str()), ("127.0.0.1:8470", "logs."));
        assert_eq!(config.ca, Path::new("/etc/tel/ca"));
        assert_eq!(config.database, "sqlite:/etc/tel/tel.db");
        assert_eq!(config.kafka["socket.timeout.ms"], "5000");
        assert_eq!(config.topic, TopicPolicy::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, key) in [
            ("sqlite:tel.db", "mysql://x", "database: "),
            ("\"k:9092\"", "\"\"", "kafka.bootstrap.servers: "),
            ("5000", "[1]", "kafka.socket.timeout.ms: "),
            ("kafka.example.com:9093", "kafka.example.com", "public_bootstrap: "),
            ("kafka.example.com:9093", "a b:9093", "public_bootstrap: "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"listen\": \"0.0.0.0:80\"", "tls: "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"listen\": \"localhost:\"", "listen: "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"namespace\": \"tel.\"", "namespace "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"topic\": {\"partitions\": 0}", "topic.partitions: "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"topic\": {\"retention_ms\": 1}", "topic.retention_ms: "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"certificate_days\": 0", "certificate_days: "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"panel_url\": \"ftp://x\"", "panel_url: "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"panel_url\": \"https://x/path\"", "panel_url: "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"full_pass_seconds\": 0", "full_pass_seconds: "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"unused_credential_hours\": 0", "unused_credential_hours: "),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"quota\": {\"consumer_bytes_per_second\": 0}", "quota."),
            ("\"ca\": \"ca\"", "\"ca\": \"ca\", \"colour\": 1", "unknown field `colour`"),
            ("\"ca\": \"ca\"", "\"cb\": \"ca\"", "unknown field `cb`"),
        ] {
            let error = with(from, to).unwrap_err();
            assert!(error.text.starts_with(key), "{to}: {error}");
        }
    }
}

//! Kafka: what clients and edges have there, the list that edges follow, and what they say of it.
//!
//! ```text
//!            what is wanted
//!                  │
//!   topics, acls: compare, plan, apply ──► admin ──► librdkafka's admin calls (the only unsafe code)
//!   list: the one writer of tel.clients ──► every edge ──► acks: a reader of tel.acks
//!   quotas: over a connection of their own (librdkafka has none)
//!   doctor: do the brokers hold what this relies on?        groups: how far consumers are behind
//!   glance: the last lines of a topic, and when a line was written
//! ```
//!
//! Every call waits for Kafka, but no longer than its deadline: whoever must not wait makes it from another thread. Errors say
//! what was asked for and, where Kafka refused it, which right is missing.

pub mod acks;
pub mod acls;
pub mod admin;
pub mod doctor;
pub mod glance;
pub mod groups;
pub mod list;
pub mod quotas;
mod reader;
mod reports;
pub mod topics;
mod wire;

use crate::error::{Error, Result};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long a call may take when the caller does not say.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How Kafka is reached: librdkafka's properties, as they stand in the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    properties: BTreeMap<String, String>,
}

/// What the properties of a connection may not be, and why.
const REFUSED: [(&str, &str); 6] = [
    ("plugin.library.paths", "no code is loaded from elsewhere"),
    ("internal.termination.signal", "signals belong to the process"),
    ("transactional.id", "the client list has its own"),
    ("isolation.level", "the client list is read committed"),
    ("group.id", "nothing here is a member of a group"),
    ("enable.auto.commit", "nothing here commits offsets"),
];

impl Connection {
    /// Takes the properties; nothing is connected.
    ///
    /// # Errors
    /// `Invalid` without `bootstrap.servers`, or for a property that is not the operator's to choose.
    pub fn new(properties: impl IntoIterator<Item = (String, String)>) -> Result<Connection> {
        let properties: BTreeMap<String, String> = properties.into_iter().collect();
        for (name, why) in REFUSED {
            if properties.contains_key(name) {
                return Err(Error::invalid(format!("kafka: {name}: {why}")));
            }
        }
        if !["bootstrap.servers", "metadata.broker.list"].iter().any(|name| properties.contains_key(*name)) {
            return Err(Error::invalid("kafka: bootstrap.servers is missing"));
        }
        Ok(Connection { properties })
    }

    /// The value of a property, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// The same with `name` set to `value`.
    #[must_use]
    pub fn with(&self, name: &str, value: impl fmt::Display) -> Connection {
        let mut properties = self.properties.clone();
        properties.insert(name.to_owned(), value.to_string());
        Connection { properties }
    }

    /// For librdkafka: our defaults, the operator's properties, and what this code relies on.
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "tel-control")
            .set("enable.metrics.push", "false")
            .set("reconnect.backoff.max.ms", "2000");
        config.extend(self.properties.iter().map(|(name, value)| (name.clone(), value.clone())));
        config.set("allow.auto.create.topics", "false");
        config
    }
}

// Values may be secrets.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.properties.keys()).finish()
    }
}

/// What librdkafka says when it cannot be set up, without values that may be secrets.
fn setup_error(error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, text, name, _) => {
            let secret = ["password", "sasl.", ".key.", ".pem", "oauth"].iter().any(|part| name.contains(part));
            let text = if secret { "librdkafka does not take this value" } else { text.trim_end() };
            Error::invalid(format!("kafka: {name}: {text}"))
        }
        KafkaError::ClientCreation(text) => Error::invalid(format!("kafka: {}", text.trim_end())),
        other => Error::unavailable(format!("kafka: {other}")),
    }
}

/// The error for `what` was being done, when it needed `right`.
fn call_error(what: impl fmt::Display, right: &str, error: &KafkaError) -> Error {
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    let text = match error {
        KafkaError::Transaction(error) => error.string(),
        other => other.to_string(),
    };
    error_of(what, right, code.map_or(0, |code| code as i32), &text)
}

/// The error for `what` was being done, when it needed `right`: `code` is Kafka's or librdkafka's own.
fn error_of(what: impl fmt::Display, right: &str, code: i32, text: &str) -> Error {
    let text = text.trim_end();
    let is = |codes: &[RDKafkaErrorCode]| codes.iter().any(|known| *known as i32 == code);
    use RDKafkaErrorCode as Code;
    if is(&[
        Code::TopicAuthorizationFailed,
        Code::GroupAuthorizationFailed,
        Code::ClusterAuthorizationFailed,
        Code::TransactionalIdAuthorizationFailed,
    ]) {
        return Error::unavailable(format!("{what}: Kafka refuses it: tel-control's principal needs {right}"));
    }
    if is(&[Code::SecurityDisabled]) {
        return Error::unavailable(format!("{what}: the brokers have no authorizer (authorizer.class.name)"));
    }
    if is(&[Code::UnknownTopicOrPartition, Code::UnknownTopic, Code::UnknownPartition, Code::GroupIdNotFound]) {
        return Error::not_found(format!("{what}: {text}"));
    }
    if is(&[Code::TopicAlreadyExists, Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch]) {
        return Error::conflict(format!("{what}: {text}"));
    }
    if is(&[
        Code::InvalidTopic,
        Code::InvalidPartitions,
        Code::InvalidReplicationFactor,
        Code::InvalidConfig,
        Code::InvalidRequest,
        Code::InvalidArgument,
        Code::PolicyViolation,
    ]) {
        return Error::invalid(format!("{what}: {text}"));
    }
    Error::unavailable(format!("{what}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn properties(names: &[(&str, &str)]) -> Vec<(String, String)> {
        names.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_connection_needs_servers_and_shows_no_values() {
        assert_eq!(Connection::new(properties(&[])).unwrap_err().kind, Kind::Invalid);
        let refused = Connection::new(properties(&[("bootstrap.servers", "k:1"), ("group.id", "x")])).unwrap_err();
        assert!(refused.text.contains("group.id"), "{refused}");
        let connection =
            Connection::new(properties(&[("bootstrap.servers", "k:1"), ("ssl.key.password", "hush")])).unwrap();
        assert!(!format!("{connection:?}").contains("hush"));
        assert_eq!(connection.with("bootstrap.servers", "k:2").get("bootstrap.servers"), Some("k:2"));
    }

    #[test]
    fn a_refused_value_is_shown_unless_it_may_be_a_secret() {
        let text = |name: &str, value: &str| {
            let connection = Connection::new(properties(&[("bootstrap.servers", "k:1"), (name, value)])).unwrap();
            setup_error(connection.config().create_native_config().err().unwrap()).text
        };
        assert!(text("socket.timeout.ms", "soon").contains("socket.timeout.ms"));
        assert!(!text("sasl.login.nonsense", "hush").contains("hush"));
    }

    #[test]
    fn an_error_says_which_right_is_missing() {
        let error =
            error_of("topic logs.c83", "Create on it", RDKafkaErrorCode::TopicAuthorizationFailed as i32, "refused");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.text.contains("logs.c83") && error.text.contains("needs Create on it"), "{error}");
    }
}

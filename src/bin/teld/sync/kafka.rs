//! What the clients that follow the list have of the producer's configuration, and how they speak.

use rdkafka::config::ClientConfig;
use tel::{Level, Log};

/// The producer's properties that are the connection's, by their beginnings. What is about lines is not for the list.
const SHARED: [&str; 14] = [
    "bootstrap.servers",
    "broker.address.",
    "client.",
    "connections.",
    "debug",
    "enable.metrics.push",
    "enable.sasl.",
    "enable.ssl.",
    "https.",
    "log_level",
    "reconnect.",
    "sasl.",
    "security.",
    "ssl.",
];

/// Own properties of the connection; the producer's may be longer than the list can wait.
const OWN: [(&str, &str); 4] = [
    ("socket.keepalive.enable", "true"),
    ("socket.timeout.ms", "10000"),
    ("reconnect.backoff.max.ms", "2000"),
    ("topic.metadata.refresh.interval.ms", "60000"),
];

/// The connection's properties: the producer's, and own ones below them.
pub fn connection(kafka: &tel::Config) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.extend(OWN.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let is_shared = |name: &str| SHARED.iter().any(|shared| name.starts_with(shared));
    let shared = kafka.kafka.properties.iter().filter(|(name, _)| is_shared(name));
    config.extend(shared.map(|(name, value)| (name.clone(), value.clone())));
    config
}

/// Passes on what librdkafka has to say.
pub fn say(log: &Log, kafka: &tel::Config, level: i32, facility: &str, text: &str) {
    // A failed connection comes as an error, too, and is said there.
    let level = if facility == "FAIL" { Level::Debug } else { Level::from_syslog(level) };
    let text = kafka.kafka.secrets.redact(text.trim());
    log.say(level, "sync librdkafka", format_args!("sync: librdkafka: {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_connection_s_is_taken_over() {
        let text = r#"{"kafka": {"bootstrap.servers": "b:1", "security.protocol": "ssl", "client.id": "edge",
            "linger.ms": 5, "acks": 1, "socket.timeout.ms": 60000, "compression.codec": "zstd"}}"#;
        let config = connection(&tel::Config::from_json(text).unwrap());
        let get = |name: &str| config.get(name).unwrap_or("-").to_owned();
        assert_eq!(["bootstrap.servers", "security.protocol", "client.id"].map(get), ["b:1", "ssl", "edge"]);
        assert_eq!(["queue.buffering.max.ms", "compression.codec", "request.required.acks"].map(get), ["-"; 3]);
        assert_eq!(get("socket.timeout.ms"), "10000");
    }
}

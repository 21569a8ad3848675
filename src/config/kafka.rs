//! The engine's properties: the preset, the user's over it, and what may not be set.

use super::json::Json;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The original system's settings, and what newer librdkafka needs for them to mean the same.
const PRESET: [(&str, &str); 13] = [
    ("compression.codec", "gzip"),
    ("retry.backoff.ms", "3000"),
    ("queue.buffering.max.messages", "250000"),
    (LINGER, "1000"),
    ("batch.num.messages", "10000"),
    ("topic.metadata.refresh.interval.ms", "150000"),
    ("socket.timeout.ms", "45000"),
    ("socket.keepalive.enable", "true"),
    ("enable.idempotence", "true"),
    // Brokers that ask for client metrics get none: it saves threads work, and a second at every close.
    ("enable.metrics.push", "false"),
    // The engine's own, said here because hand-overs keep to them.
    ("batch.size", "1000000"),
    ("message.max.bytes", "1000000"),
    // Every line is copied into the request that carries it: a line given up may still be on its way, and its memory
    // is used again.
    ("message.copy.max.bytes", "16777216"),
];

/// The levels taken if none is given, the cheapest that compress well: docs/performance has what they cost and save, beside
/// the engine's own defaults, which the original system's producer takes.
const LEVELS: [(&str, &str); 2] = [("gzip", "1"), ("zstd", "1")];

/// What a batch is, is decided here: these have no say in it.
const WITHOUT_EFFECT: [&str; 2] = ["partitioner", "sticky.partitioning.linger.ms"];

const LINGER: &str = "queue.buffering.max.ms";
const BOOTSTRAP: &str = "bootstrap.servers";

/// Names that librdkafka takes for another name's property, producer side (rdkafka_conf.c of librdkafka 2.12).
const ALIASES: [(&str, &str); 10] = [
    ("metadata.broker.list", BOOTSTRAP),
    ("linger.ms", LINGER),
    ("compression.type", "compression.codec"),
    ("retries", "message.send.max.retries"),
    ("acks", "request.required.acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
];

/// What may not be set, and why.
const REFUSED: [(&str, &str); 5] = [
    ("plugin.library.paths", "loads foreign code into the host"),
    ("internal.termination.signal", "the host's signals are its own"),
    ("delivery.report.only.error", "every line is accounted for by its delivery report"),
    ("allow.auto.create.topics", "topics are made by whoever manages the clients, never by a log line"),
    ("transactional.id", "lines are not sent in transactions"),
];

/// Properties whose value is the path of a file that must be there.
const TLS_FILES: [&str; 6] = [
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.crl.location",
    "https.ca.location",
];

/// The engine may hold a hand-over back for this long, so that it is not cut into pieces while it is being made; the
/// rest of the batching time is ours.
const ENGINE_LINGER: Duration = Duration::from_millis(5);

/// The engine's part of the configuration.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// What the engine is given, by canonical name.
    pub properties: BTreeMap<String, String>,
    /// The names by which the user gave them.
    given_names: BTreeMap<String, String>,
    /// How long a line may wait before it is handed to the engine; what the engine adds is already taken off.
    pub linger: Duration,
    /// Most lines handed over and not yet reported.
    pub max_messages: usize,
    /// Most lines that one request carries for a partition.
    pub batch_lines: usize,
    /// Most bytes, the lines' frames included.
    pub batch_bytes: usize,
    /// Values that appear in no text.
    pub secrets: Secrets,
}

impl KafkaConfig {
    pub(super) fn new(
        given: Vec<(String, Json)>,
        embedded_broker: bool,
        insecure: bool,
        warnings: &mut Vec<String>,
    ) -> Result<KafkaConfig> {
        let mut properties = BTreeMap::new();
        let mut given_names = BTreeMap::new();
        for (name, value) in given {
            let key = format!("kafka.{name}");
            let value = value.property(&key)?;
            refuse(&key, &name)?;
            if value.contains('\0') || name.contains('\0') {
                return Err(Error::config(format!("{key}: contains a NUL byte")));
            }
            if embedded_broker && is_security(&name) {
                warnings.push(format!("{key} is ignored with embedded_broker"));
                continue;
            }
            let canonical = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name.as_str(), |(_, name)| name);
            if let Some(other) = given_names.insert(canonical.to_owned(), name.clone()) {
                return Err(Error::config(format!("{key}: given twice, once as {other}")));
            }
            properties.insert(canonical.to_owned(), value);
        }
        let secrets = Secrets::of(&properties);
        if embedded_broker {
            properties.remove(BOOTSTRAP);
        } else if properties.get(BOOTSTRAP).is_none_or(|servers| servers.trim().is_empty()) {
            return Err(Error::config(
                "kafka.bootstrap.servers: required (host:port, separated by commas), unless embedded_broker is true",
            ));
        }
        check_insecure(&properties, insecure)?;
        check_files(&properties)?;
        for name in WITHOUT_EFFECT {
            if properties.remove(name).is_some() {
                warnings
                    .push(format!("kafka.{name} has no effect: lines have no key, and a batch goes to one partition"));
            }
        }
        properties.insert("sticky.partitioning.linger.ms".into(), "0".into());

        let level_given = properties.contains_key("compression.level");
        let backoff_cap_given = properties.contains_key("retry.backoff.max.ms");
        for (name, value) in PRESET {
            properties.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        let codec = properties.get("compression.codec");
        let level = LEVELS.iter().find(|(name, _)| codec.is_some_and(|codec| codec == name));
        if let (false, Some((_, level))) = (level_given, level) {
            properties.insert("compression.level".into(), (*level).to_owned());
        }
        let number = |name, range| number(&properties, &given_names, name, range);
        let integer = |name, least, most| number(name, Range { least, most, whole: true });
        let backoff = integer("retry.backoff.ms", 0.0, 300_000.0)?;
        let linger = number(LINGER, Range { least: 0.0, most: 900_000.0, whole: false })?;
        let whole = Duration::from_secs_f64(linger / 1000.0);
        let max_messages = match integer("queue.buffering.max.messages", 0.0, 2_147_483_647.0)? as usize {
            0 => i32::MAX as usize,
            bound => bound,
        };
        let batch_lines = integer("batch.num.messages", 1.0, 1_000_000.0)? as usize;
        let most_bytes = integer("message.max.bytes", 1000.0, 1_000_000_000.0)?;
        let batch_bytes = integer("batch.size", 1.0, 2_147_483_647.0)?.min(most_bytes);
        if !backoff_cap_given && backoff > 1000.0 {
            // Since 2.2 librdkafka caps the backoff at this property's default of one second.
            properties.insert("retry.backoff.max.ms".into(), properties["retry.backoff.ms"].clone());
        }
        let engine = whole.min(ENGINE_LINGER);
        properties.insert(LINGER.into(), format!("{}", engine.as_secs_f64() * 1000.0));
        Ok(KafkaConfig {
            properties,
            given_names,
            linger: whole - engine,
            max_messages,
            batch_lines: batch_lines.min(max_messages),
            batch_bytes: batch_bytes as usize,
            secrets,
        })
    }

    /// The key to name in an error about the property `canonical`: as the user wrote it.
    pub fn key(&self, canonical: &str) -> String {
        format!("kafka.{}", self.given_names.get(canonical).map_or(canonical, String::as_str))
    }
}

fn refuse(key: &str, name: &str) -> Result<()> {
    let reason = REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, reason)| *reason);
    let reason = reason.or_else(|| name.starts_with("test.mock.").then_some("use embedded_broker"));
    match reason {
        Some(reason) => Err(Error::config(format!("{key}: may not be set: {reason}"))),
        None => Ok(()),
    }
}

fn is_security(name: &str) -> bool {
    name == "security.protocol"
        || ["ssl.", "sasl.", "enable.ssl.", "enable.sasl.", "https."].iter().any(|prefix| name.starts_with(prefix))
}

fn check_insecure(properties: &BTreeMap<String, String>, insecure: bool) -> Result<()> {
    let is = |name: &str, values: &[&str]| {
        properties.get(name).is_some_and(|value| values.iter().any(|bad| value.trim().eq_ignore_ascii_case(bad)))
    };
    for (name, values) in [
        ("enable.ssl.certificate.verification", &["false", "f", "0"][..]),
        ("ssl.endpoint.identification.algorithm", &["none"][..]),
    ] {
        if !insecure && is(name, values) {
            return Err(Error::config(format!(
                "kafka.{name}: would talk to whoever answers; if that is meant, set \"insecure\": true"
            )));
        }
    }
    Ok(())
}

fn check_files(properties: &BTreeMap<String, String>) -> Result<()> {
    for name in TLS_FILES {
        let Some(value) = properties.get(name) else { continue };
        // "probe" asks librdkafka to look for the system's certificates.
        if (name == "ssl.ca.location" && value == "probe") || value.is_empty() || Path::new(value).exists() {
            continue;
        }
        let named = if is_secret(name) { "the file named there".to_owned() } else { format!("the file {value}") };
        return Err(Error::config(format!("kafka.{name}: {named} does not exist")));
    }
    Ok(())
}

/// What a number may be; librdkafka's own bounds.
struct Range {
    least: f64,
    most: f64,
    whole: bool,
}

fn number(
    properties: &BTreeMap<String, String>,
    given_names: &BTreeMap<String, String>,
    name: &str,
    Range { least, most, whole }: Range,
) -> Result<f64> {
    let value = properties.get(name).map_or("", String::as_str).trim();
    let fits = |number: &f64| (least..=most).contains(number) && (!whole || number.fract() == 0.0);
    value.parse::<f64>().ok().filter(fits).ok_or_else(|| {
        let name = given_names.get(name).map_or(name, String::as_str);
        let kind = if whole { "an integer" } else { "a number" };
        Error::config(format!("kafka.{name}: must be {kind} from {least} to {most}, not \"{value}\""))
    })
}

/// Whether a property's value is never shown.
pub fn is_secret(name: &str) -> bool {
    name.contains("password") || name.contains(".key.") || name.starts_with("sasl.")
}

/// Takes secret values out of texts.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    values: Vec<String>,
}

impl Secrets {
    fn of(properties: &BTreeMap<String, String>) -> Secrets {
        let secret = properties.iter().filter(|(name, value)| is_secret(name) && !value.is_empty());
        let mut values: Vec<String> = secret.map(|(_, value)| value.clone()).collect();
        // The longest first: one value may contain another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Secrets { values }
    }

    /// `text` with every secret value replaced.
    pub fn redact(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), "<redacted>"))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn kafka(properties: &str) -> Result<super::KafkaConfig, String> {
        let text = format!(r#"{{"kafka": {{"bootstrap.servers": "b:1", {properties}}}}}"#);
        Config::from_json(&text).map(|config| config.kafka).map_err(|error| error.to_string())
    }

    #[test]
    fn the_preset_is_under_the_user_s_keys_by_either_name() {
        let plain = kafka(r#""client.id": "x""#).unwrap();
        assert_eq!(plain.properties["compression.codec"], "gzip");
        assert_eq!(plain.properties["compression.level"], "1");
        assert_eq!(plain.properties["retry.backoff.max.ms"], "3000");
        assert_eq!(plain.linger.as_millis(), 995);
        assert_eq!(plain.properties["queue.buffering.max.ms"], "5");
        let own = kafka(r#""compression.type": "zstd", "linger.ms": 2.5, "retry.backoff.ms": 100"#).unwrap();
        assert_eq!(own.properties["compression.codec"], "zstd");
        assert_eq!(own.properties["compression.level"], "1");
        let lz4 = kafka(r#""compression.codec": "lz4""#).unwrap();
        assert!(!lz4.properties.contains_key("compression.level"));
        let level = kafka(r#""compression.level": 6"#).unwrap();
        assert_eq!(level.properties["compression.level"], "6");
        assert!(!own.properties.contains_key("compression.type"));
        assert_eq!((own.linger.as_millis(), own.properties["queue.buffering.max.ms"].as_str()), (0, "2.5"));
        assert!(!own.properties.contains_key("retry.backoff.max.ms"));
    }

    #[test]
    fn what_may_not_be_set_is_refused_by_name() {
        for name in [
            "plugin.library.paths",
            "internal.termination.signal",
            "delivery.report.only.error",
            "allow.auto.create.topics",
            "test.mock.num.brokers",
            "transactional.id",
        ] {
            let error = kafka(&format!(r#""{name}": "1""#)).unwrap_err();
            assert!(error.contains(name) && error.contains("may not be set"), "{error}");
        }
    }

    #[test]
    fn values_are_checked_and_named() {
        for (properties, named) in [
            (r#""linger.ms": "soon""#, "linger.ms"),
            (r#""queue.buffering.max.ms": -1"#, "queue.buffering.max.ms"),
            (r#""linger.ms": 1, "queue.buffering.max.ms": 1"#, "queue.buffering.max.ms"),
            (r#""metadata.broker.list": "x:1""#, "metadata.broker.list"),
            (r#""ssl.ca.location": "/nowhere/ca.pem""#, "ssl.ca.location"),
            (r#""client.id": {}"#, "kafka.client.id"),
            (r#""enable.ssl.certificate.verification": false"#, "insecure"),
            (r#""ssl.endpoint.identification.algorithm": "none""#, "insecure"),
        ] {
            let error = kafka(properties).unwrap_err();
            assert!(error.contains(named), "{properties} gives: {error}");
        }
    }

    #[test]
    fn secrets_are_in_no_text() {
        let error = kafka(r#""ssl.key.location": "/nowhere/private.pem""#).unwrap_err();
        assert!(error.contains("ssl.key.location") && !error.contains("private.pem"), "{error}");
        let secrets = kafka(r#""sasl.password": "hunter2", "sasl.username": "hunter""#).unwrap().secrets;
        assert_eq!(secrets.redact("hunter2 and hunter"), "<redacted> and <redacted>");
    }
}

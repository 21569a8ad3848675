//! The values that the templates name, each checked against an alphabet that no format can trip over.

use super::{jks, Bundle};
use crate::error::{Error, Result};
use crate::names::ClientId;
use openssl::x509::X509;
use std::time::Duration;

/// In place of the key store's password where the client makes the key store.
const OWN_PASSWORD: &str = "changeit";
const OWN_KEY: &str = "PUT THE TEXT OF certs/client.key HERE";
/// Between the client's id and the credential's number.
const CREDENTIAL: &str = "-credential-";
const OWN_CERTIFICATE: &str = "PUT THE TEXT OF certs/client.pem HERE";

/// What the brokers' certificates are checked against.
pub(super) struct Trusted {
    pub(super) pem: String,
    pub(super) der: Vec<Vec<u8>>,
}

/// The values by name.
pub(super) struct Values {
    pub(super) brokers_ca: Trusted,
    named: Vec<(&'static str, String)>,
}

impl Drop for Values {
    fn drop(&mut self) {
        for (_, value) in &mut self.named {
            drop(crate::ca::Secret::new(std::mem::take(value).into_bytes()));
        }
    }
}

impl Values {
    pub(super) fn new(bundle: &Bundle<'_>) -> Result<Values> {
        let brokers = brokers(bundle.bootstrap)?;
        let brokers_ca = trusted(bundle.brokers_ca_pem)?;
        if !bundle.topic.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) || bundle.topic.is_empty() {
            return Err(Error::invalid(format!("topic {:?}: not a topic's name", shown(bundle.topic))));
        }
        let certificate = bundle.certificate.map_or(OWN_CERTIFICATE, |certificate| certificate.pem.trim_end());
        let key_text = bundle.key.map_or(OWN_KEY, |key| key.text().trim_end());
        let password = bundle.key_store.map_or(OWN_PASSWORD, |store| store.password.text());
        for (what, text) in [("the certificate", certificate), ("the private key", key_text)] {
            if !text.chars().all(|c| c.is_ascii_alphanumeric() || "+/=-. \n".contains(c)) || text.is_empty() {
                return Err(Error::invalid(format!("{what} is not PEM text")));
            }
        }
        if !password.chars().all(|c| c.is_ascii_alphanumeric()) || password.len() < 6 {
            return Err(Error::invalid("the key store's password: 6 or more letters and digits"));
        }
        let quoted: Vec<String> = brokers.iter().map(|broker| format!("\"{broker}\"")).collect();
        let named = vec![
            ("ID", bundle.id.to_string()),
            ("CLIENT_ID", client_id(bundle.id, bundle.generation)),
            ("SQL_ID", sql_name(bundle.id.as_str())),
            ("TOPIC", bundle.topic.to_owned()),
            ("CERTIFICATE", certificate_in_words(bundle)),
            ("BOOTSTRAP", brokers.join(",")),
            ("BROKERS", quoted.join(", ")),
            (
                "RETENTION",
                match bundle.retention {
                    Some(limit) => format!("{}; what is not read by then is gone", duration(limit)),
                    None => "without a limit of time".to_owned(),
                },
            ),
            ("BROKERS_CA_PEM", brokers_ca.pem.trim_end().to_owned()),
            ("CERTIFICATE_PEM", certificate.to_owned()),
            ("KEY_PEM", key_text.to_owned()),
            ("KEY_STORE_PASSWORD", password.to_owned()),
            ("TRUST_STORE_PASSWORD", jks::PUBLIC_PASSWORD.to_owned()),
            ("READY", if bundle.key.is_some() { NOTHING_TO_EDIT } else { KEY_TO_ADD }.to_owned()),
            (
                "KEY_NOTE",
                match (bundle.certificate, bundle.key) {
                    (_, Some(_)) => KEY_IS_HERE.to_owned(),
                    (Some(_), None) => format!("{KEY_IS_YOURS}{KEY_STORE}"),
                    (None, None) => format!("{NO_CERTIFICATE}{KEY_STORE}"),
                },
            ),
        ];
        Ok(Values { brokers_ca, named })
    }

    /// The template with each `@NAME@` replaced by its value, once: a value is never looked through again.
    ///
    /// # Errors
    /// `Unavailable` for a name that stands for nothing.
    pub(super) fn fill(&self, template: &str) -> Result<Vec<u8>> {
        // Room for all of it, so that growing leaves no copies of a key behind.
        let longest: usize = self.named.iter().map(|(_, value)| value.len()).sum();
        let mut filled = Vec::with_capacity(template.len() + 8 * longest);
        let mut rest = template;
        while let Some(start) = rest.find('@') {
            let (before, after) = rest.split_at(start);
            filled.extend(before.as_bytes());
            let name = after[1..].split('@').next().unwrap_or_default();
            if name.is_empty()
                || !name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                || name.len() + 2 > after.len()
            {
                filled.push(b'@');
                rest = &after[1..];
                continue;
            }
            let Some((_, value)) = self.named.iter().find(|(known, _)| *known == name) else {
                return Err(Error::unavailable(format!(
                    "a template of the bundle names @{name}@, which stands for nothing"
                )));
            };
            filled.extend(value.as_bytes());
            rest = &after[name.len() + 2..];
        }
        filled.extend(rest.as_bytes());
        Ok(filled)
    }
}

const NOTHING_TO_EDIT: &str = "In this folder is all that it takes to read them. Nothing needs to be edited.";
const KEY_TO_ADD: &str =
    "In this folder is all that it takes to read them, but for your private key: see below where it goes.";

/// Whose the certificate is and until when, for the table of the README.
fn certificate_in_words(bundle: &Bundle<'_>) -> String {
    match bundle.certificate {
        Some(certificate) => {
            let principal = bundle.id.common_name(bundle.generation);
            format!(
                "`CN={principal}`, valid until {}; revoked if no consumer group has used it within {} (reading without a group is not seen)",
                certificate.not_after.date(),
                duration(bundle.unused)
            )
        }
        None => "none in here".to_owned(),
    }
}

const KEY_IS_HERE: &str = "\
`certs/client.key` (and the same in `client.p12`, `java/`, `logstash/` and `clickhouse/tel.xml`) is your private key. It has been made\n\
for this download and exists nowhere else: keep it to yourself; if it is lost, make a new credential.";

const KEY_IS_YOURS: &str = "\
**This bundle holds no private key.** Put the key that goes with `certs/client.pem` into `certs/client.key`; for Java and Logstash then\n\
make the key store, and for ClickHouse put the key's text into `clickhouse/tel.xml`:\n\
\n";

const NO_CERTIFICATE: &str = "\
**This bundle holds neither a certificate nor a private key.** A new credential comes with a bundle that has both. Whoever has a\n\
credential puts its certificate into `certs/client.pem` and its key into `certs/client.key`; for Java and Logstash then makes the key\n\
store, and for ClickHouse puts both texts into `clickhouse/tel.xml`:\n\
\n";

const KEY_STORE: &str = "\
\u{20}   chmod 600 certs/client.key\n\
\u{20}   openssl pkcs12 -export -in certs/client.pem -inkey certs/client.key -out certs/client.p12 -passout pass:changeit";

/// What consumers call themselves, so that it can be seen which credential is at work. A colon as in the common name would not do:
/// Filebeat 7 takes none.
pub(super) fn client_id(id: &ClientId, generation: u32) -> String {
    format!("{id}{CREDENTIAL}{generation}")
}

/// Which of its credentials a consumer of the client's says it has. Some programs add something to their name, such as `-0`.
pub(super) fn generation_of(id: &ClientId, client_id: &str) -> Option<u32> {
    let rest = client_id.strip_prefix(id.as_str())?.strip_prefix(CREDENTIAL)?;
    let (digits, more) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    (more.is_empty() || more.starts_with(['-', '_', '.', '/'])).then_some(())?;
    digits.parse().ok().filter(|generation| *generation > 0)
}

/// The addresses of a list as Kafka's clients take it.
fn brokers(list: &str) -> Result<Vec<String>> {
    let brokers: Vec<&str> = list.split(',').map(str::trim).collect();
    for broker in &brokers {
        if !is_address(broker) {
            return Err(Error::invalid(format!(
                "bootstrap servers \"{}\": \"{}\" is not host:port",
                shown(list),
                shown(broker)
            )));
        }
    }
    Ok(brokers.into_iter().map(str::to_owned).collect())
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_is_good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            host.starts_with(|c: char| c.is_ascii_alphanumeric())
                && host.len() <= 253
                && host.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        }
    };
    host_is_good && port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn trusted(pem: &str) -> Result<Trusted> {
    let unreadable = |_| Error::invalid("the brokers' CA: not PEM certificates");
    let certificates = X509::stack_from_pem(pem.as_bytes()).map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(Error::invalid("the brokers' CA: no certificate in it"));
    }
    // Written anew: a PEM file may have any text around its blocks, a private key too.
    let mut trusted = Trusted { pem: String::new(), der: Vec::new() };
    for certificate in certificates {
        let pem = certificate.to_pem().map_err(unreadable)?;
        trusted.pem.push_str(std::str::from_utf8(&pem).map_err(|_| Error::invalid("the brokers' CA: not text"))?);
        trusted.der.push(certificate.to_der().map_err(unreadable)?);
    }
    Ok(trusted)
}

/// As a part of an SQL or XML name.
fn sql_name(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// In words, in the unit that leaves a number of two or more.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7_199 => (seconds / 60, "minute"),
        7_200..=172_799 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// As much of a value as an error shows.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["kafka:9092", "k-1.example.com:1", "127.0.0.1:65535", "[::1]:9093"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "kafka",
            "kafka:",
            ":9092",
            "kafka:0",
            "kafka:65536",
            "kafka:+1",
            "-k:1",
            "[::1:9093",
            "[x]:1",
            "a b:1",
            "a\":1",
            "a\n:1",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
        assert_eq!(brokers(" a:1 ,b:2").unwrap(), ["a:1", "b:2"]);
    }

    #[test]
    fn a_consumer_s_name_tells_its_credential() {
        let id = ClientId::new("c83").unwrap();
        assert_eq!(client_id(&id, 12), "c83-credential-12");
        for (name, generation) in [("c83-credential-12", Some(12)), ("c83-credential-12-0", Some(12))] {
            assert_eq!(generation_of(&id, name), generation);
        }
        for other in [
            "",
            "c83",
            "c8-credential-1",
            "c83-credential-",
            "c83-credential-0",
            "c83-credential-1x",
            "c83-credential-99999999999",
        ] {
            assert_eq!(generation_of(&id, other), None, "{other}");
        }
    }

    #[test]
    fn durations_in_words() {
        let words = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(words(1), "1 second");
        assert_eq!(words(2400), "40 minutes");
        assert_eq!(words(7200), "2 hours");
        assert_eq!(words(604_800), "7 days");
    }
}

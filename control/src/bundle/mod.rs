//! What a client downloads: a folder in which everything is ready to run, with its certificates.
//!
//! Each file is a template beside this code; a few names in it stand for the client's values (`values.rs`). All values are of
//! alphabets without quotes, spaces or line ends, checked before anything is written, so that no value can leave the quotes it is in,
//! whatever the file's format. Names of the entries are fixed: users' scripts rely on them.

mod archive;
mod jks;
mod values;

pub use archive::{zip, zip_folder};

use crate::ca::{IssuedCredential, KeyStore, Secret};
use crate::error::Result;
use crate::names::ClientId;
use std::time::Duration;
use time::OffsetDateTime;
use values::Values;

/// What a bundle is made of.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    /// The client.
    pub id: &'a ClientId,
    /// Which of its credentials this is.
    pub generation: u32,
    /// Its topic.
    pub topic: &'a str,
    /// What consumers connect to first: `host:port`, comma-separated.
    pub bootstrap: &'a str,
    /// PEM certificates of who signed the brokers' certificates.
    pub brokers_ca_pem: &'a str,
    /// The certificate; none leaves out `client.pem`.
    pub certificate: Option<Certificate<'a>>,
    /// Its private key in PEM, where it has been made for this bundle.
    pub key: Option<&'a Secret>,
    /// The two as PKCS#12, for Java. None leaves out what is secret in it.
    pub key_store: Option<&'a KeyStore>,
    /// How long the topic keeps lines; none if that is not limited by time.
    pub retention: Option<Duration>,
    /// A credential that was not seen in a consumer group for so long after it was made is revoked.
    pub unused: Duration,
}

/// A client's certificate.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// In PEM.
    pub pem: &'a str,
    /// Valid until then.
    pub not_after: OffsetDateTime,
}

impl<'a> From<&'a IssuedCredential> for Certificate<'a> {
    fn from(credential: &'a IssuedCredential) -> Certificate<'a> {
        Certificate { pem: &credential.certificate_pem, not_after: credential.not_after }
    }
}

/// One file of a bundle.
#[derive(Clone, Debug)]
pub struct BundleFile {
    /// Its path below the bundle's folder, `/` between.
    pub name: &'static str,
    /// Unix permission bits.
    pub mode: u32,
    /// What it holds.
    pub contents: Secret,
}

/// A text that anybody may read.
const OPEN: u32 = 0o644;
/// A script.
const RUN: u32 = 0o755;
/// A file with a key or a password in it.
const OWN: u32 = 0o600;

/// The texts, in the bundle's order.
const TEMPLATES: &[(&str, u32, &str)] = &[
    ("README.md", OPEN, include_str!("templates/README.md")),
    ("check", RUN, include_str!("templates/check.py")),
    ("python/consume.py", RUN, include_str!("templates/consume.py")),
    ("python/requirements.txt", OPEN, include_str!("templates/requirements.txt")),
    ("kcat/kcat.conf", OPEN, include_str!("templates/kcat.conf")),
    ("kcat/consume", RUN, include_str!("templates/kcat-consume.sh")),
    ("filebeat/filebeat.yml", OPEN, include_str!("templates/filebeat.yml")),
    ("logstash/logstash.conf", OWN, include_str!("templates/logstash.conf")),
    ("vector/vector.yaml", OPEN, include_str!("templates/vector.yaml")),
    ("fluent-bit/fluent-bit.yaml", OPEN, include_str!("templates/fluent-bit.yaml")),
    ("opentelemetry/collector.yaml", OPEN, include_str!("templates/collector.yaml")),
    ("rsyslog/rsyslog.conf", OPEN, include_str!("templates/rsyslog.conf")),
    ("telegraf/telegraf.conf", OPEN, include_str!("templates/telegraf.conf")),
    ("java/consumer.properties", OWN, include_str!("templates/consumer.properties")),
    ("clickhouse/tel.xml", OWN, include_str!("templates/clickhouse.xml")),
    ("clickhouse/tel.sql", OPEN, include_str!("templates/clickhouse.sql")),
];

/// Which of the client's credentials a consumer has that calls itself so, if it is named as in a bundle: its own word, not a proof.
pub fn generation_of(id: &ClientId, client_id: &str) -> Option<u32> {
    values::generation_of(id, client_id)
}

/// All files of the bundle, always in the same order. Without a private key the same ones but for `certs/client.key`,
/// `certs/client.p12` and `certs/client.p12.password`; the texts then say where they go. Without a certificate, `certs/client.pem` is
/// missing, too.
///
/// # Errors
/// `Invalid` for a value that is not what it should be, naming it: a bootstrap address, the brokers' certificates, a key's text.
pub fn files(bundle: &Bundle<'_>) -> Result<Vec<BundleFile>> {
    let values = Values::new(bundle)?;
    let mut files = Vec::with_capacity(TEMPLATES.len() + 6);
    for &(name, mode, template) in TEMPLATES {
        let contents = Secret::new(values.fill(template)?);
        files.push(BundleFile { name, mode, contents });
    }
    let mut add = |name, mode, bytes: &[u8]| {
        files.push(BundleFile { name, mode, contents: Secret::new(bytes.to_vec()) });
    };
    add("certs/ca.pem", OPEN, values.brokers_ca.pem.as_bytes());
    add("certs/ca.jks", OPEN, &jks::trust_store(&values.brokers_ca.der, jks::PUBLIC_PASSWORD)?);
    if let Some(certificate) = bundle.certificate {
        add("certs/client.pem", OPEN, certificate.pem.as_bytes());
    }
    if let Some(key) = bundle.key {
        add("certs/client.key", OWN, key.bytes());
    }
    if let Some(key_store) = bundle.key_store {
        add("certs/client.p12", OWN, key_store.pkcs12.bytes());
        add("certs/client.p12.password", OWN, key_store.password.bytes());
    }
    Ok(files)
}

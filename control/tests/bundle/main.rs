//! The bundle as a client meets it: unzipped, parsed by what its files are for, and run unchanged against a real Kafka.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;
use std::time::Duration;
use tel_control::bundle::{files, zip, Bundle, BundleFile};
use tel_control::ca::{Authority, IssuedCredential, KeyStore};
use tel_control::error::Kind;
use tel_control::names::ClientId;

mod kafka;

/// A folder of its own, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bundle-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(folder: &Path, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
    let program = program.as_ref();
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("cannot run {}: {error}", program.to_string_lossy()))
}

/// Runs it, which must succeed; its output.
fn told(folder: &Path, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = run(folder, program, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}: {out}{err}", output.status);
    out.into_owned()
}

/// The Python of an environment with the bundle's requirements and a YAML reader, made once.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bundle-python");
        let python = dir.join("bin/python");
        let ready = dir.join("ready");
        if !ready.exists() {
            let here = Path::new(env!("CARGO_TARGET_TMPDIR"));
            told(here, "python3", &["-m", "venv", "--clear", dir.to_str().unwrap()]);
            told(here, &python, &["-m", "pip", "install", "-q", "confluent-kafka==2.12.2", "PyYAML==6.0.2"]);
            std::fs::write(&ready, "").unwrap();
        }
        python
    })
}

/// What a bundle is made of, of a client's own.
struct Made {
    id: ClientId,
    credential: IssuedCredential,
    key_store: KeyStore,
    topic: String,
    bootstrap: String,
    brokers_ca_pem: String,
}

impl Made {
    fn new(authority: &Authority, id: &str, bootstrap: &str, brokers_ca_pem: &str) -> Made {
        let id = ClientId::new(id).unwrap();
        let credential = authority.client(&id, 1, 30).unwrap();
        let key_store = credential.key_store().unwrap();
        let topic = format!("logs.{id}");
        Made { id, credential, key_store, topic, bootstrap: bootstrap.into(), brokers_ca_pem: brokers_ca_pem.into() }
    }

    fn bundle(&self) -> Bundle<'_> {
        Bundle {
            id: &self.id,
            generation: 1,
            topic: &self.topic,
            bootstrap: &self.bootstrap,
            brokers_ca_pem: &self.brokers_ca_pem,
            certificate: Some((&self.credential).into()),
            key: self.credential.key_pem.as_ref(),
            key_store: Some(&self.key_store),
            retention: Some(Duration::from_secs(2400)),
            unused: Duration::from_secs(86_400),
        }
    }

    /// Unzips the bundle as a user's unzip does; its folder.
    fn unzip(&self, folder: &Folder) -> PathBuf {
        let archive = folder.file(&format!("tel-{}.zip", self.id));
        std::fs::write(&archive, zip(&self.id, &files(&self.bundle()).unwrap()).unwrap()).unwrap();
        told(&folder.0, "unzip", &["-q", archive.to_str().unwrap()]);
        folder.file(&format!("tel-{}", self.id))
    }
}

fn sample(id: &str) -> Made {
    let authority = Authority::generate("tel clients").unwrap();
    let brokers = Authority::generate("brokers").unwrap().certificate_pem().unwrap();
    Made::new(&authority, id, "kafka-1.example.com:9093,[2001:db8::1]:9093", &brokers)
}

fn names(files: &[BundleFile]) -> Vec<&str> {
    files.iter().map(|file| file.name).collect()
}

const NAMES: [&str; 22] = [
    "README.md",
    "check",
    "python/consume.py",
    "python/requirements.txt",
    "kcat/kcat.conf",
    "kcat/consume",
    "filebeat/filebeat.yml",
    "logstash/logstash.conf",
    "vector/vector.yaml",
    "fluent-bit/fluent-bit.yaml",
    "opentelemetry/collector.yaml",
    "rsyslog/rsyslog.conf",
    "telegraf/telegraf.conf",
    "java/consumer.properties",
    "clickhouse/tel.xml",
    "clickhouse/tel.sql",
    "certs/ca.pem",
    "certs/ca.jks",
    "certs/client.pem",
    "certs/client.key",
    "certs/client.p12",
    "certs/client.p12.password",
];
const SECRET: [&str; 3] = ["certs/client.key", "certs/client.p12", "certs/client.p12.password"];

#[test]
fn entries_and_modes_are_fixed_and_the_same_bundle_has_the_same_bytes() {
    let made = sample("c83");
    let all = files(&made.bundle()).unwrap();
    assert_eq!(names(&all), NAMES);
    let bytes = zip(&made.id, &all).unwrap();
    assert_eq!(bytes, zip(&made.id, &files(&made.bundle()).unwrap()).unwrap());

    let folder = Folder::new("entries");
    let unzipped = made.unzip(&folder);
    let modes: BTreeMap<String, u32> = told(&unzipped, "find", &[".", "-type", "f", "-printf", "%P %m\n"])
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, mode)| (name.to_owned(), u32::from_str_radix(mode, 8).unwrap()))
        .collect();
    let wanted: BTreeMap<String, u32> = all.iter().map(|file| (file.name.to_owned(), file.mode)).collect();
    assert_eq!(modes, wanted);
    for file in &all {
        let text = String::from_utf8_lossy(file.contents.bytes());
        let secret = text.contains("PRIVATE KEY") || text.contains(made.key_store.password.text());
        assert!(!secret || file.mode == 0o600, "{} shows a secret", file.name);
        assert_eq!(std::fs::read(unzipped.join(file.name)).unwrap(), file.contents.bytes());
    }
    let readme = all[0].contents.text();
    assert!(readme.contains("| Lines are kept | 40 minutes; what is not read by then is gone |"), "{readme}");
    // Nothing is left to be filled in, and no name is forgotten.
    for file in all.iter().filter(|file| !file.name.starts_with("certs/")) {
        let text = file.contents.text();
        assert!(
            !text.is_empty() && !text.contains("@ID") && !text.contains("_PEM@") && !text.contains("PUT THE"),
            "{}",
            file.name
        );
        assert!(file.name == "python/requirements.txt" || text.contains("c83"), "{}", file.name);
    }
    assert!(format!("{all:?}").len() < 4000);
}

#[test]
fn without_a_key_the_names_are_the_same_but_for_the_key() {
    let mut made = sample("c83");
    let secret = [made.credential.key_pem.take().unwrap(), made.key_store.password.clone()];
    let mut bundle = made.bundle();
    bundle.key_store = None;
    let all = files(&bundle).unwrap();
    let wanted: Vec<&str> = NAMES.into_iter().filter(|name| !SECRET.contains(name)).collect();
    assert_eq!(names(&all), wanted);
    for file in &all {
        let text = String::from_utf8_lossy(file.contents.bytes());
        assert!(
            !text.contains("PRIVATE KEY") && secret.iter().all(|secret| !text.contains(secret.text())),
            "{}",
            file.name
        );
    }
    let text = |name: &str| all.iter().find(|file| file.name == name).unwrap().contents.text();
    assert!(text("README.md").contains("holds no private key"));
    assert!(text("clickhouse/tel.xml").contains("PUT THE TEXT OF certs/client.key HERE"));

    // Words for what must be added, as they look to their reader.
    let readme = text("README.md");
    assert!(readme.contains("    chmod 600 certs/client.key\n    openssl pkcs12 -export"), "{readme}");
    let end = made.credential.not_after.date();
    assert!(readme.contains(&format!("| Certificate | `CN=c83:1`, valid until {end}; revoked if ")), "{readme}");

    bundle.certificate = None;
    let all = files(&bundle).unwrap();
    let wanted: Vec<&str> = wanted.into_iter().filter(|name| *name != "certs/client.pem").collect();
    assert_eq!(names(&all), wanted);
    let readme = all[0].contents.text();
    assert!(readme.contains("neither a certificate nor a private key") && readme.contains("none in here"), "{readme}");
    assert!(!readme.contains("Nothing needs to be edited") && !readme.contains("unknown"), "{readme}");
}

#[test]
fn values_that_could_leave_their_quotes_are_refused() {
    let made = sample("c83");
    let refused = |bundle: &Bundle<'_>, why: &str| {
        let error = files(bundle).unwrap_err();
        assert!(error.kind == Kind::Invalid && error.text.contains(why) && !error.text.contains('\n'), "{error}");
    };
    for hostile in [
        "",
        "kafka",
        "kafka:9092\"",
        "kafka:9092'; rm -rf / #",
        "kafka:9092\ngroup.id=other",
        "$(id):9092",
        "${HOME}:9092",
        "`id`:9092",
        "a b:9092",
        "kafka:9092,",
        "<x>:1",
        "%{x}:1",
        "@ID@:1",
        "kafka\\:1",
        "kafka\u{2028}:1",
        "é:1",
        "kafka:99999",
        "SSL://kafka:9092",
    ] {
        refused(&Bundle { bootstrap: hostile, ..made.bundle() }, "bootstrap");
        if hostile != "kafka" {
            refused(&Bundle { topic: hostile, ..made.bundle() }, "topic");
        }
    }
    for hostile in ["", "x", "-----BEGIN CERTIFICATE-----\n]]>\n-----END CERTIFICATE-----\n"] {
        refused(&Bundle { brokers_ca_pem: hostile, ..made.bundle() }, "brokers' CA");
        let credential = IssuedCredential { certificate_pem: format!("{hostile}]]>"), ..made.credential.clone() };
        refused(&Bundle { certificate: Some((&credential).into()), ..made.bundle() }, "PEM");
    }
    for hostile in ["", "abc", "pass\"word", "pass\nword", "pass word"] {
        let password = tel_control::ca::Secret::new(hostile.as_bytes().to_vec());
        let key_store = KeyStore { password, ..made.key_store.clone() };
        refused(&Bundle { key_store: Some(&key_store), ..made.bundle() }, "password");
    }
    // What stands around the certificates in the operator's file stays there.
    let around = format!("secret notes\n{}\nmore notes\n", made.brokers_ca_pem);
    let all = files(&Bundle { brokers_ca_pem: &around, ..made.bundle() }).unwrap();
    assert!(all.iter().all(|file| !String::from_utf8_lossy(file.contents.bytes()).contains("notes")));
}

/// Reads each file as what it is for does, as far as a reader is at hand, and checks what the traps need.
const READER: &str = r#"
import configparser, json, re, sys, tomllib, xml.etree.ElementTree as xml, yaml
text = lambda name: open(name).read()
topic, brokers = "logs.a.b-c_d", ["kafka-1.example.com:9093", "[2001:db8::1]:9093"]
for name in ("check", "python/consume.py"):
    compile(text(name), name, "exec")
beat = yaml.safe_load(text("filebeat/filebeat.yml"))["filebeat.inputs"][0]
assert beat["hosts"] == brokers and beat["topics"] == [topic] and beat["version"] == "2.1.0", beat
assert beat["group_id"] == "a.b-c_d:filebeat" and beat["initial_offset"] == "oldest" and beat["ssl"]["key"] == "certs/client.key"
vector = yaml.safe_load(text("vector/vector.yaml"))["sources"]["tel"]
assert vector["bootstrap_servers"] == ",".join(brokers) and vector["group_id"] == "a.b-c_d:vector" and vector["auto_offset_reset"] == "earliest"
assert all(isinstance(value, str) for value in vector["librdkafka_options"].values())
fluent = yaml.safe_load(text("fluent-bit/fluent-bit.yaml"))["pipeline"]["inputs"][0]
assert fluent["group_id"] == "a.b-c_d:fluent-bit" and fluent["rdkafka.auto.offset.reset"] == "earliest" and fluent["topics"] == topic
otel = yaml.safe_load(text("opentelemetry/collector.yaml"))["receivers"]["kafka"]
assert otel["logs"] == {"topics": [topic], "encoding": "text"} and otel["initial_offset"] == "earliest" and otel["brokers"] == brokers
assert otel["group_id"] == "a.b-c_d:opentelemetry"
telegraf = tomllib.loads(text("telegraf/telegraf.conf"))["inputs"]["kafka_consumer"][0]
assert telegraf["brokers"] == brokers and telegraf["topics"] == [topic] and telegraf["kafka_version"] == "2.1.0"
assert telegraf["consumer_group"] == "a.b-c_d:telegraf" and telegraf["offset"] == "oldest"
for name, group in (("java/consumer.properties", "a.b-c_d:java"), ("kcat/kcat.conf", None)):
    reader = configparser.ConfigParser(delimiters="=", interpolation=None)
    reader.read_string("[all]\n" + text(name))
    one = dict(reader["all"])
    assert one["bootstrap.servers"] == ",".join(brokers) and one["auto.offset.reset"] == "earliest" and one.get("group.id") == group, one
click = xml.fromstring(text("clickhouse/tel.xml")).find("named_collections/tel_a_b_c_d")
assert click.findtext("kafka_topic_list") == topic and click.findtext("kafka_group_name") == "a.b-c_d:clickhouse"
for tag, name in (("ssl_ca_pem", "ca.pem"), ("ssl_certificate_pem", "client.pem"), ("ssl_key_pem", "client.key")):
    assert click.findtext("kafka/" + tag) == text("certs/" + name), tag
assert "Kafka(tel_a_b_c_d)" in text("clickhouse/tel.sql")
stash = text("logstash/logstash.conf")
assert 'auto_offset_reset => "earliest"' in stash and 'group_id => "a.b-c_d:logstash"' in stash and stash.count("{") == stash.count("}")
assert text("certs/client.p12.password") in stash
for name in re.findall(r"`([a-z-]+/[a-z.-]+)`", text("README.md")):
    text(name)
for name in """python/consume.py kcat/kcat.conf filebeat/filebeat.yml logstash/logstash.conf vector/vector.yaml fluent-bit/fluent-bit.yaml
    opentelemetry/collector.yaml rsyslog/rsyslog.conf telegraf/telegraf.conf java/consumer.properties clickhouse/tel.xml""".split():
    assert text(name).count("a.b-c_d-credential-1") == 1, name
print("read")
"#;

#[test]
fn every_file_is_read_by_a_reader_of_its_format() {
    let made = sample("a.b-c_d");
    let folder = Folder::new("formats");
    let unzipped = made.unzip(&folder);
    assert_eq!(told(&unzipped, python(), &["-c", READER]), "read\n");
    told(&unzipped, "sh", &["-n", "kcat/consume"]);
    let trusted = told(&unzipped, "keytool", &["-list", "-keystore", "certs/ca.jks", "-storepass", "changeit"]);
    let key_store = ["-list", "-keystore", "certs/client.p12", "-storepass:file", "certs/client.p12.password"];
    assert!(trusted.contains("trustedCertEntry") && told(&unzipped, "keytool", &key_store).contains("PrivateKeyEntry"));
    let pid = unzipped.join("pid");
    let config = unzipped.join("rsyslog/rsyslog.conf");
    told(&unzipped, "/usr/sbin/rsyslogd", &["-N1", "-C", "-f", config.to_str().unwrap(), "-i", pid.to_str().unwrap()]);
}

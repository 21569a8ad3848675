//! The real Kafka of `tests/kafka/kafka`: mutual TLS, an authorizer, and one super user, `CN=admin`.

// Several tests are built with this file, and not each needs all of it.
#![allow(dead_code)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use tel_control::kafka::admin::Admin;
use tel_control::kafka::Connection;

/// A running broker. It ends, with all its data, when this is dropped.
pub struct Broker {
    folder: PathBuf,
    plain: String,
    ssl: String,
}

/// Statics are not dropped: the shared broker's folder, for the end of the process.
static SHARED_FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The broker that the tests of this file share.
pub fn shared() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    static AT_EXIT: Once = Once::new();
    extern "C" fn stop() {
        if let Some(folder) = SHARED_FOLDER.lock().unwrap_or_else(PoisonError::into_inner).take() {
            kill(&folder);
        }
    }
    BROKER.get_or_init(|| {
        // SAFETY: the handler is a plain function that does not unwind: it only runs a command and deletes files.
        AT_EXIT.call_once(|| assert_eq!(unsafe { libc::atexit(stop) }, 0, "no place for an exit handler"));
        let broker = Broker::start();
        *SHARED_FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(broker.folder.clone());
        broker
    })
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kafka/kafka")
}

fn kill(folder: &Path) {
    // Its data goes with it: there is nothing that an orderly end would save.
    let _ = Command::new(script()).arg("kill").arg(folder).stderr(Stdio::null()).status();
    let _ = std::fs::remove_dir_all(folder);
}

impl Broker {
    pub fn start() -> Broker {
        Broker::start_in(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// Starts one whose data is in a folder of its own in `parent`.
    pub fn start_in(parent: &Path) -> Broker {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("kafka-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        let mut broker = Broker { folder, plain: String::new(), ssl: String::new() };
        let env = broker.run("start", &[], "");
        let value = |name: &str| {
            let line = env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("no {name} in: {env}")).to_owned()
        };
        (broker.plain, broker.ssl) = (value("TEL_KAFKA_PLAINTEXT"), value("TEL_KAFKA_SSL"));
        broker
    }

    fn run(&self, command: &str, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new(script())
            .arg(command)
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", script().display()));
        // The command may end without reading all of it; its own words then say why.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().expect("its end");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kafka {command}: {}: {err}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs commands of the harness's own admin, one a line.
    pub fn admin_commands(&self, commands: &str) {
        self.run("admin", &[], commands);
    }

    /// What certificates may do, tried by Kafka's own client: the answer to each line.
    pub fn probe(&self, attempts: &[String]) -> Vec<String> {
        self.run("probe", &[], &attempts.join("\n")).lines().map(str::to_owned).collect()
    }

    /// Issues the certificate `name` to `CN=<subject>`.
    pub fn cert(&self, name: &str, subject: &str) {
        self.run("cert", &[name, subject], "");
    }

    /// Ends it in order; its data stays.
    pub fn stop(&self) {
        self.run("stop", &[], "");
    }

    /// Starts it again after [`Broker::stop`], on the same ports.
    pub fn start_again(&self) {
        self.run("start", &[], "");
    }

    /// Where its files are: `pki/ca.pem` and `pki/ca.key` are its authority.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts anew with settings appended.
    pub fn restart_with(&self, settings: &str) {
        self.run("stop", &[], "");
        let path = self.folder.join("server.properties");
        let text = std::fs::read_to_string(&path).expect("the broker's settings");
        let keys: Vec<&str> = settings.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key).collect();
        let kept = text.lines().filter(|line| !keys.contains(&line.split('=').next().unwrap_or_default()));
        let text: String = kept.chain(settings.lines()).map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, text).expect("the broker's settings");
        self.run("start", &[], "");
    }

    /// The connection of certificate `name`.
    pub fn connection(&self, name: &str) -> Connection {
        let file = |name: &str| self.folder.join("pki").join(name).display().to_string();
        let properties = [
            ("bootstrap.servers", self.ssl.clone()),
            ("security.protocol", "ssl".into()),
            // The broker listens on 127.0.0.1 alone, whatever localhost is first.
            ("broker.address.family", "v4".into()),
            ("ssl.ca.location", file("ca.pem")),
            ("ssl.certificate.location", file(&format!("{name}.crt"))),
            ("ssl.key.location", file(&format!("{name}.key"))),
        ];
        Connection::new(properties.map(|(name, value)| (name.to_owned(), value))).expect("a connection")
    }

    /// The connection without TLS, of a super user.
    pub fn plain_connection(&self) -> Connection {
        Connection::new([("bootstrap.servers".to_owned(), self.plain.clone())]).expect("a connection")
    }

    /// The same as properties, for rdkafka's own clients.
    pub fn plain(&self) -> &str {
        &self.plain
    }

    pub fn admin(&self) -> Admin {
        Admin::new(&self.connection("admin")).expect("an admin")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        kill(&self.folder);
    }
}

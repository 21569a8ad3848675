//! The command line as its user meets it: what it prints, and its exit statuses. No Kafka is needed for that.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A folder with a configuration, removed in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // The path of a socket has at most 107 bytes.
        let folder = std::env::temp_dir().join(format!("tel-control-cli-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let place = Place(folder);
        place.write("brokers.pem", "nobody's\n");
        place.write("passphrase", "a long passphrase\n");
        place.write("control.json", &Place::config().replace("PORT", &free_port().to_string()));
        place
    }

    fn config() -> String {
        r#"{ "database": "sqlite:tel.db", "kafka": { "bootstrap.servers": "127.0.0.1:1" }, "listen": "127.0.0.1:PORT",
             "public_bootstrap": "127.0.0.1:1", "brokers_ca": "brokers.pem", "ca": "ca", "ca_passphrase": "passphrase",
             "control_socket": "s" }"#
            .to_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tel-control"));
        command.args(words).arg("--config").arg(self.file("control.json")).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What it prints; it must end with the status.
    fn told(&self, status: i32, words: &[&str]) -> String {
        let output = self.run(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {text}");
        text
    }

    fn serve(&self) -> Serving {
        let child = self.command(&["serve"]).stderr(Stdio::null()).spawn().unwrap();
        let serving = Serving(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::os::unix::net::UnixStream::connect(self.file("s")).is_err() {
            assert!(Instant::now() < deadline, "it never answers");
            std::thread::sleep(Duration::from_millis(20));
        }
        serving
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A tel-control that serves.
struct Serving(Child);

impl Serving {
    /// Ends it in order; its exit status.
    fn end(mut self) -> Option<i32> {
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(libc::pid_t::try_from(self.0.id()).unwrap(), libc::SIGTERM) }, 0);
        self.0.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The one token in a text.
fn token(text: &str) -> &str {
    let at = text.find("tel_").unwrap_or_else(|| panic!("no token: {text}"));
    &text[at..at + 68]
}

#[test]
fn init_makes_what_is_missing_and_keeps_what_is_there() {
    let place = Place::new();
    let first = place.told(0, &["init"]);
    assert!(first.contains("made") && token(&first).len() == 68, "{first}");
    let authority = std::fs::read(place.file("ca/ca.crt")).unwrap();
    let again = place.told(0, &["init"]);
    assert!(!again.contains("tel_") && again.contains("was there, and stays"), "{again}");
    assert_eq!(std::fs::read(place.file("ca/ca.crt")).unwrap(), authority);
    assert_eq!((mode(&place.file("tel.db")), mode(&place.file("ca/ca.key"))), (0o600, 0o600));
    let key = std::fs::read_to_string(place.file("ca/ca.key")).unwrap();
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY"), "{key}");
}

#[test]
fn an_authority_s_key_is_not_made_in_clear_and_taken_so_if_it_is_given() {
    let place = Place::new();
    let without = Place::config().replace("PORT", "8470").replace("\"ca_passphrase\": \"passphrase\",", "");
    assert!(!without.contains("passphrase"));
    place.write("control.json", &without);
    let told = place.told(1, &["init"]);
    assert!(told.contains("ca_passphrase: missing") && told.contains("openssl rand"), "{told}");
    assert!(!place.file("ca").exists() && !place.file("tel.db").exists(), "nothing was made");

    // What the error names as the way out is one.
    let made = Command::new("sh")
        .args(["-c", "umask 077; openssl rand -hex 32 > own-passphrase"])
        .current_dir(&place.0)
        .status();
    assert!(made.unwrap().success());
    place.write("control.json", &without.replace("\"ca\":", "\"ca_passphrase\": \"own-passphrase\", \"ca\":"));
    place.told(0, &["init"]);
    let key = std::fs::read_to_string(place.file("ca/ca.key")).unwrap();
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY"), "{key}");

    // An authority that is given as files.
    let place = Place::new();
    place.write("control.json", &without);
    tel_control::ca::Authority::create(&place.file("ca"), "our own", tel_control::ca::Protection::Plain).unwrap();
    let told = place.told(0, &["init"]);
    assert!(told.contains("was there, and stays") && told.contains("the authority's key is not encrypted"), "{told}");
}

#[test]
fn what_is_wrong_is_said_with_the_status_of_its_kind() {
    let place = Place::new();
    for (words, what) in [
        (&["colour"][..], "use: tel-control serve"),
        (&["client"], "use: tel-control serve"),
        (&["client", "list", "--colour"], "--colour is no option"),
        (&["serve", "--json", "--out", "x"], "--out has no meaning here"),
    ] {
        assert!(place.told(64, words).contains(what), "{words:?}");
    }
    assert!(place.told(78, &["serve"]).contains("run tel-control init first"));
    place.write("control.json", &Place::config().replace("\"listen\"", "\"colour\": 1, \"listen\""));
    let told = place.told(78, &["serve"]);
    assert!(told.contains("control.json: unknown field `colour`"), "{told}");
    std::fs::remove_file(place.file("control.json")).unwrap();
    let told = place.told(78, &["client", "list"]);
    assert!(told.contains("control.json: ") && told.contains("init --write-config"), "{told}");

    let told = place.told(0, &["init", "--write-config"]);
    assert!(told.contains("public_bootstrap") && mode(&place.file("control.json")) == 0o600, "{told}");
    // The example is right as far as it goes: what it names is not there.
    let told = place.told(1, &["init"]);
    assert!(told.contains("ca_passphrase: "), "{told}");
}

#[test]
fn a_doctor_without_brokers_says_that_they_are_not_reached() {
    let place = Place::new();
    place.told(0, &["init"]);
    let told = place.told(1, &["doctor"]);
    assert!(told.starts_with("BAD") && told.contains("127.0.0.1:1"), "{told}");
}

#[test]
fn what_is_asked_for_while_none_serves_is_there_when_one_does() {
    let place = Place::new();
    place.told(0, &["init"]);
    let told = place.told(0, &["client", "add", "c83", "sample=0.5"]);
    assert!(told.contains("c83: added, pending") && told.contains("recorded; done when tel-control serves"), "{told}");
    let secret = place.told(0, &["token", "add", "me", "--client", "c83", "--days", "2"]);

    let serving = place.serve();
    let told = place.told(0, &["client", "show", "c83"]);
    assert!(told.contains("settings  sample=0.5") && !told.contains("recorded"), "{told}");
    assert!(place.told(0, &["client", "set", "c83", "sample="]).contains("the defaults"));
    let told = place.told(0, &["token", "list"]);
    assert!(told.contains("first operator") && !told.contains(token(&secret)), "{told}");
    assert!(place.told(0, &["audit"]).contains("command line"));
    let answer: serde_json::Value = serde_json::from_str(&place.told(0, &["client", "list", "--json"])).unwrap();
    assert_eq!(answer["clients"][0]["id"], "c83");

    let told = place.told(1, &["client", "take-over", "nobody"]);
    assert!(told.contains("client nobody is not known"), "{told}");

    // One at a time has the database.
    let other = place.command(&["serve"]).output().unwrap();
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("in use by process"));
    assert_eq!(serving.end(), Some(0));
}

#[test]
fn credentials_and_edges_come_in_files_that_stay() {
    let place = Place::new();
    place.told(0, &["init"]);
    // Any certificate will do for the brokers'.
    std::fs::copy(place.file("ca/ca.crt"), place.file("brokers.pem")).unwrap();
    place.told(0, &["client", "add", "c83"]);
    place.told(0, &["credential", "add", "c83", "--out", "c"]);
    assert_eq!((mode(&place.file("c")), mode(&place.file("c/client.key"))), (0o700, 0o600));
    let key = std::fs::read(place.file("c/client.key")).unwrap();
    assert!(place.told(1, &["credential", "add", "c83", "--out", "c"]).contains("is there already, and stays"));
    assert_eq!(std::fs::read(place.file("c/client.key")).unwrap(), key);
    assert!(place.told(0, &["credential", "list", "c83"]).lines().count() > 1);
    assert!(place.told(0, &["credential", "revoke", "c83", "1"]).contains("revoked"));

    place.told(0, &["bundle", "c83", "--out", "b.zip"]);
    assert!(std::fs::read(place.file("b.zip")).unwrap().starts_with(b"PK") && mode(&place.file("b.zip")) == 0o600);

    place.told(0, &["edge", "add", "e1", "--out", "e", "--bootstrap", "k:9093"]);
    assert_eq!(mode(&place.file("e/edge.key")), 0o600);
    let config = std::fs::read_to_string(place.file("e/teld.json")).unwrap();
    assert!(config.contains("\"bootstrap.servers\": \"k:9093\"") && config.contains("/etc/tel/edge.pem"), "{config}");
    assert!(place.told(0, &["edge", "list"]).contains("e1"));
    assert!(place.told(1, &["edge", "add", "1", "--out", "f"]).contains("edge name"));
}

#[test]
fn a_file_of_clients_is_added_but_for_those_that_cannot_be() {
    let place = Place::new();
    place.told(0, &["init"]);
    let many: String = (0..5000).map(|n| format!("n{n}\n")).collect();
    place.write("ids", &many);
    assert!(place.told(0, &["client", "import", "ids"]).contains("5000 added, 0 were there, 0 refused"));
    place.write(
        "list",
        r#"{"clients": [{"id": "n1"}, {"id": "a b"}, {"id": "x", "topic": "y"}, {"id": "z", "sample": 0.5}]}"#,
    );
    let told = place.told(1, &["client", "import", "list"]);
    assert!(told.contains("1 added, 1 were there, 2 refused") && told.contains("its topic there is y"), "{told}");
    let clients: serde_json::Value = serde_json::from_str(&place.told(0, &["client", "list", "--json"])).unwrap();
    // Those of the note beside it are not in the answer.
    assert_eq!(clients["clients"].as_array().unwrap().len(), 5001);
}

#[test]
fn a_backup_is_restored_while_none_serves() {
    let place = Place::new();
    place.told(0, &["init"]);
    place.told(0, &["client", "add", "before"]);
    let serving = place.serve();
    place.told(0, &["backup", "copy"]);
    assert_eq!(mode(&place.file("copy")), 0o600);
    assert!(place.told(1, &["backup", "copy"]).contains("is there already"));
    place.told(0, &["client", "add", "after"]);
    assert!(place.told(1, &["restore", "copy"]).contains("stop it first"));
    assert_eq!(serving.end(), Some(0));

    assert!(place.told(1, &["restore", "control.json"]).contains("is no copy of tel-control's database"));
    assert!(place.told(1, &["restore", "nothing"]).contains("is not there"));
    let told = place.told(0, &["client", "list"]);
    assert!(told.contains("after"), "a restoring that failed changes nothing: {told}");
    assert!(place.told(0, &["restore", "copy"]).contains("tel.db.before"));
    let told = place.told(0, &["client", "list"]);
    assert!(told.contains("before") && !told.contains("after"), "{told}");
    // What was there is a copy like any other.
    place.told(0, &["restore", "tel.db.before"]);
    assert!(place.told(0, &["client", "list"]).contains("after"));

    // A file that nothing can read is what one restores for.
    place.write("tel.db", "nothing of a database");
    place.told(0, &["restore", "copy"]);
    assert!(place.told(0, &["client", "list"]).contains("before"));
    assert_eq!(std::fs::read(place.file("tel.db.before")).unwrap(), b"nothing of a database");
}

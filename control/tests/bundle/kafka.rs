//! The bundle's files run unchanged against a real Kafka.

mod consumers;

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::process::Child;
use std::sync::{mpsc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Nothing here takes so long on a healthy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// A real broker that also trusts clients' certificates made by its own authority, with clients c83 and c8 on it.
struct Kafka {
    folder: Folder,
    env: BTreeMap<String, String>,
    authority: Authority,
    // Dropped last: one broker at a time is enough for a small machine.
    _alone: MutexGuard<'static, ()>,
}

impl Kafka {
    fn start() -> Kafka {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Folder::new("kafka");
        let script = root().join("tests/kafka/kafka");
        let text = told(&root(), &script, &["start", folder.0.to_str().unwrap()]);
        let env =
            text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let authority = Authority::from_files(&folder.file("pki/ca.pem"), &folder.file("pki/ca.key"), None).unwrap();
        let kafka = Kafka { folder, env, authority, _alone: alone };
        for id in ["c83", "c8"] {
            kafka.admin(&format!("topic logs.{id} 2"));
            kafka.allow(id, 1);
        }
        kafka
    }

    fn allow(&self, id: &str, generation: u32) {
        let name = format!("{id}:{generation}");
        self.admin(&format!("acl {name} READ topic logs.{id} literal\nacl {name} READ group {id}: prefixed"));
    }

    fn admin(&self, commands: &str) {
        let mut child = Command::new(root().join("tests/kafka/kafka"))
            .args(["admin", self.folder.0.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{commands}");
    }

    fn ssl(&self) -> &str {
        &self.env["TEL_KAFKA_SSL"]
    }

    fn made(&self, id: &str) -> Made {
        let pem = std::fs::read_to_string(self.folder.file("pki/ca.pem")).unwrap();
        Made::new(&self.authority, id, self.ssl(), &pem)
    }

    /// Writes the lines to the client's topic.
    fn produce(&self, id: &str, lines: &[String]) {
        let mut child = Command::new("kcat")
            .args(["-q", "-P", "-b", &self.env["TEL_KAFKA_PLAINTEXT"], "-t", &format!("logs.{id}")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("kcat");
        child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = run(&root(), root().join("tests/kafka/kafka"), &["stop", self.folder.0.to_str().unwrap()]);
    }
}

/// A consumer whose standard output is read line by line; it is ended with the value.
struct Reading {
    name: &'static str,
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Reading {
    fn start(name: &'static str, folder: &Path, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Reading {
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Reading { name, child, lines }
    }

    /// The next `count` lines, sorted.
    fn take(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines: Vec<String> = (0..count)
            .map(|got| {
                let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
                line.unwrap_or_else(|_| panic!("{}: {got} of {count} lines", self.name))
            })
            .collect();
        lines.sort();
        lines
    }

    /// Ends it in order; what it still had printed.
    fn end(mut self) -> Vec<String> {
        told(Path::new("/"), "kill", &["-TERM", &self.child.id().to_string()]);
        let _ = self.child.wait();
        self.lines.iter().collect()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(id: &str, range: std::ops::Range<u32>) -> Vec<String> {
    range
        .map(|n| {
            format!("192.0.2.{n} - - [21/Nov/2026:12:00:00 +0000] \"GET /{id}?q=\u{e9}\t'x' HTTP/1.1\" 200 {n:05}")
        })
        .collect()
}

#[test]
fn the_files_read_their_client_s_lines_unchanged() {
    let kafka = Kafka::start();
    let made = kafka.made("c83");
    let folder = Folder::new("consumers");
    let here = made.unzip(&folder);
    let (wanted, others) = (lines("c83", 100..150), lines("c8", 100..150));
    kafka.produce("c83", &wanted);
    kafka.produce("c8", &others);

    assert_eq!(run(&here, "./check", &[]).status.code(), Some(0));
    let python = Reading::start("python", &here, python(), &["python/consume.py"]);
    assert_eq!(python.take(50), wanted);
    let kcat = Reading::start("kcat", &here, "kcat/consume", &[]);
    assert_eq!(kcat.take(50), wanted);

    let classes = told(&root(), root().join("tests/kafka/kafka"), &["classpath"]);
    let console = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    let consumed_by_java = |name, properties| {
        let arguments = [
            "-cp",
            classes.trim_end(),
            console,
            "--bootstrap-server",
            kafka.ssl(),
            "--topic",
            "logs.c83",
            "--consumer.config",
            properties,
        ];
        Reading::start(name, &here, "java", &arguments)
    };
    let java = consumed_by_java("java", "java/consumer.properties");
    assert_eq!(java.take(50), wanted);

    // Logstash's settings are the Java client's under other names.
    let stash = std::fs::read_to_string(here.join("logstash/logstash.conf")).unwrap();
    let properties: String = stash
        .lines()
        .filter_map(|line| line.trim().split_once(" => "))
        .filter(|(name, _)| !["topics", "codec", "stdout {"].contains(name) && !name.starts_with("stdout"))
        .map(|(name, value)| format!("{}={}\n", name.replace('_', "."), value.trim_matches('"')))
        .collect();
    assert!(properties.contains("group.id=c83:logstash\n"), "{properties}");
    std::fs::write(here.join("logstash.properties"), properties).unwrap();
    let logstash = consumed_by_java("logstash's settings", "logstash.properties");
    assert_eq!(logstash.take(50), wanted);

    let (config, pid) = (here.join("rsyslog/rsyslog.conf"), here.join("rsyslog.pid"));
    let arguments = ["-n", "-C", "-f", config.to_str().unwrap(), "-i", pid.to_str().unwrap()];
    let rsyslog = Reading::start("rsyslog", &here, "/usr/sbin/rsyslogd", &arguments);
    let written = || {
        let text = std::fs::read_to_string(here.join("tel-lines.log")).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let await_written = |count: usize| {
        let deadline = Instant::now() + PATIENCE;
        while written().len() < count && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    await_written(50);
    assert_eq!(written(), wanted);

    // What comes now is read too, once, by each; and a second start goes on behind it.
    let more = lines("c83", 150..160);
    kafka.produce("c83", &more);
    for reading in [&python, &kcat, &java, &logstash] {
        assert_eq!(reading.take(10), more, "{}", reading.name);
    }
    await_written(60);
    for reading in [python, kcat, java, logstash, rsyslog] {
        let name = reading.name;
        assert_eq!(reading.end(), Vec::<String>::new(), "{name}");
    }
    assert_eq!(written(), [&wanted[..], &more].concat(), "rsyslog");
    let last = lines("c83", 160..165);
    kafka.produce("c83", &last);
    let python = Reading::start("python", &here, super::python(), &["python/consume.py", "--count", "5"]);
    assert_eq!(python.take(5), last);
}

#[test]
fn a_new_credential_may_be_refused_for_some_seconds() {
    let kafka = Kafka::start();
    let mut made = kafka.made("c83");
    made.credential = kafka.authority.client(&made.id, 2, 30).unwrap();
    made.key_store = made.credential.key_store().unwrap();
    let folder = Folder::new("soon");
    let here = made.unzip(&folder);
    let wanted = lines("c83", 0..5);
    kafka.produce("c83", &wanted);
    assert_eq!(run(&here, "./check", &["--wait", "0"]).status.code(), Some(16));

    let mut python = Command::new(python())
        .args(["python/consume.py", "--count", "5"])
        .current_dir(&here)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = BufReader::new(python.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(words.any(|line| line.contains("uthorization failed")), "no word of the refusal");
    kafka.allow("c83", 2);
    let drain = std::thread::spawn(move || words.for_each(drop));
    let output = python.wait_with_output().unwrap();
    drain.join().unwrap();
    let mut got: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    got.sort_unstable();
    assert_eq!(got, wanted);
    assert_eq!(run(&here, "./check", &[]).status.code(), Some(0));
}

#[test]
fn check_names_what_is_wrong() {
    let kafka = Kafka::start();
    let folder = Folder::new("check");
    let made = kafka.made("c83");
    let here = made.unzip(&folder);
    let check = |arguments: &[&str]| {
        let output = run(&here, "./check", &[&["--wait", "0"], arguments].concat());
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let said = |(code, text): (i32, String), wanted: i32, words: &str| {
        assert!(code == wanted && text.contains(words), "wanted {wanted} and \"{words}\", got {code}: {text}");
    };
    let original = std::fs::read_to_string(here.join("check")).unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(here.join(name), bytes).unwrap();

    said(check(&[]), 0, "all is well");
    said(check(&[]), 0, "no lines yet");
    said(check(&["--group", "c83:anything"]), 0, "group \"c83:anything\": allowed");
    said(check(&["--group", "c8:x"]), 18, "must begin with \"c83:\"");
    said(check(&["--group", "logstash"]), 18, "group \"logstash\" is refused");
    said(check(&["--nonsense"]), 64, "");
    // What the broker itself says to a wrong group.
    put("check", original.replace("if not options.group.startswith(ID + \":\"):", "if False:").as_bytes());
    said(check(&["--group", "c8:x"]), 18, "group \"c8:x\" is refused");

    let (host, port) = kafka.ssl().split_once(':').unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bootstrap = |to: String| {
        put(
            "check",
            original.replace(&format!("BOOTSTRAP = \"{}\"", kafka.ssl()), &format!("BOOTSTRAP = \"{to}\"")).as_bytes(),
        )
    };
    bootstrap(format!("no-such-host.invalid:{port}"));
    said(check(&[]), 12, "no-such-host.invalid");
    bootstrap(format!("{host}:{closed}"));
    said(check(&[]), 13, "refused");
    bootstrap(format!("{host}:{closed},{host}:{port}"));
    said(check(&[]), 0, "the other addresses are enough");
    let plaintext = kafka.env["TEL_KAFKA_PLAINTEXT"].clone();
    let (code, text) = {
        bootstrap(plaintext);
        check(&[])
    };
    assert!(matches!(code, 13 | 14) && text.contains("TLS"), "{code}: {text}");
    put("check", &original.clone().into_bytes());

    let stranger = Authority::generate("stranger").unwrap();
    let store = |credential: &IssuedCredential| {
        put("certs/client.pem", credential.certificate_pem.as_bytes());
        put("certs/client.key", credential.key_pem.as_ref().unwrap().bytes());
    };
    put("certs/ca.pem", stranger.certificate_pem().unwrap().as_bytes());
    said(check(&[]), 14, "not trusted");
    put("certs/ca.pem", made.brokers_ca_pem.as_bytes());
    store(&stranger.client(&made.id, 1, 1).unwrap());
    said(check(&[]), 15, "refuses the certificate");
    store(&kafka.authority.client(&made.id, 9, 1).unwrap());
    said(check(&[]), 16, "no right to read topic logs.c83");
    store(&kafka.authority.client(&ClientId::new("c8").unwrap(), 1, 1).unwrap());
    said(check(&[]), 16, "not one of c83");
    store(&made.credential);
    said(check(&[]), 0, "all is well");

    let other = kafka.authority.client(&made.id, 1, 1).unwrap();
    put("certs/client.key", other.key_pem.as_ref().unwrap().bytes());
    said(check(&[]), 10, "not a pair");
    std::fs::remove_file(here.join("certs/client.key")).unwrap();
    said(check(&[]), 10, "client.key");
    store(&made.credential);
    put("certs/client.pem", b"garbage");
    said(check(&[]), 10, "client.pem");

    let expired = "openssl x509 -req -in expired.csr -CA ../kafka/ca.pem -CAkey ../kafka/ca.key -set_serial 1 -days -1 -out certs/client.pem";
    let expired = expired.replace("../kafka", kafka.folder.file("pki").to_str().unwrap());
    told(
        &here,
        "sh",
        &[
            "-c",
            &format!(
                "openssl req -new -key {} -subj /CN=c83:1 -out expired.csr && {expired}",
                kafka.folder.file("pki/admin.key").display()
            ),
        ],
    );
    said(check(&[]), 11, "is valid from");

    store(&made.credential);
    kafka.admin("delete-topic logs.c83");
    said(check(&[]), 17, "is not there");
}

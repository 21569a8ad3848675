//! Databases for tests: SQLite files, and a PostgreSQL server that the first test starts and the last one stops.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tel_control::store::{Engine, Store};

/// When the tests take place.
pub const NOW: i64 = 1_700_000_000_000;

static COUNT: AtomicUsize = AtomicUsize::new(0);
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// A database of one test.
pub struct Database {
    url: String,
    folder: Folder,
    server: Option<(Arc<Server>, String)>,
}

impl Database {
    pub fn sqlite() -> Database {
        let folder = Folder::new();
        Database { url: format!("sqlite:{}", folder.0.join("control.db").display()), folder, server: None }
    }

    pub fn postgres() -> Database {
        let server = {
            let mut running = SERVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let server = running.upgrade().unwrap_or_else(|| Arc::new(Server::start()));
            *running = Arc::downgrade(&server);
            server
        };
        let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server.tool("createdb", &[&name]);
        let url = format!("postgres://tel@localhost/{name}?host={}", server.folder.0.display());
        Database { url, folder: Folder::new(), server: Some((server, name)) }
    }

    pub async fn open(&self) -> Store {
        Store::open(&self.url, NOW).await.unwrap()
    }

    /// The same database from another process, as far as it can be had: SQLite has no other.
    pub async fn again(&self, store: &Store) -> Store {
        match store.engine() {
            Engine::Sqlite => store.clone(),
            Engine::Postgres => self.open().await,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// All that is stored, as text.
    pub fn dump(&self) -> String {
        let bytes = match &self.server {
            Some((server, name)) => server.tool("pg_dump", &["--data-only", name]).stdout,
            None => ["control.db", "control.db-wal"]
                .map(|file| std::fs::read(self.folder().join(file)).unwrap_or_default())
                .concat(),
        };
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Has PostgreSQL do something.
    pub fn psql(&self, sql: &str) -> String {
        let (server, name) = self.server.as_ref().unwrap();
        let output = server.tool("psql", &["--no-align", "--tuples-only", "--dbname", name, "--command", sql]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let name = format!("tel-store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A PostgreSQL server on a Unix socket.
struct Server {
    folder: Folder,
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Server {
        let folder = Folder::new();
        if let Some((uid, gid)) = postgres_user() {
            chown(&folder.0, Some(uid), Some(gid)).unwrap();
        }
        let data = folder.0.join("data");
        let data = data.to_str().unwrap();
        // Not the C collation: the tables bring their own.
        let made = as_postgres("initdb", &[])
            .args(["-D", data, "-U", "tel", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"])
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        let mut command = as_postgres("postgres", &["--pdeathsig", "QUIT"]);
        command.args(["-D", data, "-k", folder.0.to_str().unwrap(), "-c", "listen_addresses=", "-c", "fsync=off"]);
        let log = std::fs::File::create(folder.0.join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        // The kernel ends the server with the thread that started it: this one, which no test's end ends.
        let (stop, stopped) = mpsc::channel::<()>();
        let keeper = std::thread::spawn(move || {
            let mut server = command.spawn().unwrap();
            let _ = stopped.recv();
            let _ = Command::new("kill").args(["-INT", &server.id().to_string()]).status();
            let _ = server.wait();
        });
        let server = Server { folder, stop: Some(stop), keeper: Some(keeper) };
        let begun = Instant::now();
        while !tool("pg_isready", &server.folder.0).output().unwrap().status.success() {
            let log = std::fs::read_to_string(server.folder.0.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(30), "PostgreSQL does not start: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        let output = tool(name, &self.folder.0).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

fn binary(name: &str) -> PathBuf {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is missing: scripts/setup test installs it");
    let latest = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).max();
    PathBuf::from(format!("/usr/lib/postgresql/{}/bin/{name}", latest.expect("PostgreSQL is missing")))
}

fn tool(name: &str, socket: &Path) -> Command {
    let mut command = Command::new(binary(name));
    command.arg("--host").arg(socket).args(["--username", "tel"]);
    command
}

/// As the user whom the server runs as: it refuses to run as root.
fn as_postgres(name: &str, setpriv: &[&str]) -> Command {
    match postgres_user() {
        Some((uid, gid)) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()]).args(setpriv);
            command.arg(binary(name)).current_dir("/");
            command
        }
        None => {
            let mut command = Command::new(binary(name));
            if !setpriv.is_empty() {
                command = Command::new("setpriv");
                command.args(setpriv).arg(binary(name));
            }
            command
        }
    }
}

/// The user and group "postgres", for root.
fn postgres_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> u32 {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().expect("user postgres")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

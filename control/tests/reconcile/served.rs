//! The very program is killed while it serves, and asked by its own command line: as in `killed`.

use crate::killed::{ends_well, halting, kill_when_halted, Others};
use crate::system::{until, Place};
use crate::{id, operator};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tel_control::app::App;
use tel_control::onboarding::clients;
use tel_control::store::CredentialState;

/// The socket of the command line: its path has at most 107 bytes.
struct Socket(PathBuf);

impl Socket {
    fn new() -> Socket {
        Socket(std::env::temp_dir().join(format!("tel-control-served-{}.sock", std::process::id())))
    }

    /// The configuration of a process that serves at it.
    fn configure(&self, place: &Place, database: &str) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let with = serde_json::json!({
            "listen": format!("127.0.0.1:{port}"),
            "control_socket": self.0,
            "quota": { "consumer_bytes_per_second": 4096 },
        });
        place.configure(database, &with.to_string());
    }

    async fn answers(&self) {
        until("it serves", || async { UnixStream::connect(&self.0).is_ok() }).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn program(place: &Place, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tel-control"));
    command.args(words).arg("--config").arg(place.config_path()).stdin(Stdio::null());
    command
}

fn serve(place: &Place, halt: &str) -> Child {
    halting(program(place, &["serve"]).stderr(Stdio::null()), halt)
}

/// Asks for something, which must be done.
fn ask(place: &Place, words: &[&str]) {
    let output = program(place, words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Asks for something whose answer never comes, as the process that serves is killed on the way.
fn ask_in_vain(place: &Place, words: &[&str], serving: Child, halt: &str) {
    let asking = program(place, words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    kill_when_halted(serving, halt);
    let output = asking.wait_with_output().unwrap();
    assert!(!output.status.success(), "{words:?}");
}

/// Opens the database as a process does that looks and does not reconcile.
async fn with_app<T>(place: &Place, look: impl AsyncFnOnce(&App) -> T) -> T {
    let app = place.app().await;
    let seen = look(&app).await;
    app.store().close().await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_is_killed_while_it_brings_clients_up() {
    let place = Place::on_shared().await;
    let socket = Socket::new();
    socket.configure(&place, "tel.db");
    let others = with_app(&place, async |app| Others::make(&place, app).await).await;
    for halt in ["topics-applied", "rights-applied", "list-published"] {
        let client = format!("served-{halt}");
        ask(&place, &["client", "add", &client]);
        ask(&place, &["credential", "add", &client]);
        kill_when_halted(serve(&place, halt), halt);
        ends_well(&place, &client).await;
    }
    // Between a credential's number and its certificate.
    let halt = "credential-numbered";
    let client = "served-list-published";
    let serving = serve(&place, halt);
    socket.answers().await;
    ask_in_vain(&place, &["credential", "add", client], serving, halt);
    ask(&place, &["credential", "add", client]);
    ends_well(&place, client).await;
    with_app(&place, async |app| {
        let credentials = app.store().credentials(&id(client)).await.unwrap();
        let numbers: Vec<u32> = credentials.iter().map(|credential| credential.generation).collect();
        assert_eq!(numbers, [3, 2, 1], "no number is given twice");
        let without = credentials.iter().find(|credential| credential.generation == 2).unwrap();
        assert!(without.not_after.is_none() && without.state == CredentialState::Issued, "{without:?}");
        others.are_untouched(&place, app);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_is_killed_while_an_operator_accepts_its_database() {
    let place = Place::on_shared().await;
    let socket = Socket::new();
    socket.configure(&place, "tel.db");
    let system = place.start().await;
    for client in ["a-one", "a-two"] {
        clients::subscribe(&system.app, &operator(), &id(client), None).await.unwrap();
        system.await_listed(client).await;
    }
    let others = Others::make(&place, &system.app).await;
    system.stop().await;

    socket.configure(&place, "other.db");
    let halt = "recovered";
    let serving = serve(&place, halt);
    socket.answers().await;
    ask_in_vain(&place, &["database", "accept"], serving, halt);
    // It was said, and is not asked again.
    let halt = "marker-renewed";
    kill_when_halted(serve(&place, halt), halt);
    let system = place.start().await;
    system.await_pass().await;
    for client in ["a-one", "a-two"] {
        system.await_listed(client).await;
        let log = system.audited(client).await;
        assert_eq!(log.iter().filter(|what| *what == "client.adopt").count(), 1, "{log:?}");
    }
    assert_eq!(place.listed(), ["a-one", "a-two"]);
    others.are_untouched(&place, &system.app);
    system.stop().await;
}

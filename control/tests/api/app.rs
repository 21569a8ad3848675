//! A tel-control of a test: SQLite, an own CA, and a Kafka that is not there.

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::Router;
use http_body_util::BodyExt;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tel_control::app::{now, App};
use tel_control::ca::{Authority, Protection};
use tel_control::config::Config;
use tel_control::http::{self, Peer};
use tel_control::names::ClientId;
use tel_control::store::Actor;
use tower::ServiceExt;

/// Its folder goes with it.
pub struct Control {
    pub app: App,
    pub router: Router,
    pub folder: Folder,
    /// An operator's token.
    pub operator: String,
}

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("api-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A configuration in the folder; `more` are further keys, such as `, "listen": "127.0.0.1:1"`.
pub fn config(folder: &Path, more: &str) -> Config {
    let ca = folder.join("ca");
    if !ca.exists() {
        Authority::create(&ca, "tel clients", Protection::Plain).unwrap();
        let brokers = Authority::generate("brokers").unwrap();
        std::fs::write(folder.join("brokers.pem"), brokers.certificate_pem().unwrap()).unwrap();
    }
    let text = format!(
        r#"{{"database": "sqlite:{}", "kafka": {{"bootstrap.servers": "127.0.0.1:1", "log_level": 0}},
            "public_bootstrap": "kafka.example.com:9093", "brokers_ca": "brokers.pem", "ca": "ca"{more}}}"#,
        folder.join("control.db").display()
    );
    Config::from_json(&text, folder).unwrap()
}

impl Control {
    pub async fn new() -> Control {
        Control::with("").await
    }

    pub async fn with(more: &str) -> Control {
        let folder = Folder::new();
        let app = App::open(config(&folder.0, more)).await.unwrap();
        let operator =
            app.store().create_token(&Actor::command_line(), "test", None, None, now()).await.unwrap().secret;
        Control { router: http::router(app.clone()), app, folder, operator }
    }

    /// A token of a client.
    pub async fn client_token(&self, id: &str) -> String {
        let id = ClientId::new(id).unwrap();
        let token = self.app.store().create_token(&Actor::command_line(), "test", Some(&id), None, now()).await;
        token.unwrap().secret
    }

    /// Asks as the operator.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.ask_as(&self.operator, method, path, body).await
    }

    /// Asks with a token.
    pub async fn ask_as(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send(request(method, path, &[("authorization", &format!("Bearer {token}"))], body)).await
    }

    /// Asks in-process, as if from this address of the documentation's.
    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        if request.extensions().get::<Peer>().is_none() {
            let address: SocketAddr = "192.0.2.7:50000".parse().unwrap();
            request.extensions_mut().insert(Peer::Network(address));
        }
        answer(self.router.clone(), request).await
    }

    /// All that is in the database.
    pub fn dump(&self) -> String {
        ["control.db", "control.db-wal"]
            .map(|file| std::fs::read(self.folder.0.join(file)).unwrap_or_default())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat()
    }

    /// What the audit log has of a subject, in the order in which it happened.
    pub async fn audited(&self, subject: &str) -> Vec<(String, String)> {
        let rows = self.app.store().audit_log(Some(subject), None, 1000).await.unwrap();
        rows.into_iter().rev().map(|row| (row.who, row.what)).collect()
    }
}

pub async fn answer(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
}

/// A request; a body is JSON.
pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    }
    .unwrap()
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The answer, which must have this status; if it is an error it must be a problem of it.
    #[track_caller]
    pub fn is(self, status: u16) -> Answer {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if status >= 400 && !self.body.is_empty() {
            assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
            let problem = self.json();
            assert_eq!(problem["status"], status);
            for member in ["type", "title", "detail"] {
                assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
            }
        }
        self
    }

    /// The detail of a problem.
    pub fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

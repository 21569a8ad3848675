//! A panel of its own for each test, and what a browser would ask it.

use crate::broker::Broker;
use axum::body::Body;
use axum::http::{header, HeaderMap, Request, StatusCode};
use axum::Router;
use http_body_util::BodyExt;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tel_control::app::{now, App};
use tel_control::ca::{Authority, Protection};
use tel_control::config::Config;
use tel_control::http::panel;
use tel_control::names::ClientId;
use tel_control::store::{Actor, NewSession};
use tower::ServiceExt;

/// What launch links are signed with.
pub const LAUNCH_SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Where people reach the panel, unless a test says otherwise.
pub const ORIGIN: &str = "http://panel.example";

/// A panel. Its data goes when it is dropped.
pub struct Site {
    pub app: App,
    pub router: Router,
    folder: PathBuf,
}

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Site {
    pub async fn new() -> Site {
        Site::reached_at(ORIGIN).await
    }

    /// Reached under whatever address it is served at.
    pub async fn anywhere() -> Site {
        Site::with(None).await
    }

    pub async fn reached_at(origin: &str) -> Site {
        Site::with(Some(origin)).await
    }

    async fn with(origin: Option<&str>) -> Site {
        let folder = folder();
        let authority = Authority::create(&folder.join("ca"), "tel test", Protection::Plain).unwrap();
        std::fs::write(folder.join("brokers.pem"), authority.certificate_pem().unwrap()).unwrap();
        std::fs::write(folder.join("launch.key"), LAUNCH_SECRET).unwrap();
        let config = json!({
            "database": format!("sqlite:{}", folder.join("control.db").display()),
            // Nobody listens there, and nobody is in a hurry to find that out.
            "kafka": { "bootstrap.servers": "127.0.0.1:1", "reconnect.backoff.ms": 60_000, "reconnect.backoff.max.ms": 60_000, "log_level": 0 },
            "public_bootstrap": "kafka-1.example.com:9093,kafka-2.example.com:9093",
            "brokers_ca": "brokers.pem", "ca": "ca", "launch_key": "launch.key", "panel_url": origin,
        });
        Site::of(&config, folder).await
    }

    /// With a Kafka whose authority is the clients', too, so that what is issued here works there.
    pub async fn on(broker: &Broker) -> Site {
        let folder = folder();
        let pki = broker.folder().join("pki");
        std::fs::create_dir_all(folder.join("ca")).unwrap();
        for (from, to) in [("ca.pem", "ca.crt"), ("ca.key", "ca.key")] {
            let to = folder.join("ca").join(to);
            std::fs::copy(pki.join(from), &to).unwrap();
            std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).unwrap();
        }
        let config = json!({
            "database": format!("sqlite:{}", folder.join("control.db").display()),
            "kafka": {
                "bootstrap.servers": broker.connection("admin").get("bootstrap.servers"),
                "security.protocol": "ssl",
                "broker.address.family": "v4",
                "ssl.ca.location": pki.join("ca.pem"),
                "ssl.certificate.location": pki.join("admin.crt"),
                "ssl.key.location": pki.join("admin.key"),
            },
            "public_bootstrap": broker.connection("admin").get("bootstrap.servers"),
            "brokers_ca": pki.join("ca.pem"), "ca": "ca",
            "authorizer_logs": [broker.folder().join("log")],
        });
        Site::of(&config, folder).await
    }

    async fn of(config: &serde_json::Value, folder: PathBuf) -> Site {
        let config = Config::from_json(&config.to_string(), &folder).unwrap();
        let app = App::open(config).await.unwrap();
        Site { router: panel::router(app.clone()), app, folder }
    }

    /// A session of an operator.
    pub async fn operator(&self) -> NewSession {
        self.session_until("Ada", None, now() + 3_600_000).await
    }

    /// A session of a client.
    pub async fn client(&self, id: &str) -> NewSession {
        self.session_until("Bob", Some(crate::id(id)), now() + 3_600_000).await
    }

    pub async fn session_until(&self, label: &str, client: Option<ClientId>, until: i64) -> NewSession {
        let store = self.app.store();
        let token = store.create_token(&Actor::command_line(), label, client.as_ref(), None, now()).await.unwrap();
        let who = store.authenticate(&token.secret, now()).await.unwrap().unwrap();
        store.create_session(&who, until, now()).await.unwrap()
    }

    /// Adds a client as it comes.
    pub async fn add(&self, id: &str) -> ClientId {
        let id = crate::id(id);
        tel_control::onboarding::clients::subscribe(&self.app, &Actor::command_line(), &id, None).await.unwrap();
        id
    }

    pub async fn ask(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
    }

    pub async fn get(&self, path: &str, session: Option<&NewSession>) -> Answer {
        self.ask(with_cookie(Request::get(path), session).body(Body::empty()).unwrap()).await
    }

    /// Sends a form as a page of the panel does.
    pub async fn post(&self, path: &str, session: Option<&NewSession>, fields: &[(&str, &str)]) -> Answer {
        let csrf = session.map_or("", |session| session.csrf.as_str());
        let fields: Vec<_> = [("csrf", csrf)].into_iter().chain(fields.iter().copied()).collect();
        self.post_from(Some(ORIGIN), path, session, &fields).await
    }

    pub async fn post_from(
        &self,
        origin: Option<&str>,
        path: &str,
        session: Option<&NewSession>,
        fields: &[(&str, &str)],
    ) -> Answer {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let mut request =
            with_cookie(Request::post(path), session).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        self.ask(request.body(Body::from(body.join("&"))).unwrap()).await
    }

    pub async fn post_as_operator(&self, path: &str) -> Answer {
        let session = self.operator().await;
        let origin = self.app.config().panel();
        self.post_from(Some(&origin), path, Some(&session), &[("csrf", &session.csrf)]).await
    }

    /// The number of the latest row of the audit log: every change has one.
    pub async fn changes(&self) -> i64 {
        self.app.store().audit_log(None, None, 1).await.unwrap().first().map_or(0, |row| row.id)
    }

    /// What the audit log has of a subject, in the order in which it happened.
    pub async fn audited(&self, subject: &str) -> Vec<String> {
        let rows = self.app.store().audit_log(Some(subject), None, 1000).await.unwrap();
        rows.into_iter().rev().map(|row| row.what).collect()
    }
}

/// A new one.
fn folder() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("panel-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn with_cookie(request: axum::http::request::Builder, session: Option<&NewSession>) -> axum::http::request::Builder {
    match session {
        // Among others, as browsers send them.
        Some(session) => request.header(header::COOKIE, format!("theme=dark; tel={}; x=y", session.cookie)),
        None => request,
    }
}

pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

//! The API and the panel, over HTTP.
//!
//! ```text
//!   serve: listen (TLS, the command line's socket) ─► around ─► router ─┬─ /api/v1/…  api: JSON, Bearer tokens
//!                                                                       ├─ /healthz, /metrics
//!                                                                       └─ /…         panel: pages, cookies
//!   Of both: problem (errors), limits (sizes, how often), Peer (where a request comes from).
//!   Of the API: auth (who asks), extract (what is asked), idempotency (once although asked for twice), metrics.
//! ```

pub mod api;
pub mod auth;
pub mod extract;
pub mod idempotency;
pub mod limits;
mod listen;
pub mod metrics;
pub mod panel;
pub mod problem;

pub use listen::Server;

use crate::app::{now, App};
use crate::error::Result;
use axum::extract::{FromRef, MatchedPath, Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{from_fn_with_state, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use problem::Problem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often what has expired is removed from the database.
const TIDY: Duration = Duration::from_secs(600);
/// No page may show one of these in a frame, nor may an answer of the API be a page.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// Where a request comes from: in the extensions of every request that a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The network.
    Network(SocketAddr),
    /// The socket of the command line, or this process itself: an operator.
    Local,
}

/// What all requests share.
#[derive(Clone)]
pub struct Shared {
    inner: Arc<Inner>,
}

struct Inner {
    app: App,
    limits: auth::Limits,
    counters: metrics::Counters,
    scrape: metrics::Scrape,
}

impl Shared {
    fn new(app: App) -> Shared {
        let inner = Inner {
            app,
            limits: auth::Limits::default(),
            counters: metrics::Counters::default(),
            scrape: metrics::Scrape::default(),
        };
        Shared { inner: Arc::new(inner) }
    }

    /// The running tel-control.
    pub fn app(&self) -> &App {
        &self.inner.app
    }

    fn limits(&self) -> &auth::Limits {
        &self.inner.limits
    }

    fn counters(&self) -> &metrics::Counters {
        &self.inner.counters
    }

    fn scrape(&self) -> &metrics::Scrape {
        &self.inner.scrape
    }
}

impl FromRef<Shared> for App {
    fn from_ref(shared: &Shared) -> App {
        shared.app().clone()
    }
}

/// All that is served to the network.
pub fn router(app: App) -> Router {
    of(&Shared::new(app))
}

/// The API as the command line asks it: every request is an operator's, and needs no token.
///
/// `router.oneshot(request)` of tower's `ServiceExt` asks within this process.
pub fn local_router(app: App) -> Router {
    local_of(&Shared::new(app))
}

/// Routes as they are served: with what is around every request.
pub fn served(app: App, routes: Router) -> Router {
    routes.layer(from_fn_with_state(Shared::new(app), around))
}

fn of(shared: &Shared) -> Router {
    Router::new()
        .merge(api::router(shared.clone()))
        .merge(panel::router(shared.app().clone()))
        .layer(from_fn_with_state(shared.clone(), around))
}

fn local_of(shared: &Shared) -> Router {
    api::router(shared.clone()).layer(from_fn_with_state(shared.clone(), around)).layer(Extension(Peer::Local))
}

/// Serves until `stop` is true, then finishes what has begun.
///
/// # Errors
/// If the address or the socket is taken, or the certificate cannot be used.
pub async fn serve(app: App, stop: watch::Receiver<bool>) -> Result<()> {
    let server = Server::bind(&app).await?;
    server.run(app, stop).await
}

/// Removes now and then what has expired.
async fn tidy(app: App) {
    let mut every = tokio::time::interval(TIDY);
    loop {
        every.tick().await;
        if let Err(error) = app.store().tidy(now()).await {
            crate::log::warning(error);
        }
    }
}

/// Around every request: it is done to its end though its asker goes away, a panic is its own trouble alone, an error has its problem,
/// an answer its headers, and all are counted.
async fn around(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let is_api = request.uri().path().starts_with("/api/");
    let method = request.method().clone();
    let done = tokio::spawn(next.run(request)).await;
    let mut response = problem::filled(done.unwrap_or_else(|error| {
        // The panic itself has said where; what it was about may be a secret.
        let what = if error.is_panic() { "panicked" } else { "was broken off" };
        crate::log::error(format!("{method} {}: {what}", route.as_deref().unwrap_or("(no route)")));
        Problem::internal().into_response()
    }));
    shared.counters().count(route.as_deref(), &method, response.status());
    let headers = response.headers_mut();
    let fallback = |headers: &mut HeaderMap, name: HeaderName, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    fallback(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    fallback(headers, REFERRER_POLICY, "no-referrer");
    if is_api {
        fallback(headers, CONTENT_SECURITY_POLICY, NOTHING);
        fallback(headers, axum::http::header::CACHE_CONTROL, "no-store");
    }
    if shared.app().config().tls.is_some() {
        fallback(headers, STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

/// The address that a request comes from; of one within this process, none that anybody has.
pub fn address(peer: Option<&Peer>) -> IpAddr {
    match peer {
        Some(Peer::Network(address)) => address.ip().to_canonical(),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

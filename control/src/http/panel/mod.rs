//! The panel: pages for clients and operators, made here, with forms that work without JavaScript.
//!
//! ```text
//!   session: who it is, and whether a form is ours ──► client, credentials, lines    what a client sees, and an operator of it
//!   launch: from another panel, with a signed link     operator, edges, tokens,
//!                                                      usage, audit, status          what operators see
//!   live: says to open pages that something changed    plot: SVG     words: times and counts as people say them
//! ```
//!
//! Every change is a POST that carries the session's CSRF token. Templates escape what they show; scripts and styles are two files,
//! and the pages' policy allows no others.

mod audit;
mod client;
mod clients;
mod credentials;
mod edges;
mod launch;
mod lines;
mod live;
mod page;
mod plot;
mod reading;
mod session;
mod settings;
mod status;
mod tokens;
mod usage;
mod words;

pub use launch::link as launch_link;

use crate::app::App;
use crate::http::limits::{small_body, Limiter};
use axum::extract::State;
use axum::http::{header, HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{from_fn, map_response_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::Router;
use page::Problem;
use std::net::IpAddr;
use std::sync::Arc;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the pages share.
#[derive(Clone)]
struct Panel {
    app: App,
    failures: Arc<Limiter<IpAddr>>,
    streams: Arc<live::Places>,
}

impl Panel {
    fn is_https(&self) -> bool {
        self.app.config().panel().starts_with("https:")
    }
}

/// The panel's pages.
pub fn router(app: App) -> Router {
    let panel = Panel { app, failures: Arc::new(session::failures()), streams: Arc::new(live::Places::default()) };
    Router::new()
        .route("/", get(home))
        .route("/login", get(session::sign_in_page).post(session::sign_in))
        .route("/logout", post(session::sign_out))
        .route("/launch", get(launch::page).post(launch::enter))
        .route("/events", get(live::events))
        .route("/clients", get(clients::page).post(clients::add))
        .route("/clients/table", get(clients::table))
        .route("/clients/{id}", get(client::page))
        .route("/clients/{id}/progress", get(client::progress))
        .route("/clients/{id}/connection", get(client::connection))
        .route("/clients/{id}/reading", get(reading::reading))
        .route("/clients/{id}/volume", get(reading::volume))
        .route("/clients/{id}/subscribe", post(client::subscribe))
        .route("/clients/{id}/unsubscribe", get(client::unsubscribe_page).post(client::unsubscribe))
        .route("/clients/{id}/retry", post(client::retry))
        .route("/clients/{id}/take-over", post(client::take_over))
        .route("/clients/{id}/bundle.zip", get(credentials::files).post(credentials::download))
        .route("/clients/{id}/credentials", get(credentials::page))
        .route("/clients/{id}/credentials/table", get(credentials::table))
        .route("/clients/{id}/credentials/{generation}/revoke", get(credentials::revoke_page).post(credentials::revoke))
        .route("/clients/{id}/lines", get(lines::page).post(lines::look))
        .route("/clients/{id}/lines/latest", get(lines::latest))
        .route("/clients/{id}/settings", get(settings::page).post(settings::change))
        .route("/clients/{id}/audit", get(audit::of_client))
        .route("/edges", get(edges::page).post(edges::certify))
        .route("/edges/table", get(edges::table))
        .route("/edges/{name}/retire", get(edges::retire_page).post(edges::retire))
        .route("/tokens", get(tokens::page).post(tokens::create))
        .route("/tokens/{id}/revoke", get(tokens::revoke_page).post(tokens::revoke))
        .route("/usage", get(usage::page))
        .route("/audit", get(audit::page))
        .route("/status", get(status::page))
        .route("/status/accept-database", post(status::accept_database))
        .route("/status/accept-list", post(status::accept_list))
        .route("/static/panel.css", get(style))
        .route("/static/panel.js", get(script))
        .route("/static/icon.svg", get(icon))
        .route("/{*path}", get(nowhere))
        .layer(from_fn(small_body))
        .layer(map_response_with_state(panel.clone(), protect))
        .with_state(panel)
}

/// A client's own service, or an operator's clients.
async fn home(panel: State<Panel>, visitor: session::Visitor, uri: Uri) -> Result<Response, Problem> {
    match visitor.client().cloned() {
        Some(id) => client::show(&panel, &visitor, &id, &uri).await,
        None => clients::show(&panel, &visitor, &uri).await,
    }
}

async fn nowhere(uri: Uri) -> Response {
    if uri.path().starts_with("/api/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    Problem::not_found("There is no such page.").into_response()
}

/// What each answer says to the browser beside its content.
async fn protect(State(panel): State<Panel>, mut response: Response) -> Response {
    let mut set = |name: HeaderName, value: &'static str| {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CACHE_CONTROL, "no-store");
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Not "no-referrer": with that, browsers send forms without their origin.
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if panel.is_https() {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

async fn style(headers: HeaderMap) -> Response {
    file(&headers, "text/css; charset=utf-8", include_str!("panel.css"))
}

async fn script(headers: HeaderMap) -> Response {
    file(&headers, "text/javascript; charset=utf-8", include_str!("panel.js"))
}

async fn icon(headers: HeaderMap) -> Response {
    file(&headers, "image/svg+xml", include_str!("icon.svg"))
}

/// A file of the program: kept by the browser, and asked about each time whether it is still the same.
fn file(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let digest = openssl::sha::sha256(text.as_bytes());
    let tag: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let about = [(header::CACHE_CONTROL, "no-cache".to_owned()), (header::ETAG, tag)];
    if known {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, [(header::CONTENT_TYPE, kind)], text).into_response()
}

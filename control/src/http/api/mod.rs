//! The API: contract, section 8.
//!
//! ```text
//!   authenticate ─► body (its size, its time) ─► once (idempotency) ─► a function here ─► onboarding, observe, store
//! ```
//! Each function has its part of the OpenAPI document beside it; `openapi` puts them together, with what all have in common.

mod audit;
mod bundle;
mod clients;
mod credentials;
mod edges;
mod openapi;
mod reading;
mod status;
mod tokens;

pub use openapi::document;

use super::limits::{large_body, small_body};
use super::problem::Problem;
use super::{auth, idempotency, metrics, Shared};
use crate::ca::Secret;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::Router;
use serde::Serialize;

/// Rows of a list, if nobody says how many.
const PAGE: usize = 100;
/// Rows of a list, whatever is said.
const LONGEST_PAGE: usize = 1000;

/// Everything below `/api/v1`, `/healthz` and `/metrics`.
pub fn router(shared: Shared) -> Router {
    let small = Router::new()
        .route("/clients", post(clients::add).get(clients::list))
        .route("/clients/{id}", get(clients::show).patch(clients::change).delete(clients::remove))
        .route("/clients/{id}/retry", post(clients::retry))
        .route("/clients/{id}/take-over", post(clients::take_over))
        .route("/clients/{id}/credentials", post(credentials::issue).get(credentials::list))
        .route("/clients/{id}/credentials/{generation}", delete(credentials::revoke))
        .route("/clients/{id}/bundle.zip", post(bundle::mint).get(bundle::show))
        .route("/clients/{id}/reading", get(reading::reading))
        .route("/clients/{id}/history", get(reading::history))
        .route("/clients/{id}/lines", get(reading::lines))
        .route("/clients/{id}/usage", get(reading::usage))
        .route("/edges", post(edges::add).get(edges::list))
        .route("/edges/{name}", delete(edges::retire))
        .route("/tokens", post(tokens::create).get(tokens::list))
        .route("/tokens/{id}", delete(tokens::revoke))
        .route("/audit", get(audit::list))
        .route("/status", get(status::status))
        .route("/plan", get(status::plan))
        .route("/list/accept", post(status::accept_list))
        .route("/database/accept", post(status::accept_database));
    let large = Router::new().route("/import", post(clients::import));
    // The last layer is the first that a request meets.
    let once = from_fn_with_state(shared.clone(), idempotency::once);
    let asked = small
        .route_layer(once.clone())
        .route_layer(from_fn(small_body))
        .merge(large.route_layer(once).route_layer(from_fn(large_body)))
        .route_layer(from_fn_with_state(shared.clone(), auth::authenticate));
    let open = Router::new()
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .route("/healthz", get(status::health))
        .route("/metrics", get(metrics::metrics));
    Router::new().nest("/api/v1", asked).merge(open).with_state(shared)
}

/// An answer that holds a secret: it is not kept for who asks again, and its memory is overwritten once it is sent.
fn secret(status: StatusCode, content: &'static str, bytes: Secret) -> Response {
    struct Guarded(Secret);
    impl AsRef<[u8]> for Guarded {
        fn as_ref(&self) -> &[u8] {
            self.0.bytes()
        }
    }
    let body = Body::from(Bytes::from_owner(Guarded(bytes)));
    let mut response = (status, [(CONTENT_TYPE, content)], body).into_response();
    response.extensions_mut().insert(idempotency::HandsOut);
    response
}

/// The same of something as JSON.
fn secret_json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    // Room for all of it, so that growing leaves no copies behind.
    let mut bytes = Vec::with_capacity(64 * 1024);
    serde_json::to_writer(&mut bytes, value).map_err(|_| Problem::internal())?;
    Ok(secret(status, "application/json", Secret::new(bytes)))
}

/// How many rows are given.
fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(PAGE),
        Some(limit) if (1..=LONGEST_PAGE).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::bad_request(format!("limit must be from 1 to {LONGEST_PAGE}"))),
    }
}

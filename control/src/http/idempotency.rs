//! A POST with an `Idempotency-Key` is done once although it is asked for twice, at once or later.

use super::auth::Caller;
use super::limits::{whole, LARGE_BODY};
use super::problem::{Problem, Which};
use super::Shared;
use crate::app::now;
use crate::error::Kind;
use crate::store::{Claim, Millis};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The header of the key.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is a former one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// For so long an answer is kept.
const KEPT: Millis = 24 * 3600 * 1000;

/// Marks a response that holds a secret: it is not kept.
#[derive(Clone, Copy, Debug)]
pub struct HandsOut;

/// Does a POST with a key once. To be within what says who asks.
pub async fn once(State(shared): State<Shared>, caller: Caller, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    match key(request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(key)) => {
            claimed(&shared, caller.scope(), &key, request, next).await.unwrap_or_else(Problem::into_response)
        }
        Err(problem) => problem.into_response(),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(key) if values.next().is_none() => Ok(Some(key.to_owned())),
        _ => Err(Problem::bad_request("the header Idempotency-Key must be one line of printable ASCII, once")),
    }
}

async fn claimed(shared: &Shared, scope: &str, key: &str, request: Request, next: Next) -> Result<Response, Problem> {
    let store = shared.app().store();
    let (head, body) = request.into_parts();
    let bytes = whole(body, LARGE_BODY).await?;
    let asked = asked(&head.uri, &bytes);
    let at = now();
    let claim = store.claim_request(scope, key, &asked, at + KEPT, at).await.map_err(|error| match error.kind {
        Kind::Invalid => Problem::bad_request(error.text),
        _ => error.into(),
    })?;
    match claim {
        Claim::New => {}
        Claim::Replay { status, body: Some(body) } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let json = HeaderValue::from_static("application/json");
            return Ok(
                (status, [(CONTENT_TYPE, json), (REPLAYED, HeaderValue::from_static("true"))], body).into_response()
            );
        }
        Claim::Replay { body: None, .. } => {
            let detail = "this was done, and the secret in its answer handed out then: it is nowhere any more; ask anew with another key";
            return Err(Problem::conflict(detail).which(Which::HandedOut));
        }
        Claim::Running => {
            let problem =
                Problem::conflict("the same request is being done; ask again in a moment").which(Which::UnderWay);
            return Err(Problem { retry_after: Some(1), ..problem });
        }
        Claim::Different => {
            return Err(
                Problem::unprocessable("this Idempotency-Key was used for another request").which(Which::KeyReused)
            );
        }
    }
    let response = next.run(Request::from_parts(head, Body::from(bytes))).await;
    if !response.status().is_success() {
        if let Err(error) = store.release_request(scope, key).await {
            crate::log::warning(error);
        }
        return Ok(response);
    }
    let status = response.status().as_u16();
    let (head, body) = response.into_parts();
    let is_json = head.headers.get(CONTENT_TYPE).is_some_and(|value| value == "application/json");
    let (kept, body) = if head.extensions.get::<HandsOut>().is_some() || !is_json {
        (None, body)
    } else {
        let bytes = whole(body, usize::MAX).await?;
        (String::from_utf8(bytes.to_vec()).ok(), Body::from(bytes))
    };
    if let Err(error) = store.finish_request(scope, key, status, kept.as_deref()).await {
        // It was done, and that is the answer; who asks again within a minute hears that it is being done.
        crate::log::warning(error);
    }
    Ok(Response::from_parts(head, body))
}

/// What tells a request from others: its path and body.
fn asked(uri: &Uri, body: &[u8]) -> String {
    let hash: String = openssl::sha::sha256(body).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("POST {} {hash}", uri.path())
}

//! What did not work, as RFC 9457 has it: `application/problem+json`.

use crate::error::{Error, Kind};
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The content type of every problem.
pub const CONTENT: &str = "application/problem+json";

/// Characters of a detail.
const LONGEST_DETAIL: usize = 1000;

/// A problem, which is an answer as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// Which problem it is, if a program may want to tell it from others of this status.
    pub kind: Option<Which>,
    /// What is wrong and what to do, for a person; holds no secret.
    pub detail: String,
    /// After how many seconds asking again may help.
    pub retry_after: Option<u64>,
}

/// Problems that a program may want to tell from others of the same status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// What was asked for was done, and its answer held a secret: it is handed out once.
    HandedOut,
    /// The same request is being done at this moment.
    UnderWay,
    /// The idempotency key was used for something else.
    KeyReused,
    /// The token is not known, expired or revoked.
    TokenNotTaken,
}

/// A problem as it is written.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `about:blank`: the status says all; otherwise a URN that names the problem.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong and what to do.
    detail: String,
}

impl Which {
    fn urn(self) -> &'static str {
        match self {
            Which::HandedOut => "urn:tel-control:handed-out",
            Which::UnderWay => "urn:tel-control:under-way",
            Which::KeyReused => "urn:tel-control:key-reused",
            Which::TokenNotTaken => "urn:tel-control:token-not-taken",
        }
    }
}

impl Problem {
    /// A problem of this status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, kind: None, detail: detail.into(), retry_after: None }
    }

    /// What is asked for cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What is asked for can be read, and cannot be.
    pub fn unprocessable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// Whoever asks may not.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    /// It is not there.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// It contradicts what is there.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// It does not work now.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem { retry_after: Some(5), ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// This is asked too often.
    pub fn too_many(seconds: u64) -> Problem {
        let detail = format!("too many requests; ask again in {seconds} s");
        Problem { retry_after: Some(seconds), ..Problem::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// Nobody knows who asks.
    pub fn unauthorized(kind: Option<Which>, detail: impl Into<String>) -> Problem {
        Problem { kind, ..Problem::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// A defect of tel-control itself; what it was is in the log.
    pub fn internal() -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "an error of tel-control's own; its log has more")
    }

    /// The problem that a status without a word is.
    pub fn of_status(status: StatusCode) -> Problem {
        Problem::new(
            status,
            match status {
                StatusCode::NOT_FOUND => "there is nothing at this path",
                StatusCode::METHOD_NOT_ALLOWED => {
                    "this path does not take the method; the header Allow names those it takes"
                }
                _ => "the request cannot be answered",
            },
        )
    }

    /// The same as another problem of its status.
    #[must_use]
    pub fn which(self, kind: Which) -> Problem {
        Problem { kind: Some(kind), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut detail = self.detail;
        if detail.chars().count() > LONGEST_DETAIL {
            // What it repeats of the request may be long.
            detail = detail.chars().take(LONGEST_DETAIL).chain(['…']).collect();
        }
        let body = ProblemBody {
            kind: self.kind.map_or("about:blank", Which::urn),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail,
        };
        // Text and a number always are JSON.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = match self.kind {
                Some(_) => "Bearer realm=\"tel-control\", error=\"invalid_token\"",
                None => "Bearer realm=\"tel-control\"",
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        match error.kind {
            Kind::Invalid => Problem::unprocessable(error.text),
            Kind::NotFound => Problem::not_found(error.text),
            Kind::Conflict => Problem::conflict(error.text),
            Kind::Unavailable => {
                crate::log::warning(&error.text);
                Problem::unavailable(error.text)
            }
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Problem {
        match rejection {
            JsonRejection::BytesRejection(rejection) => rejection.into(),
            JsonRejection::MissingJsonContentType(_) => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be JSON, and the header Content-Type must say application/json",
            ),
            other => {
                // Behind the colon is the place and what is wrong there.
                let text = other.body_text();
                let detail = text.strip_prefix("Failed to deserialize the JSON body into the target type: ");
                Problem::new(other.status(), detail.unwrap_or(&text))
            }
        }
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Problem {
        Problem::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        Problem::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Problem {
        match rejection {
            // A route without its parameter is our own mistake.
            PathRejection::MissingPathParams(_) => Problem::internal(),
            other => Problem::bad_request(other.body_text()),
        }
    }
}

/// Gives an error without content its problem, and leaves all else as it is.
pub fn filled(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.headers().contains_key(CONTENT_TYPE) {
        return response;
    }
    let allow = response.headers().get(ALLOW).cloned();
    let mut problem = Problem::of_status(status).into_response();
    if let Some(allow) = allow {
        problem.headers_mut().insert(ALLOW, allow);
    }
    problem
}

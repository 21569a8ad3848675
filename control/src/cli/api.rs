//! The way to the API: the socket of the tel-control that serves, or, where none does, the same API within this process.

use super::{print, Done, Failure};
use crate::app::App;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::http;
use axum::body::{Body, Bytes};
use axum::http::{header, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io::ErrorKind;
use std::path::PathBuf;
use tokio::net::UnixStream;
use tower::ServiceExt;

/// Longest answer that is taken: a page of clients, a bundle.
const LONGEST: usize = 64 * 1024 * 1024;

/// The API, as an operator.
pub struct Api {
    config: Config,
    way: Way,
    json: bool,
}

enum Way {
    Socket(PathBuf),
    Here(Box<App>),
}

/// What the API answered.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// The body, as JSON; null if there is none.
    pub fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|error| Error::unavailable(format!("the API's answer: {error}")))
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }
}

impl Api {
    /// Finds the way. `json`: answers are printed as they are.
    ///
    /// # Errors
    /// Those of [`App::open`] if nobody serves; that one may not ask who does.
    pub async fn open(config: Config, json: bool) -> std::result::Result<Api, Failure> {
        let socket = config.control_socket.clone();
        let way = match UnixStream::connect(&socket).await {
            Ok(_) => Way::Socket(socket),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Way::Here(Box::new(super::serve::open(config.clone()).await?))
            }
            Err(error) => {
                let text =
                    format!("{}: {error}; run this as the user of the tel-control that serves", socket.display());
                return Err(Error::unavailable(text).into());
            }
        };
        Ok(Api { config, way, json })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether answers are printed as they are.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Says that what was asked for is only recorded, if nobody serves.
    pub fn note_recorded(&self) {
        if matches!(self.way, Way::Here(_)) {
            super::note("recorded; done when tel-control serves");
        }
    }

    /// Prints the answer as it is, or `text` of it.
    pub fn show(&self, answer: &Value, text: impl FnOnce(&Value) -> String) -> Done {
        if self.json {
            print(format!("{answer:#}\n"))
        } else {
            print(text(answer))
        }
    }

    /// Asks with `GET`.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", path, None).await?.json()
    }

    /// Asks for a path below `/api/v1`, with a JSON body if there is one.
    ///
    /// # Errors
    /// What the API says is wrong; `Unavailable` if it does not answer.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request =
            Request::builder().method(method).uri(format!("/api/v1{path}")).header(header::HOST, "localhost");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).map_err(|error| Error::invalid(format!("{path}: {error}")))?;
        let answer = match &self.way {
            Way::Socket(socket) => over(socket, request).await?,
            Way::Here(app) => match http::local_router((**app).clone()).oneshot(request).await {
                Ok(response) => collect(response).await?,
                Err(never) => match never {},
            },
        };
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(problem(&answer))
    }
}

async fn over(socket: &PathBuf, request: Request<Body>) -> Result<Answer> {
    let failed = |error: &dyn std::fmt::Display| Error::unavailable(format!("{}: {error}", socket.display()));
    let stream = UnixStream::connect(socket).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let answer = collect(response.map(Body::new)).await;
    driver.abort();
    answer
}

async fn collect(response: Response<Body>) -> Result<Answer> {
    let (parts, body) = response.into_parts();
    let body = http_body_util::Limited::new(body, LONGEST).collect().await;
    let body = body.map_err(|error| Error::unavailable(format!("the API's answer: {error}")))?.to_bytes();
    Ok(Answer { status: parts.status, body })
}

/// What a problem says of itself.
fn problem(answer: &Answer) -> Error {
    let body = answer.json().unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = text("detail").or_else(|| text("title")).map_or_else(|| answer.status.to_string(), str::to_owned);
    match answer.status {
        StatusCode::NOT_FOUND => Error::not_found(text),
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Error::conflict(text),
        status if status.is_server_error() => Error::unavailable(text),
        _ => Error::invalid(text),
    }
}

/// A part of a path: whatever it is, it stays one.
pub fn part(text: &str) -> String {
    let mut part = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || b"-_~".contains(&byte)
            || (byte == b'.' && !text.trim_matches('.').is_empty())
        {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("%{byte:02X}"));
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_path_stays_one() {
        assert_eq!(part("c8.3_x-2"), "c8.3_x-2");
        assert_eq!(part("../a b?#é"), "..%2Fa%20b%3F%23%C3%A9");
        assert_eq!(part(".."), "%2E%2E");
    }

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let answer = |status, body: &'static str| Answer { status, body: Bytes::from(body) };
        let error = problem(&answer(StatusCode::CONFLICT, r#"{"title": "x", "detail": "a_b is there"}"#));
        assert_eq!(error, Error::conflict("a_b is there"));
        assert_eq!(problem(&answer(StatusCode::BAD_GATEWAY, "<html>")).text, "502 Bad Gateway");
    }
}

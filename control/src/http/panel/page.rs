//! What all pages have: their frame, and what is shown instead of one that cannot be.

use crate::error::{Error, Kind};
use crate::store::Session;
use askama::Template;
use axum::http::{header, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Redirect, Response};

/// The frame of a page.
pub(super) struct Page {
    /// In the browser's title bar.
    pub title: String,
    /// Who is signed in.
    pub signed: Option<Signed>,
    /// Which of the links at the top this belongs to.
    pub here: &'static str,
    /// What the browser listens to for changes.
    pub events: Option<String>,
    /// Without JavaScript, the page is loaded again after so many seconds.
    pub refresh: Option<u32>,
    /// What was just done.
    pub said: Option<&'static str>,
}

/// Who is signed in, for the frame.
pub(super) struct Signed {
    pub label: String,
    pub csrf: String,
    pub is_operator: bool,
}

impl Page {
    pub fn new(title: impl Into<String>, here: &'static str, session: &Session) -> Page {
        let signed = Signed {
            label: session.who.label.clone(),
            csrf: session.csrf().to_owned(),
            is_operator: session.who.is_operator(),
        };
        Page { title: title.into(), signed: Some(signed), here, events: None, refresh: None, said: None }
    }

    pub fn without_session(title: impl Into<String>) -> Page {
        Page { title: title.into(), signed: None, here: "", events: None, refresh: None, said: None }
    }

    /// Takes from the address what the form before it did.
    pub fn said(mut self, uri: &Uri) -> Page {
        self.said = query(uri, "said").as_deref().and_then(said);
        self
    }

    pub fn live(mut self, events: impl Into<String>) -> Page {
        self.events = Some(events.into());
        self
    }

    /// What forms must carry.
    pub fn csrf(&self) -> &str {
        self.signed.as_ref().map_or("", |signed| &signed.csrf)
    }
}

/// The sentence for what a form did. Only these: an address is no place for others' texts.
fn said(key: &str) -> Option<&'static str> {
    Some(match key {
        "subscribed" => "Subscribed. Progress is shown below.",
        "same" => "It was subscribed already; nothing was changed.",
        "back" => "Undone: the service is being set up again.",
        "left" => "Unsubscribed. What happens when is shown below.",
        "revoked" => "The credential is revoked.",
        "settings" => "The settings are saved and being applied.",
        "retry" => "The failed steps are tried again now.",
        "taken-over" => "The topic is the client's from now on.",
        "retired" => "The edge is retired.",
        "database-accepted" => "This database is accepted: what the list has is taken over.",
        "list-accepted" => "The list is accepted as it is; edges are told so.",
        "token-revoked" => "The token is revoked.",
        _ => return None,
    })
}

/// A parameter of an address.
pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    pairs.0.into_iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
}

/// A page, made.
pub(super) fn html(template: &impl Template) -> Result<Response, Problem> {
    match template.render() {
        Ok(text) => Ok(Html(text).into_response()),
        Err(error) => Err(Problem::from(Error::unavailable(format!("page: {error}")))),
    }
}

/// After a form: the page that shows what came of it.
pub(super) fn see(path: &str, said: &str) -> Response {
    Redirect::to(&format!("{path}?said={said}")).into_response()
}

/// A zip to be saved.
pub(super) fn zip(name: &str, bytes: &[u8]) -> Response {
    let about = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (about, bytes.to_vec()).into_response()
}

/// Why there is no such page, or why a form did nothing.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    title: &'static str,
    text: String,
    /// Seconds.
    retry_after: Option<u64>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    page: Page,
    text: &'a str,
}

impl Problem {
    pub fn forbidden(text: impl Into<String>) -> Problem {
        Problem { status: StatusCode::FORBIDDEN, title: "Not allowed", text: text.into(), retry_after: None }
    }

    pub fn not_found(text: impl Into<String>) -> Problem {
        Problem { status: StatusCode::NOT_FOUND, title: "Not found", text: text.into(), retry_after: None }
    }

    pub fn invalid(text: impl Into<String>) -> Problem {
        Problem { status: StatusCode::BAD_REQUEST, title: "This cannot be", text: text.into(), retry_after: None }
    }

    pub fn too_many(seconds: u64) -> Problem {
        let text = format!("Too many attempts. Try again in {seconds} s.");
        let status = StatusCode::TOO_MANY_REQUESTS;
        Problem { status, title: "Too many attempts", text, retry_after: Some(seconds) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let (status, title) = match error.kind {
            Kind::Invalid => (StatusCode::BAD_REQUEST, "This cannot be"),
            Kind::NotFound => (StatusCode::NOT_FOUND, "Not found"),
            Kind::Conflict => (StatusCode::CONFLICT, "Not possible now"),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Not available now"),
        };
        Problem { status, title, text: error.text, retry_after: None }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let page = ProblemPage { page: Page::without_session(self.title), text: &self.text };
        let text = page.render().unwrap_or_else(|_| self.title.to_owned());
        let mut response = (self.status, Html(text)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

//! Word of changes to open pages, as server-sent events. An event says no more than that something changed: the page then asks for
//! the parts that it shows, each with its own checks.

use super::page::{query, Problem};
use super::session::Visitor;
use super::Panel;
use crate::app::now;
use crate::names::ClientId;
use crate::onboarding::{clients, credentials};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{watch, OwnedSemaphorePermit};
use tokio::time::{sleep, sleep_until, Instant};

/// Pages that are told of changes at once. Others ask now and then.
pub(super) const MOST_STREAMS: usize = 1000;
/// Changes of a client within so long are told together.
const TOGETHER: Duration = Duration::from_millis(200);
/// The same for changes of any client: there may be thousands.
const ALL_TOGETHER: Duration = Duration::from_secs(1);
/// The stream ends after so long, and the browser asks for another one: with a session, if it still has it.
const LONGEST: Duration = Duration::from_secs(120);

struct Stream {
    panel: Panel,
    /// The client whose changes matter; none: an operator's page of all.
    client: Option<ClientId>,
    cookie: String,
    changes: watch::Receiver<u64>,
    /// What was told of last.
    known: String,
    until: Instant,
    _permit: OwnedSemaphorePermit,
}

/// `GET /events?client=ID`, or without a client for operators.
pub(super) async fn events(State(panel): State<Panel>, visitor: Visitor, uri: Uri) -> Result<Response, Problem> {
    let client = match query(&uri, "client") {
        Some(id) => Some(visitor.may_see(&id)?),
        None => {
            visitor.operator()?;
            None
        }
    };
    let Ok(permit) = panel.streams.clone().try_acquire_owned() else {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    };
    let stream = Stream {
        // Before the first look, so that nothing falls between.
        changes: panel.app.changes(),
        panel,
        client,
        cookie: visitor.cookie,
        known: String::new(),
        until: Instant::now() + LONGEST,
        _permit: permit,
    };
    let events = stream::unfold(stream, |mut stream| async move {
        stream.next().await.map(|event| (Ok::<Event, Infallible>(event), stream))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

impl Stream {
    /// The next event; none when the stream is over. The first comes at once: the page may be older than the stream.
    async fn next(&mut self) -> Option<Event> {
        while !self.known.is_empty() {
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = sleep_until(self.until) => return None,
            }
            sleep(if self.client.is_some() { TOGETHER } else { ALL_TOGETHER }).await;
            self.changes.borrow_and_update();
            // Whoever has signed out is told nothing more.
            self.panel.app.store().session(&self.cookie, now()).await.ok()??;
            if self.client.is_none() {
                break;
            }
            let seen = self.look().await?;
            if seen != self.known {
                self.known = seen;
                return Some(changed());
            }
        }
        self.known = self.look().await?;
        Some(changed())
    }

    /// What of the client can be told; none while the database does not answer.
    async fn look(&self) -> Option<String> {
        let Some(id) = &self.client else { return Some("all".to_owned()) };
        let view = clients::view(&self.panel.app, id).await;
        let credentials = credentials::views(&self.panel.app, id).await.ok()?;
        Some(format!("{view:?} {credentials:?}"))
    }
}

fn changed() -> Event {
    // Browsers pass over events without data.
    Event::default().event("changed").data("yes")
}

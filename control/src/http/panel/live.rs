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
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, Instant};

/// Pages that are told of changes at once, and those of one session. Others ask now and then.
const MOST_STREAMS: usize = 400;
const MOST_OF_ONE: usize = 12;
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
    _place: Place,
}

/// How many streams each session has.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<String, usize>>);

/// One of them, until it is dropped.
struct Place {
    of: Arc<Places>,
    cookie: String,
}

impl Places {
    fn take(self: &Arc<Places>, cookie: &str) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= MOST_STREAMS || taken.get(cookie).is_some_and(|own| *own >= MOST_OF_ONE) {
            return None;
        }
        *taken.entry(cookie.to_owned()).or_default() += 1;
        Some(Place { of: Arc::clone(self), cookie: cookie.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.cookie) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.cookie);
            }
        }
    }
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
    let Some(place) = panel.streams.take(&visitor.cookie) else {
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
        _place: place,
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
    // Browsers pass over an event without data.
    Event::default().event("changed").data("look again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_few_and_given_back() {
        let places = Arc::new(Places::default());
        let mut own: Vec<Place> = (0..MOST_OF_ONE).filter_map(|_| places.take("a")).collect();
        assert!(own.len() == MOST_OF_ONE && places.take("a").is_none());
        let others: Vec<Place> = (0..1000).filter_map(|n| places.take(&n.to_string())).collect();
        assert_eq!(others.len(), MOST_STREAMS - MOST_OF_ONE);
        own.clear();
        assert!(places.take("a").is_some());
        drop(others);
        assert!(places.0.lock().unwrap().is_empty());
    }
}

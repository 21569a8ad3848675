//! What the reconciler says of itself, for API, panel and log.
//!
//! It knows nothing of reconciling, so that [`crate::app::App`] can hold it for who says and who shows it.

use crate::error::Error;
use crate::log;
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use utoipa::ToSchema;

/// What a process does about reconciling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It has not begun.
    #[default]
    Starting,
    /// It reconciles.
    Leading,
    /// Another process reconciles.
    Standby,
    /// It would reconcile, and waits for an operator.
    Holding,
    /// It has ended.
    Stopped,
}

/// What the reconciler says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ReconcilerStatus)]
pub struct Status {
    /// What this process does.
    pub role: Role,
    /// If it holds: why, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holding: Option<String>,
    /// If Kafka cannot be worked with: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<String>,
    /// If the database cannot be worked with: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// What an operator should look at.
    pub notices: Vec<String>,
    /// The last comparison of all of Kafka with what is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pass: Option<PassView>,
}

/// A comparison of all of Kafka with what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PassView {
    /// When it was over.
    pub at: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How many clients were compared.
    pub clients: usize,
    /// How many of them differed, and are done again.
    pub differing: usize,
}

/// The status as the reconciler writes it while others read.
#[derive(Default)]
pub(crate) struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    status: Status,
    /// By what they are about.
    notices: std::collections::BTreeMap<&'static str, String>,
}

impl Shared {
    /// As of now.
    pub fn status(&self) -> Status {
        self.lock().status.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what this process does, and in the log when that has changed.
    pub fn role(&self, role: Role, holding: Option<&str>) {
        let mut state = self.lock();
        let holding = holding.map(str::to_owned);
        let is_news = state.status.role != role || state.status.holding != holding;
        (state.status.role, state.status.holding) = (role, holding);
        if !is_news {
            return;
        }
        match (role, &state.status.holding) {
            (Role::Leading, _) => log::notice("reconciler: leads"),
            (Role::Standby, _) => log::notice("reconciler: another process leads; stands by"),
            (Role::Holding, Some(why)) => log::error(format!("reconciler: holds: {why}")),
            _ => {}
        }
    }

    /// Says whether Kafka can be worked with: in the log when that changes, not each time it is tried.
    pub fn kafka(&self, error: Option<&Error>) {
        let mut state = self.lock();
        let text = error.map(|error| steady(&error.text));
        told("kafka", state.status.kafka.is_some(), text.as_deref());
        state.status.kafka = text;
    }

    /// The same of the database.
    pub fn database(&self, error: Option<&Error>) {
        let mut state = self.lock();
        told("database", state.status.database.is_some(), error.map(|error| error.text.as_str()));
        state.status.database = error.map(|error| error.text.clone());
    }

    /// Says what an operator should look at, or that this is over; in the log when it is new.
    pub fn notice(&self, about: &'static str, text: Option<String>) {
        let mut state = self.lock();
        match text {
            Some(text) => {
                if state.notices.get(about) != Some(&text) {
                    log::warning(format!("reconciler: {text}"));
                }
                state.notices.insert(about, text);
            }
            None => {
                state.notices.remove(about);
            }
        }
        state.status.notices = state.notices.values().cloned().collect();
    }

    pub fn pass(&self, pass: PassView) {
        self.lock().status.last_pass = Some(pass);
    }
}

fn told(what: &str, was: bool, now: Option<&str>) {
    match now {
        Some(text) if !was => log::warning(format!("reconciler: {text}; it is tried again")),
        None if was => log::notice(format!("reconciler: {what} can be worked with again")),
        _ => {}
    }
}

/// librdkafka's text without times and counts: the same reason is the same text.
pub(crate) fn steady(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" (after ") else { return text.to_owned() };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("{before}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_no_times() {
        assert_eq!(
            steady("describing: no answer (k:1: failed: refused (after 3ms in state CONNECT, 2 suppressed))"),
            "describing: no answer (k:1: failed: refused)"
        );
        assert_eq!(steady("plain"), "plain");
    }

    #[test]
    fn notices_are_there_until_they_are_over() {
        let shared = Shared::default();
        shared.notice("list", Some("a".into()));
        shared.notice("list", Some("b".into()));
        shared.notice("edges", Some("c".into()));
        assert_eq!(shared.lock().status.notices, ["c", "b"]);
        shared.notice("list", None);
        assert_eq!(shared.lock().status.notices, ["c"]);
    }
}

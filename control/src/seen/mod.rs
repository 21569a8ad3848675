//! What was seen of edges and consumers, in memory. All of it is seen again after a start.
//!
//! Those who look write it (`observe`), those who show read it. It knows neither, so that [`crate::app::App`] can hold it for both.

mod glances;
mod groups;
mod refusals;
mod volumes;

pub(crate) use glances::Glances;
pub(crate) use groups::{GroupSeen, GroupsSeen, Listing, Look, TopicSeen};
pub(crate) use refusals::{Refusal, Refusals, REFUSED_WITHIN};
pub use volumes::HistoryPoint;
pub(crate) use volumes::Volumes;

use crate::names::ClientId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What was seen of edges and consumers. Bounded by the number of clients and edges; see `volumes.rs` for most of it.
#[derive(Default)]
pub struct Seen {
    volumes: Mutex<Volumes>,
    groups: Mutex<HashMap<ClientId, Arc<GroupsSeen>>>,
    refusals: Mutex<Refusals>,
    /// Looks for pages that are open, by client; one at a time for each.
    looks: Mutex<HashMap<ClientId, Arc<tokio::sync::Mutex<Option<Look>>>>>,
    /// The names of all groups, as of when.
    pub(crate) listing: tokio::sync::Mutex<Option<(Instant, Arc<Listing>)>>,
    pub(crate) glances: Glances,
}

impl Seen {
    pub(crate) fn volumes(&self) -> MutexGuard<'_, Volumes> {
        held(&self.volumes)
    }

    pub(crate) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        held(&self.refusals)
    }

    pub(crate) fn groups_of(&self, id: &ClientId) -> Option<Arc<GroupsSeen>> {
        held(&self.groups).get(id).cloned()
    }

    pub(crate) fn set_groups(&self, id: ClientId, seen: Arc<GroupsSeen>) {
        held(&self.groups).insert(id, seen);
    }

    /// Forgets the groups of clients that are not to be kept.
    pub(crate) fn keep_groups(&self, mut is_kept: impl FnMut(&ClientId) -> bool) {
        held(&self.groups).retain(|id, _| is_kept(id));
    }

    pub(crate) fn look_of(&self, id: &ClientId) -> Arc<tokio::sync::Mutex<Option<Look>>> {
        Arc::clone(held(&self.looks).entry(id.clone()).or_default())
    }

    /// Forgets looks that nobody has asked for since `before`.
    pub(crate) fn forget_looks(&self, before: Instant) {
        held(&self.looks).retain(|_, look| {
            // One that is being made is kept.
            Arc::strong_count(look) > 1
                || look.try_lock().map_or(true, |look| look.as_ref().is_some_and(|look| look.at >= before))
        });
    }
}

/// What it guards is whole between any two statements.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

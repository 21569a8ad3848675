//! What was seen, in memory: those who look write it, those who show read it. All of it is seen again after a start.

use super::consumers::Look;
use super::groups::{GroupsSeen, Listing};
use super::history::Volumes;
use super::lines::Glances;
use super::refusals::Refusals;
use crate::names::ClientId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What was seen of edges and consumers. Bounded by the number of clients and edges; see [`super::history`] for most of it.
#[derive(Default)]
pub struct Seen {
    volumes: Mutex<Volumes>,
    groups: Mutex<HashMap<ClientId, Arc<GroupsSeen>>>,
    refusals: Mutex<Refusals>,
    /// Looks for pages that are open, by client; one at a time for each.
    looks: Mutex<HashMap<ClientId, Arc<tokio::sync::Mutex<Option<Look>>>>>,
    /// The names of all groups, as of when.
    pub(super) listing: tokio::sync::Mutex<Option<(Instant, Arc<Listing>)>>,
    pub(super) glances: Glances,
}

impl Seen {
    /// Whether a consumer of the client's was last seen that calls itself otherwise than its bundle does, while several credentials
    /// work: any of them may be the one that it uses, though it was not seen.
    pub fn has_strangers(&self, id: &ClientId) -> bool {
        self.groups_of(id).is_some_and(|seen| seen.has_strangers)
    }

    pub(super) fn volumes(&self) -> MutexGuard<'_, Volumes> {
        held(&self.volumes)
    }

    pub(super) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        held(&self.refusals)
    }

    pub(super) fn groups_of(&self, id: &ClientId) -> Option<Arc<GroupsSeen>> {
        held(&self.groups).get(id).cloned()
    }

    pub(super) fn set_groups(&self, id: ClientId, seen: Arc<GroupsSeen>) {
        held(&self.groups).insert(id, seen);
    }

    /// Forgets the groups of clients that are not to be kept.
    pub(super) fn keep_groups(&self, mut is_kept: impl FnMut(&ClientId) -> bool) {
        held(&self.groups).retain(|id, _| is_kept(id));
    }

    pub(super) fn look_of(&self, id: &ClientId) -> Arc<tokio::sync::Mutex<Option<Look>>> {
        Arc::clone(held(&self.looks).entry(id.clone()).or_default())
    }

    /// Forgets looks that nobody has asked for since `before`.
    pub(super) fn forget_looks(&self, before: Instant) {
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

//! Kafka's admin calls, as far as onboarding needs them. The files in this folder are the only ones here with unsafe code.
//!
//! A call about many things is made in requests of up to [`BATCH`] and answers for each thing apart, in the order they were given:
//! the outer error is that of the request (no broker, no time), the inner one the thing's own. Configurations are only ever changed
//! incrementally: what others have set stays.

mod acls;
mod cluster;
mod configs;
mod groups;
mod native;
mod offsets;
mod topics;

pub use acls::{Acl, AclFilter, Operation, Pattern, Permission, ResourceType};
pub use cluster::{Broker, Cluster};
pub use configs::{ConfigChange, ConfigEntry, ConfigOf, ConfigSource};
pub use groups::{GroupNames, Member};
pub use offsets::OffsetAt;
pub use topics::{Created, NewTopic, Topic, TopicId};

use super::{Connection, PATIENCE};
use crate::error::Result;
use native::{Ask, Client};
use rdkafka::bindings as ffi;
use std::time::Duration;

/// Most topics or ACLs in one request.
pub const BATCH: usize = 500;

/// A client for admin calls. It may be shared by threads.
pub struct Admin {
    client: Client,
    timeout: Duration,
}

impl Admin {
    /// A client that connects when it is first asked for something.
    ///
    /// # Errors
    /// `Invalid` for a property that librdkafka does not take.
    pub fn new(connection: &Connection) -> Result<Admin> {
        Ok(Admin { client: Client::new(&connection.config())?, timeout: PATIENCE })
    }

    /// How long one request may take from now on, instead of [`PATIENCE`].
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    fn ask(&self, api: ffi::rd_kafka_admin_op_t) -> Ask {
        Ask { api, timeout: self.timeout, rights: false }
    }
}

/// The things of `asked` once each, and for each of `asked` which one it is: a request must not name a thing twice.
fn distinct<'a, T: Eq + std::hash::Hash>(asked: impl IntoIterator<Item = &'a T>) -> (Vec<&'a T>, Vec<usize>) {
    let mut at = std::collections::HashMap::new();
    let mut once = Vec::new();
    let mut which = Vec::new();
    for thing in asked {
        let index = *at.entry(thing).or_insert_with(|| {
            once.push(thing);
            once.len() - 1
        });
        which.push(index);
    }
    (once, which)
}

/// The answers for what was asked for, doubles included.
fn spread<T: Clone>(answers: Vec<T>, which: Vec<usize>) -> Vec<T> {
    if which.len() == answers.len() {
        return answers;
    }
    which.into_iter().filter_map(|index| answers.get(index).cloned()).collect()
}

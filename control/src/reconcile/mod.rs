//! Brings Kafka to the store's state, and says of every client how far it is.
//!
//! ```text
//!  run: leads, or stands by
//!   └─ lead: control topics, the one writer of the list, and whether this is the database that Kafka knows (marker)
//!       └─ round, when woken, when something is due, and every few seconds
//!            ├─ work: a batch of clients with something to do, their steps in order, few calls for all of them
//!            │     topic ─► rights, quota ─► list ─► edges          list ─► rights ─► leaving
//!            ├─ edges: who has the list by now
//!            ├─ full_pass: compare ─► what differs is done again, what others did is told
//!            └─ housekeeping: credentials that end, old rows
//!      leader: what all of these share        task: a client's steps, and what came of them
//!      plan: what a full pass would do        crate::status: what it says of itself
//! ```
//!
//! # What it promises
//! - All it does can be done again: it may be killed between any two lines. What it is about to change is noted before, what it has
//!   changed after.
//! - It touches its own: topics under their recorded ids, settings that it set, rights of its clients and edges. What others did is
//!   told as a conflict or as strange, and stays. A topic that others made becomes a client's by an operator's word ([`take_over_topic`]).
//! - A topic is deleted if its client has left, its time is over, and the id is the recorded one.
//! - The list loses a client if that has left, or if this very database has never heard of it. A database that was restored takes
//!   over what the list has, and has those leave whom the list has lost; another one waits for an operator ([`accept`]).
//!
//! # Removals and edges that were away
//! Edges refuse a list that has lost a fifth at once, unless a marker says that it is right. Whoever leaves is asked for by somebody,
//! so each removal is followed by a `shrink` marker with the number of clients that remain: an edge that was away while clients left
//! one by one follows, and one with five clients can lose one. Within an hour that goes on for ten clients, or less than a fifth of
//! the list, but not for several that leave none; beyond that it may be a mistake, and edges for which the difference is that large
//! wait for [`accept_list`]. Until then no marker is written for later removals either: it would accept the large one, too. All of this
//! is in the audit log, where the next process to lead finds it.

mod compare;
mod edges;
mod full_pass;
mod housekeeping;
mod lead;
mod leader;
mod leaving;
mod list;
mod marker;
mod plan;
mod quota;
mod removals;
mod rights;
mod task;
mod topic;
mod work;

pub use list::accept_list;
pub use marker::accept;
pub use plan::{plan, Plan};
pub(crate) use topic::longest_kept_ms;
pub use topic::{can_take_over, take_over_topic};

pub use crate::status::{PassView, Role, Status};

use crate::app::App;
use crate::error::{Error, Result};
use std::time::Duration;
use tokio::sync::watch;

/// What the reconciler of this process says of itself.
///
/// Of several processes only the one that leads knows more than its role.
pub fn status(app: &App) -> Status {
    app.reconciler().status()
}

/// How often a process that stands by asks whether it leads.
const STANDBY: Duration = Duration::from_secs(3);

/// Why work ended before its end.
#[derive(Debug)]
enum Trouble {
    /// The database.
    Store(Error),
    /// Kafka, or the list's writer: both are to be opened again.
    Kafka(Error),
}

/// What work returns.
type Work<T> = std::result::Result<T, Trouble>;

// Calls of the store use `?`; those of Kafka say so.
impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Store(error)
    }
}

/// Reconciles until `stop` is true, if this process leads. What fails is said per client and tried again.
///
/// # Errors
/// What does not pass by itself.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) -> Result<()> {
    while !*stop.borrow() {
        match app.store().try_lead().await {
            Ok(true) => {
                app.reconciler().database(None);
                lead::lead(&app, &mut stop).await;
            }
            Ok(false) => {
                app.reconciler().database(None);
                app.reconciler().role(Role::Standby, None);
                pause(&mut stop, STANDBY).await;
            }
            Err(error) => {
                app.reconciler().database(Some(&error));
                pause(&mut stop, STANDBY).await;
            }
        }
    }
    app.reconciler().role(Role::Stopped, None);
    app.store().resign().await;
    Ok(())
}

/// Waits, but not beyond the end.
async fn pause(stop: &mut watch::Receiver<bool>, time: Duration) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

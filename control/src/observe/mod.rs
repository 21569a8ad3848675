//! What is seen of edges and consumers: acknowledgements, volumes, groups and how far they are, refusals, the last lines.
//!
//! ```text
//!   tel.acks ──► edges: what edges have and count ──► store        groups: who reads, every ten seconds ──► store: last use
//!                   │                                                 │
//!                   └──────────► volumes: the last hour ◄─────────────┘
//!   authorizer logs ──► logs ──► authorizer: what a line says ──► refusals
//!
//!   told to who asks:   consumers: all of that in one word        history: the volumes        lines: the last ones
//! ```
//!
//! Two threads and a task do the looking; what they have seen stands in [`Seen`]. A page costs Kafka no more than one look a second
//! for each client that somebody watches.

mod authorizer;
pub mod consumers;
mod edges;
mod groups;
pub mod history;
pub mod lines;
mod logs;
mod view;

pub use view::{GroupView, LineView, ReadingView, RefusalView, Verdict};

pub use crate::seen::{HistoryPoint, Seen};

use crate::app::App;
use crate::error::{Error, Result};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Watches until `stop` is true. Kafka may be away meanwhile; what fails is said in the log, and tried again.
///
/// # Errors
/// What does not pass by itself.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) -> Result<()> {
    let threads = [
        tokio::task::spawn_blocking({
            let (app, stop) = (app.clone(), stop.clone());
            move || edges::follow(&app, &stop)
        }),
        tokio::task::spawn_blocking({
            let (app, stop) = (app.clone(), stop.clone());
            move || logs::follow(&app, &stop)
        }),
    ];
    tokio::select! {
        () = groups::run(&app) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    for thread in threads {
        thread.await.map_err(|error| Error::unavailable(format!("watching edges and consumers: {error}")))?;
    }
    Ok(())
}

/// Whether it is to end.
fn is_over(stop: &watch::Receiver<bool>) -> bool {
    // Whoever could have said so is gone.
    *stop.borrow() || stop.has_changed().is_err()
}

/// Waits in a thread, and no longer once it is to end.
fn rest(time: Duration, stop: &watch::Receiver<bool>) {
    const STEP: Duration = Duration::from_millis(100);
    let until = Instant::now() + time;
    while !is_over(stop) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(STEP));
    }
}

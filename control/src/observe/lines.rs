//! The last lines of a client's topic.

use super::LineView;
use crate::app::App;
use crate::error::{Error, Result};
use crate::kafka::glance::{Bounds, Glance};
use crate::kafka::groups::extents;
use crate::kafka::Connection;
use crate::names::ClientId;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lines that are given at most.
pub const MOST_LINES: usize = 200;
/// Bytes of them.
const MOST_BYTES: usize = 1 << 20;
/// How long reading them may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Beyond that, for the requests before it.
const GRACE: Duration = Duration::from_secs(1);
/// Looks into topics at once; each has a consumer with a connection to every broker.
const AT_ONCE: usize = 4;

/// The last `count` lines at most, the oldest first; of lines so long that they are more than a megabyte together, fewer. Whoever shows
/// them to an operator has noted it in the audit log before.
///
/// # Errors
/// `NotFound`; `Unavailable`.
pub async fn last(app: &App, id: &ClientId, count: usize) -> Result<Vec<LineView>> {
    let client = app.store().client(id).await?;
    let topic = client.ok_or_else(|| Error::not_found(format!("client {id} is not known")))?.topic;
    let deadline = Instant::now() + PATIENCE;
    let pass = app.seen().glances.pass(deadline).await?;
    let bounds = Bounds { lines: count.min(MOST_LINES), bytes: MOST_BYTES, deadline };
    let inner = app.clone();
    let read = app.kafka(move |admin, connection| {
        let found = admin.describe_topics(std::slice::from_ref(&topic))?.into_iter().next();
        let found = found.unwrap_or_else(|| Err(Error::not_found(format!("topic {topic} is not there"))))?;
        let extents = extents(admin, &topic, found.partitions)?;
        let lines = inner.seen().glances.with(connection, |glance| glance.last(&topic, &extents, bounds));
        drop(pass);
        lines
    });
    // A thread that Kafka keeps waiting for longer has its pass until then.
    let lines = tokio::time::timeout_at((deadline + GRACE).into(), read).await;
    let lines = lines.map_err(|_| Error::unavailable("the last lines: Kafka does not answer in time"))??;
    Ok(lines
        .into_iter()
        .map(|line| LineView {
            at_ms: line.at_ms,
            partition: line.partition,
            offset: line.offset,
            text: String::from_utf8_lossy(&line.value).into_owned(),
        })
        .collect())
}

/// Consumers that look into topics: few, and used again.
pub(super) struct Glances {
    idle: Mutex<Vec<Glance>>,
    passes: Arc<Semaphore>,
}

impl Default for Glances {
    fn default() -> Glances {
        Glances { idle: Mutex::default(), passes: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Glances {
    /// Waits for its turn; to be kept as long as it is looked.
    ///
    /// # Errors
    /// `Unavailable` if too many look at once.
    pub async fn pass(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        let pass = Arc::clone(&self.passes).acquire_owned();
        match tokio::time::timeout_at(deadline.into(), pass).await {
            Ok(Ok(pass)) => Ok(pass),
            _ => Err(Error::unavailable("too many look at lines at once; try again")),
        }
    }

    /// Looks, in a thread that may wait.
    ///
    /// # Errors
    /// Those of `look`, and of starting a consumer.
    pub fn with<T>(&self, connection: &Connection, look: impl FnOnce(&Glance) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let glance = match idle {
            Some(glance) => glance,
            None => Glance::open(connection)?,
        };
        let seen = look(&glance);
        if seen.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(glance);
        }
        seen
    }
}

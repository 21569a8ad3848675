//! The last lines of a client's topic.

use super::LineView;
use crate::app::App;
use crate::error::{Error, Result};
use crate::kafka::glance::Bounds;
use crate::kafka::groups::extents;
use crate::names::ClientId;
use std::time::{Duration, Instant};

/// Lines that are given at most.
pub const MOST_LINES: usize = 200;
/// Bytes of them.
const MOST_BYTES: usize = 1 << 20;
/// How long reading them may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Beyond that, for the requests before it.
const GRACE: Duration = Duration::from_secs(1);

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

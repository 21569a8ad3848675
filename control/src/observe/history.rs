//! The last hour of a client's volume and lag, for its plots.

use crate::app::{now, App};
use crate::names::ClientId;
use crate::seen::HistoryPoint;

/// The points of about the last hour, the oldest first; none before the first acknowledgement since the start.
pub fn of_client(app: &App, id: &ClientId) -> Vec<HistoryPoint> {
    app.seen().volumes().points(id, now())
}

//! The last hour of a client's volume and lag, in memory.

use super::HistoryPoint;
use crate::app::App;
use crate::names::ClientId;

/// The points of about the last hour, the oldest first; none before the first acknowledgement since the start.
pub fn of_client(_app: &App, _id: &ClientId) -> Vec<HistoryPoint> {
    Vec::new()
}

//! The last lines of a client's topic.

use super::LineView;
use crate::app::App;
use crate::error::{Error, Result};
use crate::names::ClientId;

/// The last `count` lines at most, the oldest first. Whoever shows them to an operator has noted it in the audit log before.
///
/// # Errors
/// `NotFound`; `Unavailable`.
pub async fn last(_app: &App, id: &ClientId, _count: usize) -> Result<Vec<LineView>> {
    Err(Error::unavailable(format!("client {id}: its lines are not read yet")))
}

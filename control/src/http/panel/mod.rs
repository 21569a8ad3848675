//! The panel.

use crate::app::App;
use axum::Router;

/// The panel's pages.
pub fn router(_app: App) -> Router {
    Router::new()
}

//! The API.

use crate::app::App;
use axum::Router;

/// Everything below `/api/v1`, `/healthz` and `/metrics`.
pub fn router(_app: App) -> Router {
    Router::new()
}

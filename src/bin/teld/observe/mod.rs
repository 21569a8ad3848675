//! What teld shows of itself: one picture, as a table to `teld status`, and as metrics to Prometheus.

mod http;
mod listen;
mod metrics;
mod picture;
mod socket;
mod table;

pub use http::Http;
pub use picture::Observed;
pub use socket::StatusSocket;
pub use table::{status, Show};

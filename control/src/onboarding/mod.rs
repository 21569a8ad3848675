//! What can be asked for: the operations behind the API, the panel and the command line, each with its checks and its audit row.
//!
//! ```text
//!   clients: subscribe, unsubscribe, settings      credentials: issue, revoke      edges: add, certify, retire
//!   download: the zip                              view: what is told of all that
//! ```
//!
//! Nothing here waits for Kafka. What is wanted is written to the store, and the reconciler is woken.

pub mod clients;
pub mod credentials;
pub mod download;
pub mod edges;
mod view;

pub use view::{date_text, ClientView, CredentialView, EdgeView, EdgesView, LeavingView, StepView};

use std::time::Duration;

/// An edge that was not heard of for so long does not count.
pub const EDGE_HEARD_WITHIN: Duration = Duration::from_secs(30);

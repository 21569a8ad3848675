//! tel-control: a client subscribes, and seconds later consumes its own logs.
//!
//! ```text
//!  cli ──► http: api, panel ──► onboarding: what can be asked for ──► store: what is wanted, and how far it is
//!                                                                       │            ▲
//!   reconcile: brings Kafka to the store's state ◄──────────────────────┘            │
//!        ├──► kafka: topic, ACLs, quotas                                             │
//!        └──► kafka::list ──► every edge (teld's sync) ──► kafka::acks ──► observe: what edges and consumers do
//!
//!      ca: certificates        bundle: what a client downloads, ready to run
//!      app: what all of these share, with what was seen (seen) and what the reconciler says of itself (status)
//!      halt: where tests kill it
//! ```
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod app;
pub mod bundle;
pub mod ca;
pub mod cli;
pub mod config;
pub mod error;
mod halt;
pub mod http;
pub mod kafka;
pub mod log;
pub mod names;
pub mod observe;
pub mod onboarding;
pub mod reconcile;
mod seen;
mod status;
pub mod store;
pub mod whole;

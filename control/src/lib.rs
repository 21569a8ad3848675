//! tel-control: a client subscribes, and seconds later consumes its own logs.
//!
//! ```text
//!      store: who is a client, how far each is, which certificates it has, who asked for it
//!        │
//!        ├──► kafka: topic, ACLs, quotas
//!        ├──► ca: certificates
//!        └──► kafka::list ──► every edge (teld's sync) ──► kafka::acks: what each edge has, and its volume
//!
//!      bundle: what a client downloads, ready to run
//! ```
//!
//! These are the parts. What brings Kafka to the store's state, the API, the panel and the command line stand on them, and are not here yet.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bundle;
pub mod ca;
pub mod config;
pub mod error;
pub mod kafka;
pub mod names;
pub mod store;

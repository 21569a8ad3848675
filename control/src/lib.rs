//! tel-control: a client subscribes, and seconds later consumes its own logs.
//!
//! ```text
//!  panel, API, command line
//!        │  what is wanted, and who asked for it
//!        ▼
//!      store ──────► reconcile ──► kafka: topic, ACLs, quotas
//!   (SQLite or          │          ca: certificates
//!    PostgreSQL)        └────────► kafka::list ──► every edge (teld sync) ──► kafka::acks
//!                                                                              │
//!        bundle ◄── what the client downloads           what edges have ◄──────┘
//! ```
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bundle;
pub mod ca;
pub mod config;
pub mod error;
pub mod kafka;
pub mod names;
pub mod store;

//! tel delivers each client's access-log lines to its own Kafka topic, from inside the process that writes them.
//!
//! # The way of a line
//! ```text
//!  host's threads                                        tel-worker                           librdkafka's threads
//!
//!  tel_submit ──▶ ffi ──▶ front ─────▶ queue ══▶ worker ──▶ split ──▶ route ──▶ batch ══▶ sink::kafka ──▶ brokers
//!                                     bounded,   drains     first     client    one         hands over,      │
//!                                     lock-free  it, polls  space     list      client's    counts reports ◀─┘
//!                                        │                                      lines         │
//!                                        └──────────────▶ stats: every line is accounted for ◀┘
//! ```
//! - [`front`]: what a host's threads look at with every call, in one page; [`wanted`], whose lines are wanted, is there.
//! - [`queue`]: copies a line in without waiting for anything, and keeps each thread's order.
//! - [`worker`]: one thread per producer; the only one that routes, batches, sends and counts.
//! - [`split`], [`route`], [`clients`]: whose line it is, by the client list, which is swapped whole.
//! - [`batch`], [`pool`]: one client's lines in one piece of bounded memory, until they are acknowledged.
//! - [`sink`]: where batches go. [`sink::kafka`] is the only place that knows librdkafka.
//! - [`watch`]: where the client list comes from. [`config`], [`stats`], [`log`](mod@log), [`error`], [`process`]: leaves.
//!
//! Dependencies point along the arrows. C programs use `include/tel.h`, which is made from [`ffi`]; Rust programs use
//! [`Producer`], as `teld` does.

#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod batch;
mod clients;
mod config;
mod error;
#[allow(unsafe_code)] // the C boundary
pub mod ffi;
#[allow(unsafe_code)] // a line by pointer and length, as ffi has it
mod front;
mod log;
#[allow(unsafe_code)] // chunks of a region
mod pool;
#[allow(unsafe_code)] // fork guard, signal mask, exit handler
mod process;
#[allow(unsafe_code)] // ManuallyDrop, for forked children
mod producer;
#[allow(unsafe_code)] // the cells and the claims on them
mod queue;
#[allow(unsafe_code)] // mmap, madvise
mod region;
mod route;
#[allow(unsafe_code)] // librdkafka: kafka/engine.rs
mod sink;
mod split;
mod stats;
#[allow(unsafe_code)] // slots by pointer and number
mod wanted;
mod watch;
mod worker;

pub use clients::{Client, ClientList, ClientTable};
pub use config::Config;
pub use error::{tel_error, Error, Result};
pub use log::{Level, Log, LogFunction};
pub use producer::{check_config, Producer};
pub use sink::embedded::{EmbeddedBroker, Reader};
pub use stats::{tel_stats, ClientStats};

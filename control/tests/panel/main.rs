//! The panel: its forms and sessions asked in-process, and its pages in a real Chromium.
//!
//! In most of these tests Kafka is away, and what the reconciler and the edges would have done is written to the store. In `real` all
//! of it is there.

#[path = "../kafka/broker.rs"]
mod broker;
mod browser;
mod forms;
mod launch;
mod pages;
mod real;
mod sessions;
mod site;
mod stage;

use std::future::Future;
use tel_control::names::ClientId;

/// Runs a test. Calls to Kafka that nobody waits for any more do not hold it up at its end.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
    runtime.shutdown_background();
}

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

//! The panel: its forms and sessions asked in-process, and its pages in a real Chromium.
//!
//! Kafka is away in these tests; what the reconciler and the edges would have done is written to the store.

mod browser;
mod forms;
mod launch;
mod pages;
mod sessions;
mod site;
mod stage;

use tel_control::names::ClientId;

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

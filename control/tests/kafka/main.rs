//! Onboarding's side of Kafka, against a real one.

mod broker;
mod doctor;
mod list;
mod rights;
mod topics;

use std::time::{Duration, Instant};
use tel_control::names::{ClientId, Namespace};

/// Brokers hear of a change a moment after the controller has made it. `is_done` asks a broker.
fn eventually(what: &str, mut is_done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_done() {
        assert!(Instant::now() < deadline, "never: {what}");
    }
}

fn namespace() -> Namespace {
    Namespace::new("logs.").expect("a namespace")
}

fn id(text: &str) -> ClientId {
    ClientId::new(text).expect("an id")
}

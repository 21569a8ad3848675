//! Onboarding's side of Kafka, against a real one.

mod broker;
mod doctor;
mod list;
mod rights;
mod topics;

use tel_control::names::{ClientId, Namespace};

fn namespace() -> Namespace {
    Namespace::new("logs.").expect("a namespace")
}

fn id(text: &str) -> ClientId {
    ClientId::new(text).expect("an id")
}

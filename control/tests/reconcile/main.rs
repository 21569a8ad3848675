//! The reconciler against a real Kafka with mutual TLS and ACLs.

#[path = "../kafka/broker.rs"]
mod broker;
mod conflicts;
#[allow(dead_code)]
#[path = "../store/database.rs"]
mod database;
mod interrupted;
mod killed;
mod lifecycle;
mod recovery;
mod scale;
mod served;
mod system;
mod trouble;

use tel_control::names::{ClientId, EdgeName};
use tel_control::store::Actor;

fn id(text: &str) -> ClientId {
    ClientId::new(text).expect("an id")
}

fn edge(text: &str) -> EdgeName {
    EdgeName::new(text).expect("a name")
}

fn operator() -> Actor {
    Actor::operator("test")
}

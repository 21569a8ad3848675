//! The product's own source files, compiled alone.

#[cfg(loom)]
pub mod atomics;
#[path = "../../../src/queue/mod.rs"]
pub mod queue;

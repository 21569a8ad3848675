//! The atomics of the queue: the standard ones, or loom's (by way of `tests/models`) when the model is checked.

#[cfg(loom)]
pub use crate::atomics::{AtomicU32, AtomicU64, Ordering};
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

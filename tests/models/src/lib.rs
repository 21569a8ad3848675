//! The product's own source files, compiled alone.

#[cfg(loom)]
pub mod atomics;
#[cfg(not(loom))]
#[path = "../../../src/ffi/boundary.rs"]
pub mod boundary;
#[cfg(not(loom))]
#[path = "../../../src/error.rs"]
pub mod error;
#[cfg(not(loom))]
#[path = "../../../src/log.rs"]
pub mod log;
#[cfg(not(loom))]
#[path = "../../../src/pool.rs"]
pub mod pool;
#[path = "../../../src/queue/mod.rs"]
pub mod queue;
#[cfg(not(loom))]
#[path = "../../../src/region.rs"]
pub mod region;
#[cfg(not(loom))]
#[path = "../../../src/split.rs"]
pub mod split;
#[cfg(not(loom))]
#[path = "../../../src/wanted.rs"]
pub mod wanted;

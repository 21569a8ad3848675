//! The manners of a service: signals, what systemd is told, and where messages go.

pub mod journal;
pub mod notify;
pub mod signals;

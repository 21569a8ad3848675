//! The API: in-process where the answer counts, over TLS and the command line's socket where the server does.

mod access;
mod app;
mod clients;
mod credentials;
mod document;
mod hostile;
mod idempotency;
mod server;
mod watching;

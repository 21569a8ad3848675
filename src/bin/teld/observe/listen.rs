//! Connections taken one after the other, until it is to stop.

use crate::wait::Stop;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use tel::{Level, Log};

/// Answers whoever connects to `listener`, which does not block. `name` says in the log whose connections they are; after
/// one that could not be accepted there is a rest of `patience`.
pub fn serve<C>(
    name: &'static str,
    listener: BorrowedFd<'_>,
    patience: Duration,
    accept: impl Fn() -> io::Result<C>,
    answer: impl Fn(C) -> io::Result<()>,
    stop: &Stop,
    log: &Log,
) {
    while !stop.is_asked() {
        match accept() {
            Ok(connection) => {
                // One that goes away too early has only itself to blame.
                let _ = answer(connection);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Err(error) = stop.wait(&[listener], None) {
                    log.say(Level::Error, name, format_args!("{name}: cannot wait for connections: {error}"));
                    return;
                }
            }
            Err(error) => {
                log.say(Level::Warning, name, format_args!("{name}: cannot accept a connection: {error}"));
                stop.sleep(patience);
            }
        }
    }
}

//! What systemd is told (sd_notify(3)): that tel-control is ready, and that it stops.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// It serves: `status` says where.
pub fn ready(status: &str) {
    tell(&format!("READY=1\nSTATUS={status}"));
}

/// It is about to end.
pub fn stopping() {
    tell("STOPPING=1");
}

fn tell(what: &str) {
    let address = std::env::var("NOTIFY_SOCKET").ok().and_then(|name| match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).ok(),
        None => SocketAddr::from_pathname(name).ok(),
    });
    if let (Some(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        // A manager that does not listen finds out by itself.
        let _ = socket.send_to_addr(what.as_bytes(), &address);
    }
}

//! The socket that `teld status` asks: whoever connects gets one picture as JSON.

use super::listen;
use super::picture::{Observed, Picture};
use crate::socket_file;
use crate::wait::Stop;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tel::Log;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The listening side. Its file goes with it.
pub struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    /// Makes it, in place of one that an earlier teld left behind.
    ///
    /// # Errors
    /// Another teld answers there, the path is taken, or those of bind(2).
    pub fn bind(path: &Path) -> io::Result<StatusSocket> {
        socket_file::make_way(path)?;
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        // Names and volumes of clients are for the operators.
        fs::set_permissions(path, Permissions::from_mode(0o660))?;
        Ok(StatusSocket { listener, path: path.to_path_buf() })
    }

    /// Answers until it is to stop.
    pub fn serve(&self, observed: &Observed, stop: &Stop, log: &Log) {
        let accept = || self.listener.accept().map(|(connection, _)| connection);
        let answer = |connection| answer(connection, observed);
        listen::serve("status", self.listener.as_fd(), PATIENCE, accept, answer, stop, log);
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn answer(mut connection: UnixStream, observed: &Observed) -> io::Result<()> {
    connection.set_nonblocking(false)?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let picture = observed.picture().map_err(io::Error::other)?;
    connection.write_all(&serde_json::to_vec(&picture)?)
}

/// A picture of the teld that answers at `path`.
///
/// # Errors
/// Nobody answers there, or not as teld does.
pub fn ask(path: &Path) -> io::Result<Picture> {
    let mut connection = UnixStream::connect(path)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut text = Vec::new();
    connection.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

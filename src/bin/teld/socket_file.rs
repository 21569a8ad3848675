//! The file of a Unix socket: made in place of one that an earlier process has left behind, and of no other.

use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

/// Makes the folder of `path` if it is missing, and removes a socket there that nobody answers.
///
/// # Errors
/// Somebody answers, something else is there, or those of the system.
pub fn make_way(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(about) if !about.file_type().is_socket() => return Err(io::Error::other("is there, and no socket")),
        Ok(_) => {}
    }
    let is_answered = match UnixStream::connect(path) {
        Err(error) if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) => {
            UnixDatagram::unbound()?.connect(path).is_ok()
        }
        other => other.is_ok(),
    };
    if is_answered {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there"));
    }
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_a_socket_that_nobody_answers_is_removed() {
        let folder = std::env::temp_dir().join(format!("teld-socket-{}", std::process::id()));
        let path = folder.join("a/b.sock");
        make_way(&path).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(make_way(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        make_way(&path).unwrap();
        let socket = UnixDatagram::bind(&path).unwrap();
        assert_eq!(make_way(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        make_way(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(make_way(&path).unwrap_err().to_string().contains("no socket"));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_dir_all(folder).unwrap();
    }
}

//! A place in the file system that an input makes: a FIFO or a socket, with its mode and owner.

use rustix::fs::{Gid, Uid};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub mode: u32,
    pub user: Option<u32>,
    pub group: Option<u32>,
}

impl Place {
    /// Makes the folder that the place is in, if it is missing.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn make_folder(&self) -> io::Result<()> {
        match self.path.parent() {
            Some(folder) => fs::create_dir_all(folder),
            None => Ok(()),
        }
    }

    /// Gives what was just made its mode and owner: the process's umask does not matter.
    ///
    /// # Errors
    /// Those of chmod(2) and chown(2).
    pub fn hand_out(&self) -> io::Result<()> {
        if self.user.is_some() || self.group.is_some() {
            let (user, group) = (self.user.map(Uid::from_raw), self.group.map(Gid::from_raw));
            rustix::fs::chown(&self.path, user, group)?;
        }
        fs::set_permissions(&self.path, Permissions::from_mode(self.mode))
    }
}

/// What a path leads to, told apart from whatever may take its place: device and number.
pub fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|about| (about.dev(), about.ino()))
}

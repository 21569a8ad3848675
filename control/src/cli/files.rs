//! Files that the command line writes: whole or not at all, and never over another.

use crate::error::{Error, Result};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder for its owner alone, if it is not there.
///
/// # Errors
/// `Unavailable`.
pub fn make_folder(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Error::unavailable(format!("{}: {error}", folder.display())))
}

/// So that nothing is asked for that cannot be kept.
///
/// # Errors
/// `Conflict` if there is a file of this name.
pub fn must_be_new(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(Error::conflict(format!("{} is there already, and stays; choose another place", path.display()))),
        Err(_) => Ok(()),
    }
}

/// Writes a new file.
///
/// # Errors
/// `Conflict` if there is one of this name; `Unavailable`.
pub fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    must_be_new(path)?;
    let failed = |error: std::io::Error| Error::unavailable(format!("{}: {error}", path.display()));
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    // Left over from an attempt that was interrupted.
    let _ = fs::remove_file(part);
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(part).and_then(|mut file: File| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    // A link, unlike a renaming, never takes another file's place.
    let linked = written.and_then(|()| fs::hard_link(part, path));
    let _ = fs::remove_file(part);
    linked.map_err(failed)
}

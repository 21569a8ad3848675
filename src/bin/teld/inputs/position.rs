//! How far a followed file was read, kept over the end of the process.

use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// So much of a file's beginning tells it from another that has got its number.
const BEGINNING: usize = 256;

/// A place in a file, and which file it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    device: u64,
    number: u64,
    /// The file's first bytes, or as many as there were.
    beginning: Vec<u8>,
    /// Bytes before it were submitted.
    pub offset: u64,
}

impl Position {
    /// The place `offset` of an open file.
    pub fn of(file: &File, about: &Metadata, offset: u64) -> Position {
        let mut beginning = vec![0; BEGINNING.min(offset as usize)];
        let read = file.read_at(&mut beginning, 0).unwrap_or(0);
        beginning.truncate(read);
        Position { device: about.dev(), number: about.ino(), beginning, offset }
    }

    /// The file at `path`, if it is the one of this position and reaches as far.
    pub fn open_same(&self, path: &Path) -> Option<File> {
        let about = std::fs::metadata(path).ok()?;
        if !about.is_file() || (about.dev(), about.ino()) != (self.device, self.number) || about.len() < self.offset {
            return None;
        }
        let file = File::open(path).ok()?;
        let mut beginning = vec![0; self.beginning.len()];
        file.read_exact_at(&mut beginning, 0).ok()?;
        (beginning == self.beginning).then_some(file)
    }
}

/// How far an input has read, and how much of that is kept on disk: no line behind what is kept is skipped by the next
/// process, and lines between the two come again.
#[derive(Debug)]
pub struct Progress {
    path: PathBuf,
    read: Mutex<Option<Position>>,
    kept: Mutex<Option<Position>>,
}

impl Progress {
    /// What an earlier process has kept at `path`, if anything.
    ///
    /// # Errors
    /// Those of reading it, and of what is in it.
    pub fn load(path: PathBuf) -> io::Result<Progress> {
        let named = |error: String| io::Error::other(format!("{}: {error}", path.display()));
        let kept = match std::fs::read(&path) {
            Ok(text) => Some(serde_json::from_slice(&text).map_err(|error| named(format!("no position: {error}")))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(named(error.to_string())),
        };
        Ok(Progress { path, read: Mutex::new(kept.clone()), kept: Mutex::new(kept) })
    }

    /// Up to where lines were submitted.
    pub fn get(&self) -> Option<Position> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lines up to here were submitted.
    pub fn set(&self, position: Position) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(position);
    }

    /// Up to where lines were submitted, if that is not kept.
    pub fn unkept(&self) -> Option<Position> {
        let read = self.get();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        read.filter(|read| kept.as_ref() != Some(read))
    }

    /// Keeps `position`, up to which every line has come to its end. Atomically: a crash leaves the one before.
    ///
    /// # Errors
    /// Those of writing it, with the path.
    pub fn keep(&self, position: Position) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref() == Some(&position) {
            return Ok(());
        }
        let written = self.write(&position);
        if written.is_ok() {
            *kept = Some(position);
        }
        written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))
    }

    fn write(&self, position: &Position) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
        file.write_all(serde_json::to_string(position)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("teld-position-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn at(path: &Path, offset: u64) -> Position {
        let file = File::open(path).unwrap();
        Position::of(&file, &file.metadata().unwrap(), offset)
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let folder = folder("kept");
        let (log, kept) = (folder.join("a.log"), folder.join("state/a.position"));
        std::fs::write(&log, "one\ntwo\n").unwrap();
        let progress = Progress::load(kept.clone()).unwrap();
        assert_eq!(progress.get(), None);
        progress.keep(at(&log, 4)).unwrap();
        let again = Progress::load(kept.clone()).unwrap().get().unwrap();
        assert_eq!((again.offset, again.open_same(&log).is_some()), (4, true));
        std::fs::write(&kept, "{").unwrap();
        assert!(Progress::load(kept).unwrap_err().to_string().contains("a.position"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn another_file_is_not_taken_for_the_same() {
        let folder = folder("same");
        let log = folder.join("a.log");
        std::fs::write(&log, "one\ntwo\n").unwrap();
        let position = at(&log, 4);
        // Renamed, it is the same; with another beginning or shorter, it is not, though it has the same number.
        let renamed = folder.join("a.log.1");
        std::fs::rename(&log, &renamed).unwrap();
        assert!(position.open_same(&renamed).is_some() && position.open_same(&log).is_none());
        std::fs::write(&renamed, "on").unwrap();
        assert!(position.open_same(&renamed).is_none());
        std::fs::write(&renamed, "uno\ndos\n").unwrap();
        assert!(position.open_same(&renamed).is_none());
        std::fs::remove_dir_all(folder).unwrap();
    }
}

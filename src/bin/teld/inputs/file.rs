//! A file, read once, or followed over rotation and truncation.

use super::feed::{add, Feed, Stream};
use super::pace;
use super::position::{Position, Progress};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tel::Level;

/// How often a file that does not grow is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A file that was renamed may still be written to by those who have not opened the new one yet: it is read until it has
/// not grown for so long.
const LEFT: Duration = Duration::from_secs(2);

/// Reads the file from its beginning to its end.
///
/// # Errors
/// Those of opening and reading it.
pub fn once(path: &Path, feed: &Feed) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut block = pace::block();
    let mut stream = feed.stream();
    while !feed.stop().is_asked() {
        match file.read(&mut block) {
            Ok(0) => {
                stream.end();
                return Ok(());
            }
            Ok(count) => stream.block(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Follows whatever the path leads to, from where `progress` says, until the input is to stop.
///
/// # Errors
/// Those of reading. A file that is missing is waited for.
pub fn follow(path: &Path, from_end: bool, progress: &Progress, feed: &Feed) -> io::Result<()> {
    let mut block = pace::block();
    let mut next = first(path, from_end, progress, feed)?;
    while !feed.stop().is_asked() {
        let Some((file, offset)) = next.take() else {
            match File::open(path) {
                Ok(file) => next = Some((file, 0)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    feed.counters.set_trouble(format!("{}: {error}", path.display()));
                    feed.stop().sleep(LOOK);
                }
                Err(error) => return Err(error),
            }
            continue;
        };
        feed.counters.set_trouble("");
        let mut followed = Followed { file, offset, stream: feed.stream(), progress };
        followed.read_on(path, &mut block, feed)?;
        if !feed.stop().is_asked() {
            followed.stream.end();
            add(&feed.counters.restarts, 1);
        }
    }
    Ok(())
}

/// Where to begin: with the file that was read when teld last ended, even if it has another name by now.
fn first(path: &Path, from_end: bool, progress: &Progress, feed: &Feed) -> io::Result<Option<(File, u64)>> {
    let saved = progress.get();
    let Some(saved) = saved else {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let offset = if from_end { file.metadata()?.len() } else { 0 };
        return Ok(Some((file, offset)));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for candidate in std::iter::once(path.to_path_buf()).chain(beside) {
        if let Some(file) = saved.open_same(&candidate) {
            return Ok(Some((file, saved.offset)));
        }
    }
    feed.say(
        Level::Warning,
        "position",
        format_args!("{}: the file that was read before is gone: this one is read from its beginning", path.display()),
    );
    Ok(None)
}

/// The file that is read now.
struct Followed<'a> {
    file: File,
    offset: u64,
    stream: Stream,
    progress: &'a Progress,
}

impl Followed<'_> {
    /// Reads until the path leads elsewhere and nothing more comes, or the input is to stop.
    fn read_on(&mut self, path: &Path, block: &mut [u8], feed: &Feed) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.offset))?;
        let mut grown = Instant::now();
        while !feed.stop().is_asked() {
            match self.file.read(block) {
                Ok(0) => {
                    let about = self.file.metadata()?;
                    if about.len() < self.offset {
                        feed.say(
                            Level::Notice,
                            "truncated",
                            format_args!("{}: has become shorter: read from its beginning", path.display()),
                        );
                        self.stream.end();
                        self.offset = 0;
                        self.file.seek(SeekFrom::Start(0))?;
                        self.note(&about);
                        continue;
                    }
                    let is_left =
                        fs::metadata(path).map_or(true, |now| (now.dev(), now.ino()) != (about.dev(), about.ino()));
                    if is_left && grown.elapsed() >= LEFT {
                        return Ok(());
                    }
                    feed.stop().sleep(LOOK);
                }
                Ok(count) => {
                    self.stream.block(&block[..count]);
                    self.offset += count as u64;
                    grown = Instant::now();
                    let about = self.file.metadata()?;
                    self.note(&about);
                    if count < block.len() / 4 {
                        feed.stop().sleep(pace::PAUSE);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whole lines up to here were submitted.
    fn note(&self, about: &fs::Metadata) {
        self.progress.set(Position::of(&self.file, about, self.offset - self.stream.held() as u64));
    }
}

/// Where an input's position is kept if its configuration does not say.
pub fn position_path(name: &str) -> PathBuf {
    let folder = std::env::var_os("STATE_DIRECTORY").map_or_else(|| PathBuf::from("/var/lib/teld"), PathBuf::from);
    folder.join(format!("{name}.position"))
}

//! Follows the brokers' authorizer logs: files that others write, rotate, cut short and may fill with anything.
//!
//! They are read from their ends as of the start. Brokers' clocks and zones are not known: a line is from when it was read. Nothing is
//! believed at once, since a line may turn out to be part of another one (see `authorizer.rs`); it is after the next look.

use super::authorizer::{read, Word};
use super::{is_over, rest};
use crate::app::{now, App};
use crate::log;
use crate::seen::{Refusal, REFUSED_WITHIN};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes read of a file at one look.
const MOST_BYTES: usize = 2 << 20;
/// A file that is further ahead than this is read on from its end: what is seen late helps nobody.
const MOST_BEHIND: u64 = 32 << 20;
/// A line that is longer is none of Kafka's about a client of ours; its rest is passed over.
const LONGEST_LINE: usize = 16 << 10;

/// Follows until `stop` is true.
pub(super) fn follow(app: &App, stop: &watch::Receiver<bool>) {
    let mut files: Vec<Followed> = app.config().authorizer_logs.iter().map(|path| Followed::new(path)).collect();
    while !files.is_empty() && !is_over(stop) {
        let words = files.iter_mut().flat_map(Followed::look);
        let refusals = words.filter_map(|word| match word {
            Word::Denied(refusal) => Some(*refusal),
            Word::Other | Word::Forged => None,
        });
        let refusals = refusals.collect();
        note(app, &files, refusals);
        rest(LOOK, stop);
    }
}

fn note(app: &App, files: &[Followed], refusals: Vec<Refusal>) {
    let within = i64::try_from(REFUSED_WITHIN.as_millis()).unwrap_or(i64::MAX);
    let is_news = !refusals.is_empty();
    let mut seen = app.seen().refusals();
    seen.is_seeing = files.iter().any(|file| file.open.is_some());
    seen.note(refusals, now().saturating_sub(within));
    drop(seen);
    if is_news {
        app.announce();
    }
}

/// A file that is followed by its name.
struct Followed {
    path: PathBuf,
    open: Option<Open>,
    /// Words of the look before, to be believed if nothing speaks against it.
    pending: Vec<Word>,
    /// It was open, or not there: a file that appears is read from its beginning.
    is_late: bool,
    /// Why it cannot be read, so that it is said once.
    said: String,
}

struct Open {
    file: File,
    inode: (u64, u64),
    at: u64,
    /// The beginning of a line that is not finished.
    line: Vec<u8>,
    /// The rest of the line is passed over.
    is_passing: bool,
}

impl Followed {
    fn new(path: &Path) -> Followed {
        Followed { path: path.to_owned(), open: None, pending: Vec::new(), is_late: false, said: String::new() }
    }

    /// What can be believed by now.
    fn look(&mut self) -> Vec<Word> {
        let mut words = Vec::new();
        let read = self.read(&mut words);
        // One that is there and cannot be read yet has old lines in it.
        self.is_late |= read.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::NotFound);
        match read {
            Ok(()) if !self.said.is_empty() => {
                log::notice(format_args!("authorizer_logs: {}: is read again", self.path.display()));
                self.said.clear();
            }
            Ok(()) => {}
            Err(error) => {
                self.open = None;
                let error = error.to_string();
                if error != self.said {
                    log::warning(format_args!("authorizer_logs: {}: {error}", self.path.display()));
                    self.said = error;
                }
            }
        }
        if words.contains(&Word::Forged) {
            self.pending.clear();
            return Vec::new();
        }
        words.retain(|word| *word != Word::Other);
        std::mem::replace(&mut self.pending, words)
    }

    fn read(&mut self, words: &mut Vec<Word>) -> io::Result<()> {
        let mut left = MOST_BYTES;
        if let Some(open) = &mut self.open {
            open.read(words, &mut left)?;
            let found = match std::fs::metadata(&self.path) {
                Ok(found) => found,
                // Moved away, and the new one is not there yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            if (found.dev(), found.ino()) == open.inode {
                if found.len() < open.at {
                    // Cut short: it begins anew.
                    open.begin(0)?;
                } else if found.len() - open.at > MOST_BEHIND {
                    open.begin(found.len())?;
                }
                return Ok(());
            }
            // The old one is read to its end first.
            if left == 0 {
                return Ok(());
            }
            self.open = None;
        }
        let file = File::open(&self.path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("is not a file"));
        }
        let mut open = Open { file, inode: (found.dev(), found.ino()), at: 0, line: Vec::new(), is_passing: false };
        open.begin(if self.is_late { 0 } else { found.len() })?;
        open.read(words, &mut left)?;
        self.open = Some(open);
        Ok(())
    }
}

impl Open {
    fn begin(&mut self, at: u64) -> io::Result<()> {
        self.at = self.file.seek(SeekFrom::Start(at))?;
        self.line.clear();
        // In the middle of a file it may be the middle of a line.
        self.is_passing = at > 0;
        if at > 0 {
            let mut last = [0];
            self.file.seek(SeekFrom::Start(at - 1))?;
            self.file.read_exact(&mut last)?;
            self.is_passing = last != *b"\n";
        }
        Ok(())
    }

    /// Reads what there is, `left` bytes at most.
    fn read(&mut self, words: &mut Vec<Word>, left: &mut usize) -> io::Result<()> {
        let mut buffer = [0; 64 << 10];
        let at = now();
        while *left > 0 {
            let room = buffer.len().min(*left);
            let count = match self.file.read(&mut buffer[..room]) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.at += count as u64;
            *left -= count;
            for part in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
                self.take(part, at, words);
            }
        }
        Ok(())
    }

    fn take(&mut self, part: &[u8], at: i64, words: &mut Vec<Word>) {
        let is_end = part.ends_with(b"\n");
        if !self.is_passing {
            self.line.extend_from_slice(part);
            if self.line.len() > LONGEST_LINE {
                // What stands in it may be anybody's.
                words.push(Word::Forged);
                self.line.clear();
                self.is_passing = true;
            } else if is_end {
                let line = self.line.trim_ascii_end();
                let word = read(line, at);
                if word != Word::Other {
                    words.push(word);
                }
                self.line.clear();
            }
        }
        if is_end {
            self.is_passing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn denied(id: &str, name: &str) -> String {
        format!(
            "INFO Principal = User:CN={id}:1 is Denied operation = DESCRIBE from host = 127.0.0.1 on resource = Group:LITERAL:{name} for \
             request = FindCoordinator with resourceRefCount = 1 based on rule DefaultDeny\n"
        )
    }

    struct Bench {
        folder: PathBuf,
        path: PathBuf,
        file: Followed,
    }

    impl Bench {
        fn new(name: &str) -> Bench {
            let folder = std::env::temp_dir().join(format!("tel-logs-{}-{name}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            let path = folder.join("authorizer.log");
            let file = Followed::new(&path);
            Bench { folder, path, file }
        }

        fn write(&self, text: &str) {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// The clients and groups of what is believed after two looks.
        fn seen(&mut self) -> Vec<String> {
            let words = [self.file.look(), self.file.look()].concat();
            words
                .into_iter()
                .map(|word| match word {
                    Word::Denied(refusal) => format!("{} {}", refusal.id, refusal.name),
                    other => panic!("{other:?}"),
                })
                .collect()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn what_is_written_from_now_on_is_read_through_rotation_and_cutting() {
        let mut bench = Bench::new("rotation");
        bench.write(&denied("old", "x"));
        assert!(bench.seen().is_empty());
        bench.write(&denied("c83", "a"));
        let line = denied("c83", "b");
        let (half, rest) = line.split_at(40);
        bench.write(half);
        assert_eq!(bench.seen(), ["c83 a"]);
        bench.write(rest);
        fs::rename(&bench.path, bench.folder.join("authorizer.log.1")).unwrap();
        assert_eq!(bench.seen(), ["c83 b"]);
        bench.write(&denied("c83", "c"));
        assert_eq!(bench.seen(), ["c83 c"]);
        fs::write(&bench.path, "").unwrap();
        assert!(bench.seen().is_empty());
        bench.write(&denied("c83", "d"));
        assert_eq!(bench.seen(), ["c83 d"]);
        assert!(bench.file.said.is_empty());
    }

    #[test]
    fn a_file_that_appears_is_read_from_its_beginning_and_one_that_is_none_is_said() {
        let mut bench = Bench::new("appears");
        assert!(bench.seen().is_empty() && !bench.file.said.is_empty());
        bench.write(&denied("c83", "a"));
        assert_eq!(bench.seen(), ["c83 a"]);
        assert!(bench.file.said.is_empty());
        fs::remove_file(&bench.path).unwrap();
        fs::create_dir(&bench.path).unwrap();
        assert!(bench.seen().is_empty() && bench.file.said.contains("not a file"));
    }

    #[test]
    fn a_forged_line_is_not_believed_nor_what_is_around_it() {
        let mut bench = Bench::new("forged");
        bench.write("");
        bench.seen();
        let forged = denied("c8", &format!("x\n{}", denied("c83", "forged")));
        // However it is written: at once, or broken up between two looks.
        for cut in [forged.len(), forged.len() - 30, forged.find("c83").unwrap() + 170] {
            bench.write(&forged[..cut]);
            let mut seen = bench.file.look();
            bench.write(&forged[cut..]);
            seen.extend(bench.file.look());
            seen.extend(bench.file.look());
            assert!(seen.is_empty(), "{cut}: {seen:?}");
        }
        bench.write(&denied("c83", "real"));
        assert_eq!(bench.seen(), ["c83 real"]);
    }

    #[test]
    fn noise_is_passed_over_in_bounded_memory() {
        let mut bench = Bench::new("noise");
        bench.write("");
        bench.seen();
        bench.write(&"\u{0}\u{ff}x".repeat(1 << 20));
        assert!(bench.seen().is_empty());
        assert!(bench.file.open.as_ref().unwrap().line.len() <= LONGEST_LINE);
        bench.write("\n");
        while !bench.file.look().is_empty() || bench.file.open.as_ref().unwrap().is_passing {}
        bench.write(&denied("c83", "a"));
        assert_eq!(bench.seen(), ["c83 a"]);
    }
}

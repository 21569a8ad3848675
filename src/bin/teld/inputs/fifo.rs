//! A FIFO that writers may come to and go from.
//!
//! teld holds no writing end of its own: so the end of the last writer is seen, and a line that it left unfinished is
//! not joined to the next writer's first. Writers that write at the same time must write whole lines of at most
//! PIPE_BUF bytes (4,096) at once, as nginx does: only such writes are not mixed (pipe(7)).

use super::feed::{add, Feed, Stream};
use super::pace::{self, Read};
use super::place::{identity, Place};
use rustix::fs::{FileType, Mode, OFlags, CWD};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tel::Level;

/// How often it is seen to that the path still leads to this FIFO.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the FIFO until the input is to stop.
///
/// # Errors
/// Those of making, opening and reading it.
pub fn run(place: &Place, feed: &Feed) -> io::Result<()> {
    let mut block = pace::block();
    let mut stream = feed.stream();
    let (mut fifo, mut is) = open(place)?;
    let mut looked = Instant::now();
    feed.counters.set_trouble("");
    while !feed.stop().is_asked() {
        let found = feed.stop().wait(&[fifo.as_fd()], Some(LOOK))?;
        let mut pause = None;
        if found.first().is_some_and(|found| found.readable) {
            let read = pace::read(fifo.as_fd(), &mut block, &mut stream)?;
            feed.counters.writers.store(u64::from(read != Read::End), Ordering::Relaxed);
            pause = read.pause();
            if read == Read::End {
                stream.end();
                // Opened anew, it waits for the next writer; opened before the other end is closed, no writer finds it
                // without a reader.
                (fifo, is) = open(place)?;
            }
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if identity(&place.path).ok() != Some(is) {
                feed.say(Level::Warning, "fifo", format_args!("{}: another one is there now", place.path.display()));
                drain(&fifo, &mut block, &mut stream)?;
                add(&feed.counters.restarts, 1);
                (fifo, is) = open(place)?;
            }
        }
        if let Some(pause) = pause {
            feed.stop().sleep(pause);
        }
    }
    drain(&fifo, &mut block, &mut stream)
}

/// Reads what is in it.
fn drain(fifo: &OwnedFd, block: &mut [u8], stream: &mut Stream) -> io::Result<()> {
    pace::rest(fifo.as_fd(), block, stream)?;
    stream.end();
    Ok(())
}

/// The FIFO, made if it is missing, and what it is.
fn open(place: &Place) -> io::Result<(OwnedFd, (u64, u64))> {
    let path = &place.path;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match std::fs::metadata(path) {
        Ok(about) if about.file_type().is_fifo() => {}
        Ok(_) => return Err(io::Error::other(format!("{}: is there, and no FIFO", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            place.make_folder().map_err(named)?;
            match rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
                Ok(()) => place.hand_out().map_err(named)?,
                // Somebody was faster.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(named(error.into())),
            }
        }
        Err(error) => return Err(named(error)),
    }
    // Without waiting for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fifo = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| named(error.into()))?;
    let about = rustix::fs::fstat(&fifo)?;
    if FileType::from_raw_mode(about.st_mode) != FileType::Fifo {
        return Err(io::Error::other(format!("{}: is there, and no FIFO", path.display())));
    }
    let _ = rustix::pipe::fcntl_setpipe_size(&fifo, pace::PIPE);
    Ok((fifo, (about.st_dev, about.st_ino)))
}

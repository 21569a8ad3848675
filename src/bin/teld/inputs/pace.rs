//! How often a stream is read: in large pieces, so that each costs little, and soon enough.

use super::feed::Stream;
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Bytes asked for at a time.
const BLOCK: usize = 256 << 10;
/// Bytes that a pipe is asked to hold; the system's usual most for a user without privileges (pipe(7),
/// /proc/sys/fs/pipe-max-size).
pub const PIPE: usize = 1 << 20;
/// What a pause lets gather, when little comes at a time. A pipe of a mebibyte takes 200 MB/s for so long, and a line
/// waits far longer for its batch.
pub const PAUSE: Duration = Duration::from_millis(5);
/// A read of so many bytes is worth its cost.
const ENOUGH: usize = 64 << 10;

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// More may be there already.
    Much,
    /// All there was: a pause lets more gather.
    Little,
    /// The stream has ended.
    End,
}

impl Read {
    /// How long to let more gather before the next wait.
    pub fn pause(self) -> Option<Duration> {
        (self == Read::Little).then_some(PAUSE)
    }
}

/// Reads once. `block` is room for what comes. A stream that has nothing at the moment gives `Little`.
///
/// # Errors
/// Those of read(2).
pub fn read(from: BorrowedFd<'_>, block: &mut [u8], to: &mut Stream) -> io::Result<Read> {
    match rustix::io::read(from, &mut *block) {
        Ok(0) => Ok(Read::End),
        Ok(count) => {
            to.block(&block[..count]);
            Ok(if count >= ENOUGH { Read::Much } else { Read::Little })
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(Read::Little),
        Err(error) => Err(error.into()),
    }
}

/// Reads what is there now, and not what comes meanwhile: writers may go on for ever.
///
/// # Errors
/// Those of ioctl_fionread(2const) and read(2).
pub fn rest(from: BorrowedFd<'_>, block: &mut [u8], to: &mut Stream) -> io::Result<()> {
    let mut left = rustix::io::ioctl_fionread(from)?;
    while left > 0 {
        let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match rustix::io::read(from, &mut block[..most]) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(count) => {
                to.block(&block[..count]);
                left -= count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Room for [`read`].
pub fn block() -> Box<[u8]> {
    vec![0; BLOCK].into_boxed_slice()
}

//! Where lines come from. A new input is a `Source`, its place in `config`, and a way to open it here.

mod lines;

pub use lines::Lines;

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;
use tel::{tel_error, Producer};

/// A kind of input, with what it needs.
#[derive(Clone, Debug)]
pub enum Source {
    /// Standard input, to its end.
    Stdin,
    /// A file, once, from its beginning to its end.
    File(PathBuf),
}

/// What came of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines read.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// How long a source that can wait is made to wait when the queue is full.
const FULL: Duration = Duration::from_millis(2);

impl Source {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Source::Stdin => Box::new(io::stdin()),
            Source::File(path) => Box::new(File::open(path)?),
        })
    }

    /// Submits every line up to the end of the input, or until the producer is closed. Lines wait when the queue is
    /// full: these sources can.
    ///
    /// # Errors
    /// Those of reading; what was read before is submitted.
    pub fn submit_all(&self, producer: &Producer, max_line: usize) -> io::Result<Totals> {
        let mut totals = Totals::default();
        let mut lines = Lines::new(self.open()?, max_line);
        while let Some(line) = lines.next()? {
            totals.lines += 1;
            totals.bytes += line.len() as u64;
            if !submit_patiently(producer, line) {
                break;
            }
        }
        Ok(totals)
    }
}

/// Submits, waiting for room. False if the producer takes no more lines; a line that is too long is counted there.
pub fn submit_patiently(producer: &Producer, line: &[u8]) -> bool {
    loop {
        match producer.submit(line) {
            Err(tel_error::TEL_ERR_FULL) => std::thread::sleep(FULL),
            Ok(()) | Err(tel_error::TEL_ERR_TOO_LONG) => return true,
            Err(_) => return false,
        }
    }
}

//! Lines out of a stream of bytes, in bounded memory.

use std::io::{self, Read};

/// Bytes asked of the source at a time.
const BLOCK: usize = 256 << 10;

/// Cuts a stream at newlines. A line longer than the limit comes out one byte longer than the limit, so that whoever
/// counts it sees that it is too long; the rest is skipped. A last line without newline is a line.
pub struct Lines<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    max_line: usize,
    skipping: bool,
    ended: bool,
}

impl<R: Read> Lines<R> {
    /// Lines of `source`, of at most `max_line` bytes.
    pub fn new(source: R, max_line: usize) -> Lines<R> {
        let buffer = vec![0; BLOCK + max_line + 1];
        Lines { source, buffer, start: 0, end: 0, max_line, skipping: false, ended: false }
    }

    /// The next line, without its newline.
    ///
    /// # Errors
    /// Those of reading.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let line = loop {
            let waiting = &self.buffer[self.start..self.end];
            if let Some(length) = waiting.iter().position(|byte| *byte == b'\n') {
                let line = self.start..self.start + length;
                self.start += length + 1;
                if !std::mem::take(&mut self.skipping) {
                    break line;
                }
            } else if self.skipping {
                self.start = self.end;
                if !self.fill()? {
                    return Ok(None);
                }
            } else if waiting.len() > self.max_line + 1 {
                // One byte more than the limit may be the \r of a line that is just short enough.
                self.skipping = true;
                break self.start..self.end;
            } else if !self.fill()? {
                let line = self.start..self.end;
                self.start = self.end;
                if line.is_empty() {
                    return Ok(None);
                }
                break line;
            }
        };
        // A longer one says no more than that it is too long.
        Ok(Some(&self.buffer[line.start..line.end.min(line.start + self.max_line + 2)]))
    }

    /// Reads more behind what is there. False at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(false);
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of the given size.
    struct Pieces<'a>(&'a [u8], usize);
    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn cut(bytes: &[u8], piece: usize, max_line: usize) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(Pieces(bytes, piece), max_line);
        let mut cut = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            cut.push(line.to_vec());
        }
        cut
    }

    #[test]
    fn lines_are_cut_however_the_bytes_come() {
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(cut(b"one\ntwo\n\nfour", piece, 10), [&b"one"[..], b"two", b"", b"four"]);
            assert_eq!(cut(b"", piece, 10), Vec::<Vec<u8>>::new());
            assert_eq!(cut(b"\n", piece, 10), [b""]);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_seen_to_be_and_skipped_to_its_end() {
        let long = vec![b'x'; 3 * BLOCK];
        let bytes = [b"first\n", &long[..], b"\nlast\n"].concat();
        for piece in [4096, 1 << 20] {
            let lines = cut(&bytes, piece, 10);
            assert_eq!((lines.len(), &lines[0][..], &lines[2][..]), (3, &b"first"[..], &b"last"[..]));
            assert!(lines[1].len() > 10 && lines[1].len() <= 12);
        }
        assert_eq!(cut(&long, 4096, 10).len(), 1);
    }
}

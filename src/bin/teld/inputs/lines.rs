//! Lines out of blocks of bytes, in bounded memory. Pure.

/// Cuts the blocks of one stream at newlines. Lines are given on where they are; only one that goes on in the next block
/// is copied. Of a line over the limit its beginning comes out, two bytes longer than the limit, so that whoever counts
/// it sees that it is too long; the rest is skipped.
pub struct LineCutter {
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    most: usize,
    /// The line under way is over the limit, and was given on.
    skipping: bool,
}

impl LineCutter {
    /// For lines of at most `max_line` bytes.
    pub fn new(max_line: usize) -> LineCutter {
        // Two bytes more than the limit: one of them may be the \r of a line that is just short enough.
        LineCutter { begun: Vec::new(), most: max_line + 2, skipping: false }
    }

    /// Gives each line that ends in `block` to `line`, without its newline.
    pub fn cut(&mut self, block: &[u8], mut line: impl FnMut(&[u8])) {
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', block) {
            let piece = &block[start..newline];
            start = newline + 1;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.begun.is_empty() {
                line(&piece[..piece.len().min(self.most)]);
            } else {
                self.begin(piece);
                line(&self.begun);
                self.begun.clear();
            }
        }
        let rest = &block[start..];
        if !self.skipping && !rest.is_empty() {
            self.begin(rest);
            if self.begun.len() >= self.most {
                line(&self.begun);
                self.begun.clear();
                self.skipping = true;
            }
        }
    }

    /// The stream has ended: a last line without newline is a line.
    pub fn end(&mut self, line: impl FnOnce(&[u8])) {
        self.skipping = false;
        if !self.begun.is_empty() {
            line(&self.begun);
            self.begun = Vec::new();
        }
    }

    /// Bytes that were taken in and have not come out in a line.
    pub fn held(&self) -> usize {
        self.begun.len()
    }

    fn begin(&mut self, piece: &[u8]) {
        let room = self.most - self.begun.len();
        self.begun.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[u8], piece: usize, max_line: usize) -> Vec<Vec<u8>> {
        let mut cutter = LineCutter::new(max_line);
        let mut cut = Vec::new();
        for block in bytes.chunks(piece) {
            cutter.cut(block, |line| cut.push(line.to_vec()));
        }
        cutter.end(|line| cut.push(line.to_vec()));
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
        let long = vec![b'x'; 3000];
        let bytes = [b"first\n", &long[..], b"\nlast\n"].concat();
        for piece in [1, 2, 11, 12, 13, 100, 5000] {
            let lines = cut(&bytes, piece, 10);
            assert_eq!((lines.len(), &lines[0][..], &lines[2][..]), (3, &b"first"[..], &b"last"[..]), "{piece}");
            assert_eq!(lines[1].len(), 12);
        }
        assert_eq!(cut(&long, 64, 10).len(), 1);
        // At the limit, with and without \r.
        for piece in [1, 5, 100] {
            let lines = cut(b"0123456789\n0123456789\r\n0123456789\r", piece, 10);
            assert_eq!(lines, [&b"0123456789"[..], b"0123456789\r", b"0123456789\r"]);
        }
    }

    #[test]
    fn a_stream_goes_on_after_its_end() {
        let mut cutter = LineCutter::new(10);
        let mut lines = Vec::new();
        cutter.cut(b"torn", |_| unreachable!());
        assert_eq!(cutter.held(), 4);
        cutter.end(|line| lines.push(line.to_vec()));
        cutter.cut(b"next\n", |line| lines.push(line.to_vec()));
        assert_eq!(lines, [b"torn", b"next"]);
    }
}

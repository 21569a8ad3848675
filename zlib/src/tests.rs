//! What is compressed here is read back by zlib-rs and by Debian's gzip.

use super::*;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// A small generator (xorshift64*; S. Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit
    }

    fn bytes(&mut self, length: usize, alphabet: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(alphabet) as u8).collect()
    }

    /// Lines that look like an access log's, up to `length` bytes.
    fn lines(&mut self, length: usize) -> Vec<u8> {
        let mut text = Vec::new();
        while text.len() < length {
            let (a, b) = (self.below(256), self.below(256));
            let (path, size) = (self.below(1000), self.below(1_000_000));
            writeln!(
                text,
                "10.0.{a}.{b} - - [21/Nov/2026] \"GET /media/{path}/seg.ts HTTP/1.1\" 200 {size} \"-\" \"agent\""
            )
            .unwrap();
        }
        text.truncate(length);
        text
    }
}

/// Compresses as librdkafka does: its slices one by one, then the end. The longest output is deflateBound's.
fn compress(level: c_int, slices: &[&[u8]]) -> Vec<u8> {
    let length: usize = slices.iter().map(|slice| slice.len()).sum();
    let mut stream = z_stream::default();
    let version = libz_rs_sys::zlibVersion();
    // SAFETY: the stream is this function's, and its pointers are those of live slices and vectors.
    unsafe {
        let size = size_of::<z_stream>() as c_int;
        assert_eq!(deflate_init(&mut stream, level, 8, GZIP_WINDOW, 8, 0, version, size), Z_OK);
        let mut out = vec![0xEE; deflate_bound(&mut stream, length as c_ulong) as usize];
        (stream.next_out, stream.avail_out) = (out.as_mut_ptr(), out.len() as u32);
        for slice in slices {
            (stream.next_in, stream.avail_in) = (slice.as_ptr().cast_mut(), slice.len() as u32);
            assert_eq!(deflate(&mut stream, Z_NO_FLUSH), Z_OK);
            assert_eq!(stream.avail_in, 0);
        }
        assert_eq!(deflate(&mut stream, Z_FINISH), Z_STREAM_END);
        assert_eq!(stream.total_in as usize, length);
        out.truncate(stream.total_out as usize);
        assert_eq!(deflate_end(&mut stream), Z_OK);
        out
    }
}

fn decompress(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut stream = z_stream::default();
    let mut out = vec![0; length + 1];
    // SAFETY: as above.
    unsafe {
        let size = size_of::<z_stream>() as c_int;
        assert_eq!(libz_rs_sys::inflateInit2_(&mut stream, GZIP_WINDOW, libz_rs_sys::zlibVersion(), size), Z_OK);
        (stream.next_in, stream.avail_in) = (bytes.as_ptr().cast_mut(), bytes.len() as u32);
        (stream.next_out, stream.avail_out) = (out.as_mut_ptr(), out.len() as u32);
        assert_eq!(libz_rs_sys::inflate(&mut stream, Z_FINISH), Z_STREAM_END);
        assert_eq!(stream.avail_in, 0);
        out.truncate(stream.total_out as usize);
        assert_eq!(libz_rs_sys::inflateEnd(&mut stream), Z_OK);
    }
    out
}

fn cut<'a>(text: &'a [u8], random: &mut Random, longest: usize) -> Vec<&'a [u8]> {
    let mut slices = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (slice, left) = rest.split_at((1 + random.below(longest)).min(rest.len()));
        slices.push(slice);
        rest = left;
    }
    slices
}

#[test]
fn whatever_goes_in_comes_out_at_every_level_and_cut() {
    let mut random = Random(1);
    for round in 0..400 {
        let length = random.below(1 << (1 + round % 19));
        let text = match round % 4 {
            0 => random.bytes(length, 256),
            1 => random.bytes(length, 3),
            _ => random.lines(length),
        };
        let longest = 1 << random.below(18);
        let level = [-1, 0, 1, 2, 3, 6, 9][random.below(7)];
        let packed = compress(level, &cut(&text, &mut random, longest));
        assert!(decompress(&packed, text.len()) == text, "round {round}: level {level}, {length} bytes by {longest}");
    }
}

#[test]
fn gzip_reads_it() {
    let mut random = Random(2);
    for level in [1, 2] {
        for length in [0, 1, 100, 70_000, 3_000_000] {
            let text = random.lines(length);
            let packed = compress(level, &cut(&text, &mut random, 1000));
            let mut gzip =
                Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut input = gzip.stdin.take().unwrap();
            let writer = std::thread::spawn(move || input.write_all(&packed));
            let mut read = Vec::new();
            gzip.stdout.take().unwrap().read_to_end(&mut read).unwrap();
            writer.join().unwrap().unwrap();
            assert!(gzip.wait().unwrap().success() && read == text, "level {level}, {length} bytes");
        }
    }
}

#[test]
fn no_output_is_longer_than_the_bound() {
    let mut random = Random(3);
    for level in [1, 2] {
        for (length, longest) in [(1, 1), (100, 7), (4000, 300), (70_000, 250), (1_000_000, 250), (1_000_000, 1 << 20)]
        {
            let text = random.bytes(length, 256);
            let packed = compress(level, &cut(&text, &mut random, longest));
            assert!(packed.len() <= length + length / 80 + 100, "{length} bytes by {longest} became {}", packed.len());
            assert!(decompress(&packed, length) == text);
        }
    }
}

#[test]
fn a_higher_level_is_smaller() {
    let text = Random(4).lines(1_000_000);
    let sizes: Vec<usize> = [1, 2, 6].iter().map(|level| compress(*level, &[&text]).len()).collect();
    assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
    assert_eq!(compress(-1, &[&text]).len(), sizes[0]);
}

#[test]
fn what_does_not_fit_is_an_error_and_nothing_is_overwritten() {
    let text = Random(5).bytes(100_000, 256);
    let mut stream = z_stream::default();
    let mut out = vec![0xEE; 50_000 + 64];
    // SAFETY: as above.
    unsafe {
        let (version, size) = (libz_rs_sys::zlibVersion(), size_of::<z_stream>() as c_int);
        assert_eq!(deflate_init(&mut stream, 1, 8, GZIP_WINDOW, 8, 0, version, size), Z_OK);
        (stream.next_in, stream.avail_in) = (text.as_ptr().cast_mut(), text.len() as u32);
        (stream.next_out, stream.avail_out) = (out.as_mut_ptr(), 50_000);
        assert_eq!(deflate(&mut stream, Z_FINISH), Z_BUF_ERROR);
        assert_eq!(deflate_end(&mut stream), Z_OK);
        assert_eq!(deflate_end(&mut stream), Z_STREAM_ERROR);
        assert_eq!(deflate(&mut stream, 1), Z_STREAM_ERROR);
    }
    assert!(out[50_000..].iter().all(|byte| *byte == 0xEE));
}
#[test]
fn how_it_is_cut_makes_no_difference_to_the_size() {
    let mut random = Random(6);
    let text = random.lines(1_000_000);
    let whole = compress(1, &[&text]).len();
    for longest in [10, 1000, 100_000] {
        let slices = compress(1, &cut(&text, &mut random, longest)).len();
        assert!(slices <= whole + whole / 100, "{slices} bytes by {longest}, {whole} at once");
    }
}

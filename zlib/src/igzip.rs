//! One gzip stream on ISA-L's igzip.

use isal_sys::igzip_lib as isal;
use std::alloc::{alloc_zeroed, Layout};
use std::cell::Cell;
use std::ffi::c_ulong;

/// igzip's tables for the tokens of a block: the middle one of the sizes it suggests for its level 2, which is enough
/// for level 1 too. Larger ones compress log lines no better, nor faster.
const TABLES: usize = isal::ISAL_DEF_LVL2_MEDIUM as usize;

/// igzip gets at least so much at once, but for the end: fed with less, it compresses worse and takes longer, for
/// the whole stream. librdkafka's first slices have a few hundred bytes.
const PIECE: usize = 64 << 10;

/// A stream's state: igzip's own, with a window of 64 KiB, its tables, and what waits to be a piece. 350 KB, so it is
/// used again.
#[repr(C)]
pub struct Igzip {
    stream: isal::isal_zstream,
    tables: [u8; TABLES],
    waiting: [u8; PIECE],
    waits: usize,
}

/// What one step read and wrote, in bytes, and whether the stream is at its end.
pub struct Step {
    pub read: u32,
    pub written: u32,
    pub ended: bool,
}

thread_local! {
    /// The last state this thread was done with. A thread compresses one batch after the other, and memory taken from
    /// and given back to the system for each would cost more than a small batch's compression.
    static SPARE: Cell<Option<Box<Igzip>>> = const { Cell::new(None) };
}

/// Longest output for `length` bytes: what cannot be compressed is stored, with a few bytes for each block, and igzip
/// may notice that a block late. Ample: the tests find an eightieth (see `tests::no_output_is_longer_than_the_bound`).
pub fn bound(length: c_ulong) -> c_ulong {
    length + length / 8 + 4096
}

impl Igzip {
    /// A new stream of igzip's level 1 or 2. `None` if there is no memory.
    pub fn begin(level: u32) -> Option<Box<Igzip>> {
        let mut igzip = SPARE.try_with(Cell::take).ok().flatten().or_else(Igzip::allocate)?;
        let (stream, tables) = (&mut igzip.stream, &mut igzip.tables);
        // SAFETY: igzip sets up its own structure, whatever is in it.
        unsafe { isal::isal_deflate_init(stream) };
        stream.level = level;
        stream.level_buf = tables.as_mut_ptr();
        stream.level_buf_size = TABLES as u32;
        stream.gzip_flag = isal::IGZIP_GZIP as u16;
        stream.flush = isal::NO_FLUSH as u16;
        igzip.waits = 0;
        Some(igzip)
    }

    fn allocate() -> Option<Box<Igzip>> {
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(Layout::new::<Igzip>()) }.cast::<Igzip>();
        // SAFETY: of the right size and alignment, and numbers, null pointers and bytes of zero are valid.
        (!memory.is_null()).then(|| unsafe { Box::from_raw(memory) })
    }

    /// Compresses `input` into at most `available` bytes at `output`; to the stream's end if this is the `last`. All of
    /// `input` is read, unless the output is full. `None` if igzip refuses.
    ///
    /// # Safety
    /// `output` can be written.
    pub unsafe fn step(&mut self, mut input: &[u8], output: *mut u8, available: u32, last: bool) -> Option<Step> {
        (self.stream.next_out, self.stream.avail_out) = (output, available);
        let length = input.len();
        while !input.is_empty() && self.stream.avail_out > 0 {
            if self.waits == 0 && input.len() >= PIECE {
                // igzip keeps what it needs of it.
                self.feed(input.as_ptr(), input.len(), last)?;
                input = &input[input.len() - self.stream.avail_in as usize..];
                continue;
            }
            let (piece, rest) = input.split_at(input.len().min(PIECE - self.waits));
            self.waiting[self.waits..][..piece.len()].copy_from_slice(piece);
            self.waits += piece.len();
            input = rest;
            if self.waits == PIECE {
                self.feed_waiting(last && input.is_empty())?;
            }
        }
        if last && !self.has_ended() && self.stream.avail_out > 0 {
            self.feed_waiting(true)?;
        }
        Some(Step {
            read: (length - input.len()) as u32,
            written: available - self.stream.avail_out,
            ended: self.has_ended(),
        })
    }

    fn has_ended(&self) -> bool {
        self.stream.internal_state.state == isal::isal_zstate_state_ZSTATE_END
    }

    fn feed_waiting(&mut self, last: bool) -> Option<()> {
        self.feed(self.waiting.as_ptr(), self.waits, last)?;
        let left = self.stream.avail_in as usize;
        self.waiting.copy_within(self.waits - left..self.waits, 0);
        self.waits = left;
        Some(())
    }

    /// What is not read, because the output is full, stays counted in the stream's `avail_in`.
    fn feed(&mut self, bytes: *const u8, length: usize, last: bool) -> Option<()> {
        let stream = &mut self.stream;
        // igzip only reads there.
        (stream.next_in, stream.avail_in) = (bytes.cast_mut(), length as u32);
        stream.end_of_stream = u16::from(last);
        // SAFETY: initialised by `begin`, its tables in the same box, which has not moved since; `bytes` are `length`
        // readable ones, and the output is as `step`'s caller promised.
        let code = unsafe { isal::isal_deflate(stream) };
        (code == isal::COMP_OK as i32).then_some(())
    }

    /// Done with the stream; its memory is kept for this thread's next one.
    pub fn end(igzip: Box<Igzip>) {
        // In a thread that is ending there is nothing to keep it for.
        let _ = SPARE.try_with(|spare| spare.set(Some(igzip)));
    }
}

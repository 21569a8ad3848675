//! One ring: how a line's place is claimed, and how it is marked as there.

use super::memory::Memory;
use super::sync::{AtomicU32, AtomicU64, Ordering};
use super::{CELL_BYTES, CLIENT_KEPT};

/// The longest line that a mark can tell.
pub const MOST_BYTES: usize = Mark::LENGTH_MASK as usize;

/// Bytes in front of a line that carries a link.
pub const LINK_BYTES: usize = 16;

/// Cells that `bytes` bytes take; a line takes at least one, so that it has a slot for its mark.
#[inline]
pub const fn cells_of(bytes: usize) -> usize {
    if bytes == 0 {
        1
    } else {
        bytes.div_ceil(CELL_BYTES)
    }
}

/// The tail word: where the next claim starts, how many lines were claimed, and whether claims are still taken.
/// All three change in one compare-and-swap, which is why the count of lines costs nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tail(u64);

/// Positions count cells from the start and wrap after 2^40 of them (70 TB); all use of them is by distance. They are
/// the high bits of the tail word and of the head word, so that they wrap by themselves.
const POSITION_BITS: u32 = 40;
const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;
const POSITION_SHIFT: u32 = u64::BITS - POSITION_BITS;
/// The line count wraps after 8,388,608; a shard holds at most half of that.
const COUNT_MASK: u64 = (1 << 23) - 1;
/// Between the two: a count that wraps carries into this bit, and a claim leaves it clear.
const CLOSED: u64 = 1 << 23;

impl Tail {
    #[inline]
    fn position(self) -> u64 {
        self.0 >> POSITION_SHIFT
    }

    fn count(self) -> u64 {
        self.0 & COUNT_MASK
    }

    #[inline]
    fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// The word as it is if it is not closed: what a claim may compare with.
    #[inline]
    fn open(self) -> Tail {
        Tail(self.0 & !CLOSED)
    }

    /// After one more line, of one cell and `beyond` in the word's own unit.
    #[inline]
    fn claimed(self, beyond: u64) -> Tail {
        Tail(self.0.wrapping_add(beyond).wrapping_add(word_of(1) + 1)).open()
    }
}

/// The tail or head word that has nothing but this position.
#[inline]
pub const fn word_of(position: u64) -> u64 {
    position << POSITION_SHIFT
}

/// The position in a tail or head word.
#[inline]
pub const fn position_of(word: u64) -> u64 {
    word >> POSITION_SHIFT
}

/// The position `cells` behind `position`.
#[inline]
pub fn advance(position: u64, cells: usize) -> u64 {
    (position + cells as u64) & POSITION_MASK
}

/// Cells from `from` to `to`.
#[inline]
pub fn distance(from: u64, to: u64) -> u64 {
    to.wrapping_sub(from) & POSITION_MASK
}

/// What is published about a line: its length and shape. Zero is "nothing here yet".
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mark(u32);

impl Mark {
    const PUBLISHED: u32 = 1 << 31;
    const LINKED: u32 = 1 << 30;
    const CLIENT_SHIFT: u32 = 22;
    const LENGTH_MASK: u32 = (1 << Self::CLIENT_SHIFT) - 1;

    /// `client` is the length of a client id given apart; `length` all bytes but the link's.
    #[inline]
    fn new(client: Option<usize>, length: usize, linked: bool) -> Mark {
        let client = client.map_or(0, |length| length as u32 + 1);
        Mark(Self::PUBLISHED | if linked { Self::LINKED } else { 0 } | client << Self::CLIENT_SHIFT | length as u32)
    }

    #[inline]
    fn is_published(self) -> bool {
        self.0 & Self::PUBLISHED != 0
    }

    #[inline]
    pub fn is_linked(self) -> bool {
        self.0 & Self::LINKED != 0
    }

    #[inline]
    pub fn client(self) -> Option<usize> {
        let client = (self.0 & !(Self::PUBLISHED | Self::LINKED)) >> Self::CLIENT_SHIFT;
        (client as usize).checked_sub(1)
    }

    #[inline]
    pub fn length(self) -> usize {
        (self.0 & Self::LENGTH_MASK) as usize
    }

    #[inline]
    pub fn cells(self) -> usize {
        cells_of(self.length() + if self.is_linked() { LINK_BYTES } else { 0 })
    }
}

/// Where a thread was before it moved to another shard: the consumer must have passed that place first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The shard the thread pushed to before.
    pub shard: u32,
    /// A position behind its last line there.
    pub position: u64,
}

/// How a push to one shard ended.
pub enum Claim {
    /// The line is in.
    Done,
    /// Not enough free cells.
    Full,
    /// Other threads were claiming at the same moment.
    Contended,
    /// No more lines are taken.
    Closed,
}

/// A value on cache lines of its own: two, because processors fetch them in pairs.
#[repr(align(128))]
struct Apart<T>(T);

/// One ring. Producers write `tail` and the marks they have claimed; the consumer writes `head` and clears marks.
///
/// What a push looks at is in the first cache line, whatever else it may have to share with other threads: a host's
/// thread comes with cold caches, and one line is sooner there than two.
#[repr(C, align(128))]
pub struct Shard {
    tail: AtomicU64,
    /// The head as some thread has last read it for want of room. Older than the head, it makes the ring look fuller than
    /// it is; the head's own cache line would have to be fetched after every time that the consumer gives cells back.
    known_head: AtomicU64,
    marks: Box<[AtomicU32]>,
    memory: Memory,
    /// Longest line, its client included.
    max_line: usize,
    head: Apart<AtomicU64>,
}

#[cfg(all(target_pointer_width = "64", not(loom)))]
const _: () = assert!(std::mem::offset_of!(Shard, max_line) + size_of::<usize>() <= 64);

impl Shard {
    pub fn new(memory: Memory, max_line: usize) -> Shard {
        // Written one by one, which faults them in as well.
        let marks = (0..memory.cells()).map(|_| AtomicU32::new(0)).collect();
        Shard {
            tail: AtomicU64::new(0),
            known_head: AtomicU64::new(0),
            marks,
            memory,
            max_line,
            head: Apart(AtomicU64::new(0)),
        }
    }

    /// The usual push: by a thread that pushed here before, so that the line needs no link; one attempt, and only at a
    /// place that does not reach over the ring's end. False, with nothing done, when this is not that push:
    /// [`Shard::push`] and those around it then find out what it is.
    ///
    /// Inlined into each of its few callers: a call would cost as much as a third of what it does.
    ///
    /// # Safety
    /// At `line` there are `length` bytes, should that be no more than the queue's limit.
    #[inline(always)]
    pub unsafe fn push_here(
        &self,
        client: Option<&[u8]>,
        line: *const u8,
        length: usize,
        is_usual: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        // Both ends at once: an empty line becomes the longest there is.
        if length.wrapping_sub(1) >= self.max_line {
            return false;
        }
        // SAFETY: no longer than the limit, so there by the caller's word.
        let line = unsafe { std::slice::from_raw_parts(line, length) };
        let id = client.map_or(0, <[u8]>::len);
        if client.is_some() && (id > CLIENT_KEPT || id + 1 + length > self.max_line) || !is_usual(line) {
            return false;
        }
        let length = id + length;
        let Some(slot) = self.claim_here(length - 1) else { return false };
        let offset = slot * CELL_BYTES;
        // Before the copy, which is a call: it need then not be found again.
        // SAFETY: a slot of the ring.
        let place = unsafe { self.marks.get_unchecked(slot) };
        // SAFETY: the cells were claimed by this thread alone, cover `length` bytes and end before the ring does; the
        // consumer does not read them before the mark is stored.
        unsafe {
            self.memory.prefetch(offset + length, place);
            if let Some(client) = client {
                self.memory.write_within(offset, client);
            }
            self.memory.write_within(offset + id, line);
        }
        // Release: whoever sees the mark sees the bytes.
        place.store(Mark::new(client.map(<[u8]>::len), length, false).0, Ordering::Release);
        true
    }

    /// One attempt at a run of cells for the bytes 0 to `last`: its first cell.
    #[inline(always)]
    fn claim_here(&self, last: usize) -> Option<usize> {
        let beyond = word_of((last / CELL_BYTES) as u64);
        // Acquire and release for the reasons given at `claim`. A closed tail is no longer what it is compared with.
        let tail = Tail(self.tail.load(Ordering::Acquire)).open();
        // Acquire: the consumer is done with the cells before it, as the thread that stored it found.
        let head = self.known_head.load(Ordering::Acquire);
        // The count, in the bits below a position's, makes less than a cell. An old tail beside a new head may come out
        // as anything; it is not what it is compared with either.
        if tail.0.wrapping_sub(head).wrapping_add(beyond) >= word_of(self.marks.len() as u64) {
            return None;
        }
        let slot = self.slot(tail.position());
        if slot + last / CELL_BYTES >= self.marks.len() {
            return None;
        }
        let claimed = tail.claimed(beyond);
        self.tail.compare_exchange(tail.0, claimed.0, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        Some(slot)
    }

    /// A line to any shard and at any place, one attempt.
    pub fn push(&self, client: Option<&[u8]>, line: &[u8], link: Option<Link>) -> Claim {
        let client = client.map(|id| &id[..id.len().min(CLIENT_KEPT)]);
        let mark = Mark::new(client.map(<[u8]>::len), client.map_or(0, <[u8]>::len) + line.len(), link.is_some());
        match self.claim(mark.cells()) {
            Ok(start) => {
                self.publish(start, mark, client, line, link);
                Claim::Done
            }
            Err(refused) => refused,
        }
    }

    /// Claims a run of `cells` cells and counts the line. Gives the run's start, or what [`Shard::push`] ends with.
    fn claim(&self, cells: usize) -> Result<u64, Claim> {
        // Acquire: the head is then no older than the one that the last claim was made with.
        let tail = Tail(self.tail.load(Ordering::Acquire));
        if tail.is_closed() {
            return Err(Claim::Closed);
        }
        // Acquire: the consumer is done with the cells it gave back with this head.
        let head = self.head.0.load(Ordering::Acquire);
        // What is known already is left alone: the cache line is other threads' as well.
        if self.known_head.load(Ordering::Relaxed) != head {
            // Release: what makes the head good to know goes with it.
            self.known_head.store(head, Ordering::Release);
        }
        let used = distance(position_of(head), tail.position()) as usize;
        if used + cells > self.marks.len() {
            // An old tail beside a new head gives a distance beyond the ring.
            return Err(if used > self.marks.len() { Claim::Contended } else { Claim::Full });
        }
        let claimed = tail.claimed(word_of(cells as u64 - 1));
        // Acquire and release: a consumer that reads this tail sees all that this thread, and those whose claims lie
        // before, did before their claims. `Consumer::look` promises it.
        match self.tail.compare_exchange(tail.0, claimed.0, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Ok(tail.position()),
            Err(_) => Err(Claim::Contended),
        }
    }

    /// Copies the line into the cells claimed from `start` on, and marks it as there.
    fn publish(&self, start: u64, mark: Mark, client: Option<&[u8]>, line: &[u8], link: Option<Link>) {
        let ring = self.marks.len() * CELL_BYTES;
        let slot = self.slot(start);
        let mut offset = slot * CELL_BYTES;
        let mut put = |bytes: &[u8]| {
            // SAFETY: the cells from `start` were claimed by this thread alone, and they cover all of `bytes`; the
            // consumer does not read them before the mark is stored.
            unsafe { self.memory.write(offset, bytes) };
            offset = (offset + bytes.len()) & (ring - 1);
        };
        if let Some(link) = link {
            put(&u64::from(link.shard).to_le_bytes());
            put(&link.position.to_le_bytes());
        }
        if let Some(client) = client {
            put(client);
        }
        put(line);
        // Release: whoever sees the mark sees the bytes.
        self.marks[slot].store(mark.0, Ordering::Release);
    }

    pub fn close(&self) {
        self.tail.fetch_or(CLOSED, Ordering::Relaxed);
    }

    pub fn is_closed(&self) -> bool {
        Tail(self.tail.load(Ordering::Relaxed)).is_closed()
    }

    /// Where claims end now.
    pub fn end(&self) -> u64 {
        // Acquire: for the consumer, the world is then no older than the claims, whose bytes come with their marks; and a
        // thread that makes a link of it claims its next line after all of them.
        Tail(self.tail.load(Ordering::Acquire)).position()
    }

    /// Lines claimed since the consumer's count stood at `taken`.
    pub fn pushed_since(&self, taken: u64) -> u64 {
        Tail(self.tail.load(Ordering::Acquire)).count().wrapping_sub(taken) & COUNT_MASK
    }

    #[inline]
    fn slot(&self, position: u64) -> usize {
        position as usize & self.marks.len().wrapping_sub(1)
    }
}

/// The consumer's half: to be called by the queue's one consumer only.
impl Shard {
    pub fn cells(&self) -> usize {
        self.marks.len()
    }

    /// The mark of the line that starts at `position`, if one does and it is there.
    #[inline]
    pub fn mark(&self, position: u64) -> Option<Mark> {
        // Acquire: the bytes under the mark are visible.
        let mark = Mark(self.marks[self.slot(position)].load(Ordering::Acquire));
        mark.is_published().then_some(mark)
    }

    /// The link in front of a linked line.
    ///
    /// # Safety
    /// `mark` was read at `position` and the line was not taken yet.
    pub unsafe fn link(&self, position: u64, scratch: &mut Vec<u8>) -> Link {
        let (mut shard, mut behind) = ([0; 8], [0; 8]);
        // SAFETY: the line is published and linked, so its first bytes are the link; it was not given back.
        let bytes = unsafe { self.memory.read(self.slot(position) * CELL_BYTES, LINK_BYTES, scratch) };
        shard.copy_from_slice(&bytes[..8]);
        behind.copy_from_slice(&bytes[8..]);
        Link { shard: u64::from_le_bytes(shard) as u32, position: u64::from_le_bytes(behind) }
    }

    /// The line's bytes, the client's id in front when it was given apart.
    ///
    /// # Safety
    /// `mark` was read at `position` and the line was not taken yet.
    #[inline]
    pub unsafe fn bytes<'a>(&'a self, position: u64, mark: Mark, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let ring = self.marks.len() * CELL_BYTES;
        let skip = if mark.is_linked() { LINK_BYTES } else { 0 };
        let offset = (self.slot(position) * CELL_BYTES + skip) & (ring - 1);
        // SAFETY: published and not given back, by the caller's word.
        unsafe { self.memory.read(offset, mark.length(), scratch) }
    }

    /// Forgets the line at `position`. Its cells stay occupied until [`Shard::give_back`].
    #[inline]
    pub fn take(&self, position: u64) {
        // Relaxed: the store reaches the producers with the head that gives the cells back.
        self.marks[self.slot(position)].store(0, Ordering::Relaxed);
    }

    /// Everything before `head` was taken; producers may use the cells.
    pub fn give_back(&self, head: u64) {
        self.head.0.store(word_of(head), Ordering::Release);
    }
}

/// A push that stands still between its claim and its mark.
#[cfg(all(test, not(loom)))]
pub struct Stalled {
    start: u64,
    mark: Mark,
    line: Vec<u8>,
    link: Option<Link>,
}

/// What the tests need to stand in for a preempted thread, and for a shard that has been in use for years.
#[cfg(all(test, not(loom)))]
impl Shard {
    /// Continues as if `lines` lines had gone through, and the next cell were `position`.
    pub fn begin_at(&self, position: u64, lines: u64) {
        self.tail.store(word_of(position) | lines & COUNT_MASK, Ordering::Relaxed);
        self.known_head.store(word_of(position), Ordering::Relaxed);
        self.head.0.store(word_of(position), Ordering::Relaxed);
    }

    /// [`Shard::push`] up to the claim.
    pub fn claim_only(&self, line: &[u8], link: Option<Link>) -> Result<Stalled, Claim> {
        let mark = Mark::new(None, line.len(), link.is_some());
        let start = self.claim(mark.cells())?;
        Ok(Stalled { start, mark, line: line.to_vec(), link })
    }

    /// The rest of it.
    pub fn finish(&self, stalled: Stalled) {
        self.publish(stalled.start, stalled.mark, None, &stalled.line, stalled.link);
    }

    /// Cells that no claim can have now.
    pub fn used(&self) -> usize {
        distance(position_of(self.head.0.load(Ordering::Relaxed)), self.end()) as usize
    }
}

//! The one consumer: takes lines out in every thread's own order, stepping over gaps.

use super::shard::{advance, distance, Mark, Shard};
use super::Queue;
use std::sync::Arc;

/// A line as it was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The client id, if it was given apart from the text.
    pub client: Option<&'a [u8]>,
    /// The text: with the id as its first word if `client` is `None`.
    pub text: &'a [u8],
}

/// What a visitor did with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// It has it; go on.
    Taken,
    /// It has no room: leave the line where it is, and stop.
    Stop,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Lines taken.
    pub lines: u64,
    /// The visitor stopped it; lines are left.
    pub stopped: bool,
}

/// Cells claimed but without a mark when the consumer came by: one or more unfinished lines.
#[derive(Clone, Copy, Debug)]
struct Gap {
    start: u64,
    end: u64,
}

/// The consumer's place in one shard. Everything before `next` was taken, except for the gaps.
struct Place {
    next: u64,
    gaps: Vec<Gap>,
    /// Where the cells given back end.
    head: u64,
    /// Drain up to here: the tail as it stood at the look.
    target: u64,
}

/// Cells taken before they are given back, while a drain goes on: often enough for a full ring's producers, seldom
/// enough that their view of the head stays in their caches.
const GIVE_BACK_CELLS: u64 = 512;

/// Takes lines out. One per queue; the queue's owner sees to that.
pub struct Consumer {
    queue: Arc<Queue>,
    places: Box<[Place]>,
    taken: Box<[u64]>,
    link_scratch: Vec<u8>,
    line_scratch: Vec<u8>,
}

impl Consumer {
    /// The consumer of `queue`, of which there must be only one.
    pub fn new(queue: Arc<Queue>) -> Consumer {
        let place = || Place { next: 0, gaps: Vec::new(), head: 0, target: 0 };
        Consumer {
            places: queue.shards.iter().map(|_| place()).collect(),
            taken: vec![0; queue.shards()].into_boxed_slice(),
            link_scratch: Vec::new(),
            line_scratch: Vec::new(),
            queue,
        }
    }

    /// Lines taken from each shard since the start.
    pub fn taken(&self) -> &[u64] {
        &self.taken
    }

    /// Lines claimed by threads that have not finished writing them, once [`Queue::close`] was called and a drain
    /// found nothing more: what a thread leaves behind that ended in the middle of a push.
    pub fn unfinished(&self) -> u64 {
        self.queue.pushed(&self.taken).waiting
    }

    /// Counts the unfinished lines as taken, and returns their number: nothing more is drained from this queue.
    pub fn write_off(&mut self) -> u64 {
        let mut lines = 0;
        for (taken, shard) in self.taken.iter_mut().zip(self.queue.shards.iter()) {
            let left = shard.pushed_since(*taken);
            *taken += left;
            lines += left;
        }
        lines
    }

    /// Notes how far the threads have come: the next [`Consumer::drain`] goes up to here, and further only where a link leads.
    ///
    /// Apart from `drain`, so that what the visitor looks things up in can be chosen after this: it is then no older
    /// than any line visited.
    pub fn look(&mut self) {
        for (place, shard) in self.places.iter_mut().zip(self.queue.shards.iter()) {
            place.target = shard.end();
        }
    }

    /// Visits the lines pushed before the last [`Consumer::look`], each once, and each thread's in its own order.
    pub fn drain(&mut self, visit: &mut impl FnMut(Line<'_>) -> Visit) -> Drain {
        let before: u64 = self.taken.iter().sum();
        let mut stopped = false;
        for index in 0..self.places.len() {
            let target = self.places[index].target;
            if !self.advance_to(index, target, visit) {
                stopped = true;
                break;
            }
        }
        for index in 0..self.places.len() {
            self.give_back(index);
        }
        Drain { lines: self.taken.iter().sum::<u64>() - before, stopped }
    }

    /// Takes what is there in shard `index` before `limit`. False if the visitor stopped it.
    ///
    /// `limit` is a tail that was read by the last look, or the link of a line claimed before that: so every gap looked
    /// at here is found finished if a line of the same thread lies behind it and before `limit` (the module's text).
    fn advance_to(&mut self, index: usize, limit: u64, visit: &mut impl FnMut(Line<'_>) -> Visit) -> bool {
        let queue = Arc::clone(&self.queue);
        let shard = &queue.shards[index];
        if !self.revisit_gaps(index, shard, limit, visit) {
            return false;
        }
        // A limit behind `next` shows as a distance beyond the ring.
        while self.is_ahead(index, shard, limit) {
            let position = self.places[index].next;
            let Some(mark) = shard.mark(position) else {
                self.note_gap(index, position);
                continue;
            };
            let end = advance(position, mark.cells());
            if !self.visit_at(index, shard, position, mark, visit) {
                return false;
            }
            self.places[index].next = end;
            if distance(self.places[index].head, end) >= GIVE_BACK_CELLS {
                self.give_back(index);
            }
        }
        true
    }

    #[inline]
    fn is_ahead(&self, index: usize, shard: &Shard, limit: u64) -> bool {
        let ahead = distance(self.places[index].next, limit);
        ahead != 0 && ahead <= shard.cells() as u64
    }

    /// One more cell without a mark, at the end of what was looked at.
    fn note_gap(&mut self, index: usize, position: u64) {
        let place = &mut self.places[index];
        let end = advance(position, 1);
        match place.gaps.last_mut() {
            Some(gap) if gap.end == position => gap.end = end,
            _ => place.gaps.push(Gap { start: position, end }),
        }
        place.next = end;
    }

    /// Looks again at the gaps that begin before `limit`, and takes what was finished meanwhile.
    fn revisit_gaps(
        &mut self,
        index: usize,
        shard: &Shard,
        limit: u64,
        visit: &mut impl FnMut(Line<'_>) -> Visit,
    ) -> bool {
        while let Some((position, mark)) = self.finished_in_gap(index, shard, limit) {
            if !self.visit_at(index, shard, position, mark, visit) {
                return false;
            }
            self.close_gap(index, position, mark.cells());
        }
        true
    }

    /// The first finished line in a gap before `limit`.
    fn finished_in_gap(&self, index: usize, shard: &Shard, limit: u64) -> Option<(u64, Mark)> {
        let place = &self.places[index];
        let within = distance(place.head, limit);
        if within > shard.cells() as u64 {
            return None; // The limit lies before the head: all there was before it is taken.
        }
        for gap in &place.gaps {
            let mut position = gap.start;
            while position != gap.end {
                if distance(place.head, position) >= within {
                    return None;
                }
                if let Some(mark) = shard.mark(position) {
                    return Some((position, mark));
                }
                position = advance(position, 1);
            }
        }
        None
    }

    /// Cuts the cells of a finished line out of the gap they lie in.
    fn close_gap(&mut self, index: usize, position: u64, cells: usize) {
        let gaps = &mut self.places[index].gaps;
        let end = advance(position, cells);
        let inside = |gap: &Gap| distance(gap.start, position) < distance(gap.start, gap.end);
        let Some(at) = gaps.iter().position(inside) else { return };
        let gap = gaps[at];
        let pieces = [Gap { start: gap.start, end: position }, Gap { start: end, end: gap.end }];
        gaps.splice(at..=at, pieces.into_iter().filter(|piece| piece.start != piece.end));
    }

    /// Visits the finished line at `position`, after whatever the same thread may have pushed before it.
    ///
    /// A link is never part of a circle: it leads to lines that were claimed before this one was. So the recursion goes
    /// back in time, each shard's lines once, and deeper than there are shards only by gaps that are finished meanwhile.
    fn visit_at(
        &mut self,
        index: usize,
        shard: &Shard,
        position: u64,
        mark: Mark,
        visit: &mut impl FnMut(Line<'_>) -> Visit,
    ) -> bool {
        if mark.is_linked() {
            // SAFETY: `mark` was read at `position`, and the line is taken only below.
            let link = unsafe { shard.link(position, &mut self.link_scratch) };
            let known = (link.shard as usize) < self.places.len() && link.shard as usize != index;
            if known && !self.advance_to(link.shard as usize, link.position, visit) {
                return false;
            }
        }
        // SAFETY: as above.
        let bytes = unsafe { shard.bytes(position, mark, &mut self.line_scratch) };
        let line = match mark.client() {
            Some(length) => Line { client: Some(&bytes[..length]), text: &bytes[length..] },
            None => Line { client: None, text: bytes },
        };
        if visit(line) == Visit::Stop {
            return false;
        }
        shard.take(position);
        self.taken[index] += 1;
        true
    }

    fn give_back(&mut self, index: usize) {
        let place = &mut self.places[index];
        let head = place.gaps.first().map_or(place.next, |gap| gap.start);
        if head != place.head {
            place.head = head;
            self.queue.shards[index].give_back(head);
        }
    }
}

#[cfg(all(test, not(loom)))]
impl Consumer {
    /// Continues as [`Shard::begin_at`] has the shards do.
    pub fn begin_at(&mut self, position: u64, lines: u64) {
        for place in &mut self.places {
            (place.next, place.head, place.target) = (position, position, position);
        }
        self.taken.fill(lines);
    }
}

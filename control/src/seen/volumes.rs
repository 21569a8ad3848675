//! The last hour of a client's volume and lag, in memory.
//!
//! Points of ten seconds, 360 of them for a client, 12 bytes each: 4.3 kB for a client that had lines or a consumer since the start, so
//! 43 MB for 10,000 of them. (What edges last counted is kept beside it, see `observe/edges.rs`.)

use crate::names::ClientId;
use crate::store::{Lines, Millis};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// What a point stands for.
const SLOT_MS: Millis = 10_000;
/// Points that are kept.
const SLOTS: usize = 360;
/// Points that are not shown yet: edges tell of them up to ten seconds later.
const OPEN_SLOTS: i64 = 2;
/// For so many points the last lag holds if no new one was seen.
const LAG_HOLDS: i64 = 6;

/// A point of a client's plots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HistoryPoint {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Lines delivered since the point before, on all edges.
    pub delivered: u64,
    /// Lines dropped since then.
    pub dropped: u64,
    /// Lines that the group furthest behind has not read; none without a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<i64>,
}

/// What edges have counted lately.
#[derive(Default)]
pub(crate) struct Volumes {
    /// The number of each known client.
    numbers: HashMap<Arc<str>, u32>,
    clients: Vec<Volume>,
    /// The clients that there are, are known.
    is_ready: bool,
    /// When the first edge was heard of.
    since: Option<Millis>,
}

struct Volume {
    id: Arc<str>,
    /// An edge has a count of it.
    is_counted: bool,
    ring: Option<Box<Ring>>,
}

#[derive(Clone, Copy)]
struct Point {
    delivered: u32,
    dropped: u32,
    /// [`NO_LAG`] for none.
    behind: u32,
}

const NO_LAG: u32 = u32::MAX;
const NOTHING: Point = Point { delivered: 0, dropped: 0, behind: NO_LAG };

struct Ring {
    points: [Point; SLOTS],
    newest: i64,
}

impl Volumes {
    /// Takes the clients that there are; those that were there before keep their numbers.
    pub fn know<'a>(&mut self, ids: impl Iterator<Item = &'a ClientId>) {
        for id in ids {
            if !self.numbers.contains_key(id.as_str()) {
                let Ok(number) = u32::try_from(self.clients.len()) else { return };
                let id: Arc<str> = id.as_str().into();
                self.numbers.insert(Arc::clone(&id), number);
                self.clients.push(Volume { id, is_counted: false, ring: None });
            }
        }
        self.is_ready = true;
    }

    /// Whether it was told which clients there are.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The number of a client that is known.
    pub fn number(&self, id: &str) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    /// The id of that number.
    pub fn id(&self, number: u32) -> Option<Arc<str>> {
        self.clients.get(number as usize).map(|volume| Arc::clone(&volume.id))
    }

    /// An edge is heard of.
    pub fn heard(&mut self, at: Millis) {
        self.since.get_or_insert(at);
    }

    /// An edge has counted lines of this client.
    pub fn counted(&mut self, number: u32) {
        if let Some(volume) = self.clients.get_mut(number as usize) {
            volume.is_counted = true;
        }
    }

    /// Whether an edge has counted lines of it.
    pub fn is_counted(&self, id: &ClientId) -> bool {
        self.number(id.as_str()).is_some_and(|number| self.clients[number as usize].is_counted)
    }

    /// Adds lines that an edge has counted between two times.
    pub fn add(&mut self, number: u32, from: Millis, to: Millis, lines: Lines) {
        if lines == Lines::default() {
            return;
        }
        let Some(volume) = self.clients.get_mut(number as usize) else { return };
        let ring = volume.ring.get_or_insert_with(Ring::new);
        let last = slot(to);
        let first = slot(from).clamp(last - SLOTS as i64 + 1, last);
        let begin = from.max(first * SLOT_MS).min(to);
        let mut left = lines;
        for at in first..=last {
            // What remains in time, of which this point has a share.
            let (start, end) = (begin.max(at * SLOT_MS), to.min((at + 1) * SLOT_MS));
            let (share, of) = (end - start, to - start);
            let part = |lines: u64| if at == last || of <= 0 { lines } else { portion(lines, share, of) };
            let now = Lines { delivered: part(left.delivered), dropped: part(left.dropped) };
            left = Lines { delivered: left.delivered - now.delivered, dropped: left.dropped - now.dropped };
            if let Some(point) = ring.point(at) {
                point.delivered = point.delivered.saturating_add(u32::try_from(now.delivered).unwrap_or(u32::MAX));
                point.dropped = point.dropped.saturating_add(u32::try_from(now.dropped).unwrap_or(u32::MAX));
            }
        }
    }

    /// Notes how far the client's group furthest behind is.
    pub fn lag(&mut self, id: &ClientId, at: Millis, behind: i64) {
        let Some(number) = self.number(id.as_str()) else { return };
        let ring = self.clients[number as usize].ring.get_or_insert_with(Ring::new);
        if let Some(point) = ring.point(slot(at)) {
            point.behind = u32::try_from(behind.max(0)).unwrap_or(NO_LAG - 1).min(NO_LAG - 1);
        }
    }

    /// The points of about the last hour, the oldest first; none before the first acknowledgement since the start.
    pub fn points(&self, id: &ClientId, now: Millis) -> Vec<HistoryPoint> {
        let Some(since) = self.since else { return Vec::new() };
        let ring = self.number(id.as_str()).and_then(|number| self.clients[number as usize].ring.as_ref());
        let last = slot(now) - OPEN_SLOTS;
        // The point in which the counting began lacks what was before.
        let first = (slot(since) + 1).max(last - SLOTS as i64 + 1);
        let mut lag: Option<(i64, u32)> = None;
        (first..=last)
            .map(|at| {
                let point = ring.map_or(NOTHING, |ring| ring.get(at));
                if point.behind != NO_LAG {
                    lag = Some((at, point.behind));
                }
                lag = lag.filter(|(seen, _)| at - seen <= LAG_HOLDS);
                HistoryPoint {
                    at_ms: (at + 1) * SLOT_MS,
                    delivered: point.delivered.into(),
                    dropped: point.dropped.into(),
                    behind: lag.map(|(_, behind)| behind.into()),
                }
            })
            .collect()
    }
}

fn slot(at: Millis) -> i64 {
    at.div_euclid(SLOT_MS)
}

fn portion(lines: u64, share: Millis, of: Millis) -> u64 {
    let (share, of) = (share.clamp(0, of), of);
    u64::try_from(u128::from(lines) * share.unsigned_abs() as u128 / of.unsigned_abs() as u128).unwrap_or(lines)
}

impl Ring {
    fn new() -> Box<Ring> {
        Box::new(Ring { points: [NOTHING; SLOTS], newest: i64::MIN })
    }

    /// To write to; none if it is too old.
    fn point(&mut self, at: i64) -> Option<&mut Point> {
        if self.newest == i64::MIN || at - self.newest >= SLOTS as i64 {
            self.points = [NOTHING; SLOTS];
            self.newest = at;
        }
        while self.newest < at {
            self.newest += 1;
            self.points[place(self.newest)] = NOTHING;
        }
        (self.newest - at < SLOTS as i64).then(|| &mut self.points[place(at)])
    }

    fn get(&self, at: i64) -> Point {
        let age = self.newest.saturating_sub(at);
        if (0..SLOTS as i64).contains(&age) {
            self.points[place(at)]
        } else {
            NOTHING
        }
    }
}

fn place(at: i64) -> usize {
    usize::try_from(at.rem_euclid(SLOTS as i64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Millis = 1_700_000_000_000;

    fn volumes() -> (Volumes, ClientId) {
        let id = ClientId::new("c83").unwrap();
        let mut volumes = Volumes::default();
        volumes.know([&id].into_iter());
        volumes.heard(START);
        (volumes, id)
    }

    fn lines(delivered: u64, dropped: u64) -> Lines {
        Lines { delivered, dropped }
    }

    #[test]
    fn lines_are_spread_over_the_time_in_which_they_were_counted_and_none_is_lost() {
        let (mut volumes, id) = volumes();
        volumes.add(0, START + 15_000, START + 35_000, lines(101, 3));
        let points = volumes.points(&id, START + 100_000);
        let seen: Vec<u64> = points.iter().take(4).map(|point| point.delivered).collect();
        assert_eq!(points[0].at_ms, START + 20_000);
        assert_eq!(seen, [25, 50, 26, 0]);
        assert_eq!(points.iter().map(|point| point.dropped).sum::<u64>(), 3);
        // All at one time, and longer ago than an hour.
        volumes.add(0, START + 40_000, START + 40_000, lines(7, 0));
        volumes.add(0, 0, START + 99_999, lines(360, 0));
        let points = volumes.points(&id, START + 120_000);
        assert_eq!(points[2].delivered, 26 + 1);
        assert_eq!(points[3].delivered, 7 + 1);
    }

    #[test]
    fn an_hour_is_kept_and_lag_holds_for_a_minute() {
        let (mut volumes, id) = volumes();
        for slot in 0..1000 {
            let at = START + slot * SLOT_MS;
            volumes.add(0, at, at + 1, lines(u64::try_from(slot).unwrap(), 0));
        }
        volumes.lag(&id, START + 999 * SLOT_MS, 5);
        let points = volumes.points(&id, START + 1001 * SLOT_MS);
        assert_eq!((points.len(), points[359].delivered, points[0].delivered), (360, 999, 640));
        assert_eq!((points[359].behind, points[358].behind), (Some(5), None));
        let later = volumes.points(&id, START + 1020 * SLOT_MS);
        let lags: Vec<_> = later.iter().filter(|point| point.behind.is_some()).collect();
        assert_eq!((lags.len(), later.len()), (7, 360));
        // After a long silence nothing old comes back.
        volumes.add(0, START + 9000 * SLOT_MS, START + 9000 * SLOT_MS, lines(1, 0));
        let points = volumes.points(&id, START + 9002 * SLOT_MS);
        assert_eq!(points.iter().map(|point| point.delivered).sum::<u64>(), 1);
    }

    #[test]
    fn before_the_first_word_of_an_edge_there_is_nothing_and_then_there_are_zeros() {
        let id = ClientId::new("c83").unwrap();
        let mut volumes = Volumes::default();
        assert!(volumes.points(&id, START).is_empty());
        volumes.heard(START);
        assert!(volumes.points(&id, START + 1).is_empty());
        assert_eq!(volumes.points(&id, START + 60_000).len(), 4);
        assert!(!volumes.is_counted(&id));
    }

    #[test]
    fn a_ring_is_as_small_as_said() {
        assert_eq!(std::mem::size_of::<Ring>(), 360 * 12 + 8);
    }
}

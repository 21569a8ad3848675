//! Clients' topics and who reads them, as they were seen last.

use crate::error::{Error, Result};
use crate::kafka::groups::{Extent, Place};
use crate::names::ClientId;
use crate::store::Millis;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// Groups for which it is looked when their oldest unread line was written.
const MOST_TIMED: usize = 5;

/// The names of all groups.
pub(crate) struct Listing {
    /// By the client whose they are.
    pub of: HashMap<ClientId, Vec<String>>,
    /// Why some may be missing.
    pub missed: Option<Error>,
}

/// A group of a client's.
#[derive(Clone, Debug)]
pub(crate) struct GroupSeen {
    pub place: Place,
    pub members: usize,
    pub behind: i64,
    /// When its place was asked for.
    pub asked: Instant,
}

/// A client's groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupsSeen {
    pub extents: BTreeMap<i32, Extent>,
    /// Those with members first.
    pub groups: Vec<GroupSeen>,
    /// When a consumer of its was last seen to get ahead.
    pub good_at: Option<Millis>,
    /// It was when this was seen.
    pub is_good: bool,
    /// Generations that members say they have.
    pub generations: BTreeSet<u32>,
    /// A member says none.
    pub has_unnamed: bool,
    /// It has more groups than are looked at.
    pub has_more: bool,
}

impl GroupsSeen {
    /// Lines that the group furthest behind has not read.
    pub fn lag(&self) -> Option<i64> {
        self.groups.iter().map(|group| group.behind).max()
    }

    pub fn group(&self, name: &str) -> Option<&GroupSeen> {
        self.groups.iter().find(|group| group.place.group == name)
    }

    /// Compares with what was seen before.
    pub fn finish(&mut self, before: Option<&GroupsSeen>, at: Millis) {
        for group in &mut self.groups {
            group.behind = group.place.behind(&self.extents);
        }
        self.groups.sort_by(|a, b| (a.members == 0, &a.place.group).cmp(&(b.members == 0, &b.place.group)));
        self.is_good = self.groups.iter().any(|group| {
            let before = before.and_then(|before| before.group(&group.place.group));
            let is_ahead = before.is_some_and(|before| group.place.next != before.place.next);
            group.members > 0 && !group.place.next.is_empty() && (group.behind == 0 || is_ahead)
        });
        self.good_at = if self.is_good { Some(at) } else { before.and_then(|before| before.good_at) };
    }

    /// Where the oldest line of each partition is, and the oldest that each group has not read.
    pub fn places(&self) -> BTreeSet<(i32, i64)> {
        let oldest = self.extents.iter().filter(|(_, extent)| extent.end > extent.start);
        let mut places: BTreeSet<(i32, i64)> = oldest.map(|(partition, extent)| (*partition, extent.start)).collect();
        for group in self.groups.iter().filter(|group| group.behind > 0).take(MOST_TIMED) {
            places.extend(unread(group, &self.extents));
        }
        places
    }
}

/// The places of a group in the partitions that it has not read to their end.
fn unread<'a>(group: &'a GroupSeen, extents: &'a BTreeMap<i32, Extent>) -> impl Iterator<Item = (i32, i64)> + 'a {
    extents.iter().filter_map(|(partition, extent)| {
        let next = group.place.next.get(partition).copied().unwrap_or(extent.start).max(extent.start);
        (next < extent.end).then_some((*partition, next))
    })
}

/// The last look at a client's topic and groups, kept for those who ask soon.
pub(crate) struct Look {
    pub at: Instant,
    pub result: Result<Arc<TopicSeen>>,
}

/// A client's topic and groups.
#[derive(Default)]
pub(crate) struct TopicSeen {
    pub groups: GroupsSeen,
    /// When the records at these partitions and offsets were written.
    pub times: BTreeMap<(i32, i64), Millis>,
}

impl TopicSeen {
    pub fn lines(&self) -> i64 {
        self.groups.extents.values().map(|extent| (extent.end - extent.start).max(0)).sum()
    }

    /// When the oldest line was written.
    pub fn oldest(&self) -> Option<Millis> {
        let extents = &self.groups.extents;
        let at = |(partition, extent): (&i32, &Extent)| self.times.get(&(*partition, extent.start)).copied();
        extents.iter().filter_map(at).min()
    }

    /// When the oldest line was written that a group has not read.
    pub fn oldest_unread(&self, group: &GroupSeen) -> Option<Millis> {
        unread(group, &self.groups.extents).filter_map(|place| self.times.get(&place)).min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(members: usize, next: &[(i32, i64)], end: i64) -> GroupsSeen {
        let place = Place { group: "c8:a".into(), next: next.iter().copied().collect() };
        let group = GroupSeen { place, members, behind: 0, asked: Instant::now() };
        let extents = BTreeMap::from([(0, Extent { start: 0, end })]);
        GroupsSeen { extents, groups: vec![group], ..GroupsSeen::default() }
    }

    #[test]
    fn a_consumer_is_well_while_it_gets_ahead_or_has_read_all() {
        let mut first = seen(1, &[(0, 5)], 10);
        first.finish(None, 1);
        assert!(!first.is_good && first.groups[0].behind == 5);
        let mut second = seen(1, &[(0, 7)], 10);
        second.finish(Some(&first), 2);
        assert_eq!((second.is_good, second.good_at), (true, Some(2)));
        let mut third = seen(1, &[(0, 7)], 10);
        third.finish(Some(&second), 3);
        assert_eq!((third.is_good, third.good_at), (false, Some(2)));
        let mut all = seen(1, &[(0, 10)], 10);
        all.finish(None, 4);
        assert!(all.is_good);
        for not in [seen(0, &[(0, 10)], 10), seen(1, &[], 0)] {
            let mut not = not;
            not.finish(None, 5);
            assert!(!not.is_good);
        }
    }
}

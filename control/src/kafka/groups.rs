//! How far a client's consumers are, and how far there is to read.

use super::admin::{Admin, OffsetAt};
use crate::error::Result;
use crate::names::ClientId;
use std::collections::{BTreeMap, HashMap};

/// A partition of a client's topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset of the oldest record that is still there.
    pub start: i64,
    /// Offset of the next record to be written.
    pub end: i64,
}

/// A consumer group's place in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The group.
    pub group: String,
    /// By partition, the offset of the next record it will read; a partition for which it has committed nothing is left out.
    pub next: BTreeMap<i32, i64>,
}

impl Place {
    /// Records that the group has not read yet; where it has committed nothing, all there are.
    pub fn behind(&self, topic: &BTreeMap<i32, Extent>) -> i64 {
        topic
            .iter()
            .map(|(partition, extent)| {
                let next = self.next.get(partition).copied().unwrap_or(extent.start);
                (extent.end - next.max(extent.start)).max(0)
            })
            .sum()
    }
}

/// The client's groups among `groups`, as [`Admin::list_groups`] gives them.
pub fn of_client<'a>(id: &ClientId, groups: &'a [String]) -> impl Iterator<Item = &'a String> {
    let prefix = id.group_prefix();
    groups.iter().filter(move |group| group.starts_with(&prefix))
}

/// Whether groups may be looked at: Kafka leaves those that may not out of its lists without a word.
///
/// # Errors
/// Those of the request.
pub fn may_look(admin: &Admin) -> Result<bool> {
    // No client's: those have a colon in their names. It need not be there.
    const PROBE: &str = "tel-control";
    admin.may_describe_group(PROBE)
}

/// What there is to read in the topic.
///
/// # Errors
/// Those of the requests.
pub fn extents(admin: &Admin, topic: &str, partitions: i32) -> Result<BTreeMap<i32, Extent>> {
    let mut extents = extents_of(admin, &[(topic.to_owned(), partitions)])?;
    Ok(extents.remove(topic).unwrap_or_default())
}

/// What there is to read in topics, given with how many partitions they have.
///
/// # Errors
/// Those of the requests.
pub fn extents_of(admin: &Admin, topics: &[(String, i32)]) -> Result<HashMap<String, BTreeMap<i32, Extent>>> {
    let starts = admin.offsets(topics, OffsetAt::Start)?;
    let ends = admin.offsets(topics, OffsetAt::End)?;
    let both = |topic: &String, ends: BTreeMap<i32, i64>| -> BTreeMap<i32, Extent> {
        let starts = starts.get(topic);
        ends.into_iter()
            .filter_map(|(partition, end)| Some((partition, Extent { start: *starts?.get(&partition)?, end })))
            .collect()
    };
    Ok(ends
        .into_iter()
        .map(|(topic, ends)| {
            let extents = both(&topic, ends);
            (topic, extents)
        })
        .collect())
}

/// Where the group is in the topic.
///
/// # Errors
/// Those of the request.
pub fn place(admin: &Admin, group: &str, topic: &str, partitions: i32) -> Result<Place> {
    Ok(Place { group: group.to_owned(), next: admin.committed_offsets(group, topic, partitions)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_of_the_client_s_own_prefix_count() {
        let groups = ["c8:a", "c83:a", "c8", "c8_x:a", "c8-2:a", "c8:"].map(str::to_owned);
        let of = |id| of_client(&ClientId::new(id).unwrap(), &groups).map(String::as_str).collect::<Vec<_>>();
        assert_eq!(of("c8"), ["c8:a", "c8:"]);
        assert_eq!(of("c83"), ["c83:a"]);
    }

    #[test]
    fn what_is_gone_is_not_behind() {
        let topic = BTreeMap::from([(0, Extent { start: 10, end: 15 }), (1, Extent { start: 0, end: 4 })]);
        let place = Place { group: "c8:a".into(), next: BTreeMap::from([(0, 3)]) };
        assert_eq!(place.behind(&topic), 5 + 4);
    }
}

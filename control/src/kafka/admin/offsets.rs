//! Offsets: how far groups are, and how far there is to read.

use super::native::{c_string, elements, failure, string, Owned};
use super::{Admin, BATCH};
use crate::error::Result;
use rdkafka::bindings as ffi;
use std::collections::{BTreeMap, HashMap};

/// Which offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetAt {
    /// That of the oldest record.
    Start,
    /// That of the next record to be written.
    End,
}

impl Admin {
    /// The offsets that the group has committed for the topic, by partition: each that of the next record it will read.
    ///
    /// # Errors
    /// The request's own.
    pub fn committed_offsets(&self, group: &str, topic: &str, partitions: i32) -> Result<BTreeMap<i32, i64>> {
        let what = || format!("offsets of group {group}");
        let mut list = Partitions::new(partitions);
        list.add(topic, partitions, None)?;
        let text = c_string("group", group)?;
        let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
        // SAFETY: the group's name and list are copied; the object is released once; the one call is the one named; the answer is
        // read while it lives.
        unsafe {
            let mut of = Owned::new(ffi::rd_kafka_ListConsumerGroupOffsets_destroy);
            of.push(ffi::rd_kafka_ListConsumerGroupOffsets_new(text.as_ptr(), list.0), &what(), &[0])?;
            let array = of.as_mut_ptr();
            let event = self
                .client
                .call(&ask, |client, options, queue| {
                    ffi::rd_kafka_ListConsumerGroupOffsets(client, array, 1, options, queue)
                })
                .map_err(|failure| failure.error(what(), "Describe on the group"))?;
            let result = ffi::rd_kafka_event_ListConsumerGroupOffsets_result(event.ptr());
            let mut count = 0;
            let groups = ffi::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
            let mut offsets = BTreeMap::new();
            for group in elements(groups, count) {
                if let Some(failure) = failure(ffi::rd_kafka_group_result_error(group)) {
                    return Err(failure.error(what(), "Describe on the group"));
                }
                let list = ffi::rd_kafka_group_result_partitions(group);
                for partition in read_partitions(list).filter(|partition| partition.1 >= 0) {
                    offsets.insert(partition.0, partition.1);
                }
            }
            Ok(offsets)
        }
    }

    /// An offset of each of the topic's partitions; those without an answer are left out.
    ///
    /// # Errors
    /// The request's own.
    pub fn topic_offsets(&self, topic: &str, partitions: i32, at: OffsetAt) -> Result<BTreeMap<i32, i64>> {
        let mut offsets = self.offsets(&[(topic.to_owned(), partitions)], at)?;
        Ok(offsets.remove(topic).unwrap_or_default())
    }

    /// An offset of each partition of topics, given with how many they have; those without an answer are left out.
    ///
    /// # Errors
    /// A request's own.
    pub fn offsets(&self, topics: &[(String, i32)], at: OffsetAt) -> Result<HashMap<String, BTreeMap<i32, i64>>> {
        let at = match at {
            OffsetAt::Start => ffi::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST,
            OffsetAt::End => ffi::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST,
        };
        let mut offsets: HashMap<String, BTreeMap<i32, i64>> = HashMap::with_capacity(topics.len());
        for topics in topics.chunks(BATCH) {
            let what = || match topics {
                [(topic, _)] => format!("offsets of topic {topic}"),
                _ => format!("offsets of {} topics", topics.len()),
            };
            let mut list = Partitions::new(topics.iter().map(|(_, partitions)| *partitions).sum());
            for (topic, partitions) in topics {
                list.add(topic, *partitions, Some(at as i64))?;
            }
            let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS);
            // SAFETY: the list is copied; the one call is the one named; the answer is read while it lives.
            unsafe {
                let event = self
                    .client
                    .call(&ask, |client, options, queue| ffi::rd_kafka_ListOffsets(client, list.0, options, queue))
                    .map_err(|failure| failure.error(what(), "Describe on them"))?;
                let result = ffi::rd_kafka_event_ListOffsets_result(event.ptr());
                let mut count = 0;
                let infos = ffi::rd_kafka_ListOffsets_result_infos(result, &mut count);
                for info in elements(infos, count) {
                    let partition = ffi::rd_kafka_ListOffsetsResultInfo_topic_partition(info);
                    if !partition.is_null() && (*partition).offset >= 0 {
                        let of_topic = offsets.entry(string((*partition).topic)).or_default();
                        of_topic.insert((*partition).partition, (*partition).offset);
                    }
                }
            }
        }
        Ok(offsets)
    }
}

/// A list of partitions of librdkafka's.
struct Partitions(*mut ffi::rd_kafka_topic_partition_list_t);

impl Partitions {
    fn new(room: i32) -> Partitions {
        // SAFETY: a new list, this value's own.
        Partitions(unsafe { ffi::rd_kafka_topic_partition_list_new(room.max(0)) })
    }

    /// Adds the first `count` partitions of the topic.
    fn add(&mut self, topic: &str, count: i32, offset: Option<i64>) -> Result<()> {
        let topic = c_string("topic", topic)?;
        for partition in 0..count {
            // SAFETY: the list lives; the name is copied; what is returned lives in the list until something more is added.
            unsafe {
                let added = ffi::rd_kafka_topic_partition_list_add(self.0, topic.as_ptr(), partition);
                if let Some(offset) = offset {
                    (*added).offset = offset;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        // SAFETY: this value's own.
        unsafe { ffi::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// # Safety
/// `list` is null or a valid list that lives as long as `'a`.
unsafe fn read_partitions<'a>(
    list: *const ffi::rd_kafka_topic_partition_list_t,
) -> impl Iterator<Item = (i32, i64)> + 'a {
    // SAFETY: the caller's promise. The fields are read one by one, since the error among them may be no value of its type.
    unsafe {
        let (first, count) = if list.is_null() { (std::ptr::null_mut(), 0) } else { ((*list).elems, (*list).cnt) };
        (0..usize::try_from(count).unwrap_or(0)).map(move |index| {
            let partition = first.add(index);
            ((*partition).partition, (*partition).offset)
        })
    }
}

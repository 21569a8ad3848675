//! Topics: what is there, new ones, more partitions, deletion.

use super::native::{c_string, codes, elements, failure, failure_of, string, Owned};
use super::{distinct, spread, Admin, Operation, BATCH};
use crate::error::{Error, Kind, Result};
use rdkafka::bindings as ffi;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{c_char, c_int};
use std::fmt;

/// A topic's identity, which no later topic of the same name has; in the form that Kafka's own tools print.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(String);

impl TopicId {
    /// The id that `text` says, in either of base64's alphabets: librdkafka prints the other one.
    pub fn from_text(text: &str) -> TopicId {
        TopicId(text.trim_end_matches('=').replace('+', "-").replace('/', "_"))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its text as librdkafka prints it, and so as edges know it.
    pub fn librdkafka_text(&self) -> String {
        self.0.replace('-', "+").replace('_', "/")
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A topic that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// The fewest replicas of a partition.
    pub replication: i32,
    /// How many partitions have no leader: nothing can be written to or read from these.
    pub without_leader: i32,
    /// What this client may do with it, if that was asked for.
    pub allowed: Vec<Operation>,
}

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its partitions; -1 for the brokers' default.
    pub partitions: i32,
    /// Its replicas; -1 for the brokers' default.
    pub replication: i32,
    /// Its own settings.
    pub config: BTreeMap<String, String>,
}

/// What became of a topic to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made.
    New,
    /// There was one of that name, of whatever kind; it is as it was.
    Existed,
}

impl Admin {
    /// What there is of these names; `NotFound` for what is not there.
    ///
    /// # Errors
    /// The request's own.
    pub fn describe_topics(&self, names: &[String]) -> Result<Vec<Result<Topic>>> {
        self.describe(names, false)
    }

    /// The same with what this client may do with each.
    ///
    /// # Errors
    /// The request's own.
    pub fn topic_rights(&self, names: &[String]) -> Result<Vec<Result<Topic>>> {
        self.describe(names, true)
    }

    fn describe(&self, names: &[String], rights: bool) -> Result<Vec<Result<Topic>>> {
        let (once, which) = distinct(names);
        let mut answers = Vec::with_capacity(once.len());
        for names in once.chunks(BATCH) {
            let texts = names.iter().map(|name| c_string("topic", name)).collect::<Result<Vec<_>>>()?;
            let mut pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
            let mut ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
            ask.rights = rights;
            // SAFETY: the collection copies the names and is released once; the one call is the one named. What is read from the
            // answer is copied while it lives.
            let mut found = unsafe {
                let mut collection = Owned::new(ffi::rd_kafka_TopicCollection_destroy);
                let made = ffi::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
                let made = collection.push(made, "topics", &[0])?;
                let event = self
                    .client
                    .call(&ask, |client, options, queue| ffi::rd_kafka_DescribeTopics(client, made, options, queue))
                    .map_err(|failure| failure.error("describing topics", "Describe on them"))?;
                let mut count = 0;
                let result = ffi::rd_kafka_event_DescribeTopics_result(event.ptr());
                let topics = ffi::rd_kafka_DescribeTopics_result_topics(result, &mut count);
                elements(topics, count).map(|topic| read_topic(topic)).collect::<HashMap<_, _>>()
            };
            answers.extend(names.iter().map(|name| {
                found.remove(name.as_str()).unwrap_or_else(|| Err(Error::not_found(format!("topic {name}: no answer"))))
            }));
        }
        Ok(spread(answers, which))
    }

    /// Makes topics. Brokers may hear of them a little later than the controller that has answered.
    ///
    /// # Errors
    /// The request's own.
    pub fn create_topics(&self, topics: &[NewTopic]) -> Result<Vec<Result<Created>>> {
        let mut answers = Vec::with_capacity(topics.len());
        for topics in topics.chunks(BATCH) {
            let mut new = Owned::new(ffi::rd_kafka_NewTopic_destroy);
            for topic in topics {
                let name = c_string("topic", &topic.name)?;
                let mut why = [0 as c_char; 256];
                // SAFETY: texts are copied and ended with NUL; `why` has the size that is told; the object is released once.
                unsafe {
                    let made = ffi::rd_kafka_NewTopic_new(
                        name.as_ptr(),
                        topic.partitions,
                        topic.replication,
                        why.as_mut_ptr(),
                        why.len(),
                    );
                    let made = new.push(made, &format!("topic {}", topic.name), &why)?;
                    for (key, value) in &topic.config {
                        let (key, value) = (c_string("setting", key)?, c_string("setting", value)?);
                        ffi::rd_kafka_NewTopic_set_config(made, key.as_ptr(), value.as_ptr());
                    }
                }
            }
            let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS);
            // SAFETY: the array has as many objects as is told, the one call is the one named, and the answer is read while it lives.
            let mut found = unsafe {
                let (array, count) = (new.as_mut_ptr(), new.len());
                let event = self
                    .client
                    .call(&ask, |client, options, queue| {
                        ffi::rd_kafka_CreateTopics(client, array, count, options, queue)
                    })
                    .map_err(|failure| failure.error("creating topics", "Create on the cluster"))?;
                let mut count = 0;
                let result = ffi::rd_kafka_event_CreateTopics_result(event.ptr());
                let topics = ffi::rd_kafka_CreateTopics_result_topics(result, &mut count);
                read_results(topics, count, "Create on it")
            };
            answers.extend(topics.iter().map(|topic| match answer(&mut found, &topic.name) {
                Ok(()) => Ok(Created::New),
                Err(error) if error.kind == Kind::Conflict => Ok(Created::Existed),
                Err(error) => Err(error),
            }));
        }
        Ok(answers)
    }

    /// Deletes topics by name: whoever calls this has compared their ids. One that is not there is `NotFound`.
    ///
    /// # Errors
    /// The request's own.
    pub(in crate::kafka) fn delete_topics(&self, names: &[String]) -> Result<Vec<Result<()>>> {
        let (once, which) = distinct(names);
        let mut answers = Vec::with_capacity(once.len());
        for names in once.chunks(BATCH) {
            let mut old = Owned::new(ffi::rd_kafka_DeleteTopic_destroy);
            for name in names {
                let text = c_string("topic", name)?;
                // SAFETY: the text is copied; the object is released once.
                unsafe { old.push(ffi::rd_kafka_DeleteTopic_new(text.as_ptr()), &format!("topic {name}"), &[0])? };
            }
            let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS);
            // SAFETY: as in `create_topics`.
            let mut found = unsafe {
                let (array, count) = (old.as_mut_ptr(), old.len());
                let event = self
                    .client
                    .call(&ask, |client, options, queue| {
                        ffi::rd_kafka_DeleteTopics(client, array, count, options, queue)
                    })
                    .map_err(|failure| failure.error("deleting topics", "Delete on them"))?;
                let mut count = 0;
                let result = ffi::rd_kafka_event_DeleteTopics_result(event.ptr());
                let topics = ffi::rd_kafka_DeleteTopics_result_topics(result, &mut count);
                read_results(topics, count, "Delete on it")
            };
            answers.extend(names.iter().map(|name| answer(&mut found, name)));
        }
        Ok(spread(answers, which))
    }

    /// Gives topics as many partitions in all; there are never fewer than before.
    ///
    /// # Errors
    /// The request's own.
    pub fn create_partitions(&self, topics: &[(String, i32)]) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::with_capacity(topics.len());
        for topics in topics.chunks(BATCH) {
            let mut new = Owned::new(ffi::rd_kafka_NewPartitions_destroy);
            for (name, total) in topics {
                let (text, mut why) = (c_string("topic", name)?, [0 as c_char; 256]);
                // SAFETY: the text is copied; `why` has the size that is told; the object is released once.
                unsafe {
                    let total = usize::try_from(*total).unwrap_or(0);
                    let made = ffi::rd_kafka_NewPartitions_new(text.as_ptr(), total, why.as_mut_ptr(), why.len());
                    new.push(made, &format!("topic {name}"), &why)?;
                }
            }
            let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS);
            // SAFETY: as in `create_topics`.
            let mut found = unsafe {
                let (array, count) = (new.as_mut_ptr(), new.len());
                let event = self
                    .client
                    .call(&ask, |client, options, queue| {
                        ffi::rd_kafka_CreatePartitions(client, array, count, options, queue)
                    })
                    .map_err(|failure| failure.error("adding partitions", "Alter on the topics"))?;
                let mut count = 0;
                let result = ffi::rd_kafka_event_CreatePartitions_result(event.ptr());
                let topics = ffi::rd_kafka_CreatePartitions_result_topics(result, &mut count);
                read_results(topics, count, "Alter on it")
            };
            answers.extend(topics.iter().map(|(name, _)| answer(&mut found, name)));
        }
        Ok(answers)
    }
}

fn answer(found: &mut HashMap<String, Result<()>>, name: &str) -> Result<()> {
    found.remove(name).unwrap_or_else(|| Err(Error::unavailable(format!("topic {name}: no answer"))))
}

/// # Safety
/// `array` has `count` results, all valid.
unsafe fn read_results(
    array: *mut *const ffi::rd_kafka_topic_result_t,
    count: usize,
    right: &str,
) -> HashMap<String, Result<()>> {
    let read = |result| {
        // SAFETY: a valid result, whose texts live as long as it does.
        unsafe {
            let name = string(ffi::rd_kafka_topic_result_name(result));
            let code = codes::rd_kafka_topic_result_error(result);
            let failure = failure_of(code, ffi::rd_kafka_topic_result_error_string(result));
            let answer = failure.map_or(Ok(()), |failure| Err(failure.error(format!("topic {name}"), right)));
            (name, answer)
        }
    };
    // SAFETY: the caller's promise.
    unsafe { elements(array, count) }.map(read).collect()
}

/// # Safety
/// `topic` is valid.
unsafe fn read_topic(topic: *const ffi::rd_kafka_TopicDescription_t) -> (String, Result<Topic>) {
    // SAFETY: a valid description; all that is read from it lives as long as it does.
    unsafe {
        let name = string(ffi::rd_kafka_TopicDescription_name(topic));
        if let Some(failure) = failure(ffi::rd_kafka_TopicDescription_error(topic)) {
            let error = failure.error(format!("topic {name}"), "Describe on it");
            return (name, Err(error));
        }
        let (mut count, mut replication, mut without_leader) = (0, i32::MAX, 0);
        let partitions = ffi::rd_kafka_TopicDescription_partitions(topic, &mut count);
        for partition in elements(partitions, count) {
            let mut replicas = 0;
            ffi::rd_kafka_TopicPartitionInfo_replicas(partition, &mut replicas);
            replication = replication.min(i32::try_from(replicas).unwrap_or(i32::MAX));
            without_leader += i32::from(ffi::rd_kafka_TopicPartitionInfo_leader(partition).is_null());
        }
        let id = ffi::rd_kafka_TopicDescription_topic_id(topic);
        let id = if id.is_null() { String::new() } else { string(ffi::rd_kafka_Uuid_base64str(id)) };
        let mut rights = 0;
        let allowed = ffi::rd_kafka_TopicDescription_authorized_operations(topic, &mut rights);
        let topic = Topic {
            id: TopicId::from_text(&id),
            partitions: i32::try_from(count).unwrap_or(i32::MAX),
            replication: if count == 0 { 0 } else { replication },
            without_leader,
            allowed: read_operations(allowed, rights),
            name: name.clone(),
        };
        (name, Ok(topic))
    }
}

/// # Safety
/// `operations` is null or has `count` elements.
pub(super) unsafe fn read_operations(operations: *const ffi::rd_kafka_AclOperation_t, count: usize) -> Vec<Operation> {
    // "Not asked for" is null and a count of -1.
    if operations.is_null() || count > 64 {
        return Vec::new();
    }
    // SAFETY: the caller's promise; the enumeration is a C int, which is read as such.
    let numbers = unsafe { std::slice::from_raw_parts(operations.cast::<c_int>(), count) };
    numbers.iter().map(|number| Operation::from_number(*number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_in_both_alphabets() {
        assert_eq!(TopicId::from_text("a+b/c=="), TopicId::from_text("a-b_c"));
        assert_eq!(TopicId::from_text("a-b_c").librdkafka_text(), "a+b/c");
    }
}

//! Consumer groups: which there are, and who is in them.

use super::native::{c_string, elements, failure, string, Failure};
use super::{distinct, spread, Admin};
use crate::error::{Error, Result};
use rdkafka::bindings as ffi;
use rdkafka::types::RDKafkaErrorCode;
use std::collections::HashMap;
use std::ffi::c_char;

/// Groups in one call; each is a request of its own to its coordinator, all under way at once.
const GROUPS: usize = 200;

/// The names of consumer groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupNames {
    /// All that could be seen.
    pub names: Vec<String>,
    /// Why some may be missing, such as a broker that did not answer.
    pub missed: Option<Error>,
}

/// A consumer in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it calls itself: its own word.
    pub client_id: String,
    /// From where it is connected.
    pub host: String,
}

impl Admin {
    /// The names of all consumer groups that this client may see. Of those that it may not, Kafka says nothing.
    ///
    /// # Errors
    /// The request's own.
    pub fn list_groups(&self) -> Result<GroupNames> {
        const RIGHT: &str = "Describe on the cluster or the groups";
        let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS);
        // SAFETY: the one call is the one named; the answer is read while it lives.
        unsafe {
            let event = self
                .client
                .call(&ask, |client, options, queue| ffi::rd_kafka_ListConsumerGroups(client, options, queue))
                .map_err(|failure| failure.error("listing consumer groups", RIGHT))?;
            let result = ffi::rd_kafka_event_ListConsumerGroups_result(event.ptr());
            let mut count = 0;
            let groups = ffi::rd_kafka_ListConsumerGroups_result_valid(result, &mut count);
            let names: Vec<String> = elements(groups, count)
                .map(|group| string(ffi::rd_kafka_ConsumerGroupListing_group_id(group)))
                .collect();
            let errors = ffi::rd_kafka_ListConsumerGroups_result_errors(result, &mut count);
            let failure = elements(errors, count).find_map(|error| failure(error));
            match failure.map(|failure| failure.error("listing consumer groups", RIGHT)) {
                Some(error) if names.is_empty() => Err(error),
                missed => Ok(GroupNames { names, missed }),
            }
        }
    }

    /// Who is in each of these groups now.
    ///
    /// # Errors
    /// The request's own.
    pub fn describe_groups(&self, names: &[String]) -> Result<Vec<Result<Vec<Member>>>> {
        let (once, which) = distinct(names);
        let mut answers = Vec::with_capacity(once.len());
        for names in once.chunks(GROUPS) {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            let mut found = self.members_of(&names)?;
            answers.extend(names.into_iter().map(|name| match found.remove(name) {
                Some(found) => found.map_err(|failure| failure.error(format!("group {name}"), "Describe on it")),
                None => Err(no_answer(name)),
            }));
        }
        Ok(spread(answers, which))
    }

    /// Whether this client may describe the group of this name, which need not be there.
    ///
    /// # Errors
    /// The request's own, and that of the group's coordinator.
    pub fn may_describe_group(&self, name: &str) -> Result<bool> {
        let failure = match self.members_of(&[name])?.remove(name) {
            Some(Ok(_)) => return Ok(true),
            Some(Err(failure)) => failure,
            None => return Err(no_answer(name)),
        };
        match failure.code {
            code if code == RDKafkaErrorCode::GroupAuthorizationFailed as i32 => Ok(false),
            code if code == RDKafkaErrorCode::GroupIdNotFound as i32 => Ok(true),
            _ => Err(failure.error(format!("group {name}"), "Describe on it")),
        }
    }

    fn members_of(&self, names: &[&str]) -> Result<HashMap<String, Described>> {
        let texts = names.iter().map(|name| c_string("group", name)).collect::<Result<Vec<_>>>()?;
        let mut pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
        let (array, count) = (pointers.as_mut_ptr(), pointers.len());
        // SAFETY: the names are copied; the one call is the one named; the answer is read while it lives.
        unsafe {
            let event = self
                .client
                .call(&ask, |client, options, queue| {
                    ffi::rd_kafka_DescribeConsumerGroups(client, array, count, options, queue)
                })
                .map_err(|failure| failure.error("describing consumer groups", "Describe on them"))?;
            let result = ffi::rd_kafka_event_DescribeConsumerGroups_result(event.ptr());
            let mut count = 0;
            let groups = ffi::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
            Ok(elements(groups, count).map(|group| read_group(group)).collect())
        }
    }
}

/// The members of a group, or why they are not known.
type Described = std::result::Result<Vec<Member>, Failure>;

fn no_answer(name: &str) -> Error {
    Error::unavailable(format!("group {name}: no answer"))
}

/// # Safety
/// `group` is a valid description.
unsafe fn read_group(group: *const ffi::rd_kafka_ConsumerGroupDescription_t) -> (String, Described) {
    // SAFETY: the caller's promise; texts live as long as the description, and there are as many members as it says.
    unsafe {
        let name = string(ffi::rd_kafka_ConsumerGroupDescription_group_id(group));
        if let Some(failure) = failure(ffi::rd_kafka_ConsumerGroupDescription_error(group)) {
            return (name, Err(failure));
        }
        let count = ffi::rd_kafka_ConsumerGroupDescription_member_count(group);
        let members = (0..count)
            .map(|index| ffi::rd_kafka_ConsumerGroupDescription_member(group, index))
            .filter(|member| !member.is_null())
            .map(|member| Member {
                client_id: string(ffi::rd_kafka_MemberDescription_client_id(member)),
                host: string(ffi::rd_kafka_MemberDescription_host(member)),
            })
            .collect();
        (name, Ok(members))
    }
}

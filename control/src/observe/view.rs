//! What is told of a client's reading.

use serde::Serialize;
use utoipa::ToSchema;

/// A client's reading in one word, for a person who asks "why do I see nothing?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Not all of the service is there yet: edges are still updating, or a step is not done.
    Updating,
    /// A consumer of its is refused by Kafka; [`RefusalView`] says why.
    Refused,
    /// The service is there, and no edge has had a line with this id.
    NoTraffic,
    /// There are lines, and nobody reads them.
    NoConsumer,
    /// Somebody reads, and is so far behind that lines may be deleted before they are read.
    Behind,
    /// Somebody reads, and keeps up.
    Reading,
}

/// How far a client's consumers are.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ReadingView {
    /// In one word.
    pub verdict: Verdict,
    /// Lines in the topic now.
    pub lines: i64,
    /// When the oldest of them was written; none in an empty topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_at: Option<String>,
    /// For how long lines are kept, in milliseconds.
    pub retention_ms: u64,
    /// Its consumer groups.
    pub groups: Vec<GroupView>,
    /// The latest refusal of one of its consumers in the last ten minutes, if the brokers' authorizer logs can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RefusalView>,
    /// Whether refusals would be seen.
    pub sees_refusals: bool,
}

/// A consumer group of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct GroupView {
    /// Its name.
    pub group: String,
    /// Consumers in it now.
    pub members: usize,
    /// Lines that it has not read yet.
    pub behind: i64,
    /// If it reads nothing from now on, it loses its first line in so many milliseconds; none if it has read all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loses_in_ms: Option<u64>,
}

/// A refusal by Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RefusalView {
    /// When.
    pub at: String,
    /// Which of the client's credentials.
    pub generation: u32,
    /// From where.
    pub host: String,
    /// `group`, `topic`, or another kind of resource, in lower case.
    pub resource: String,
    /// The resource's name.
    pub name: String,
    /// What is wrong and what to do, in a sentence.
    pub why: String,
}

/// A line of a client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LineView {
    /// When it was handed to Kafka, in milliseconds since 1970.
    pub at_ms: i64,
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its text; what is not UTF-8 is replaced.
    pub text: String,
}

//! What is seen of the following from outside.

use serde::{Deserialize, Serialize};

/// A moment of it. Times are in milliseconds since 1970, 0 if it was never.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct View {
    pub edge: String,
    pub topic: String,
    pub topic_id: String,
    /// Up to where the topic was read.
    pub read_offset: i64,
    /// Up to where it is in the list that is written.
    pub offset: i64,
    /// The end that was seen at the start is reached.
    pub is_at_end: bool,
    /// Clients in the list that is written.
    pub clients: u64,
    pub revision: u64,
    pub writes: u64,
    pub written_unix_ms: u64,
    /// When Kafka was last heard of.
    pub heard_unix_ms: u64,
    /// Keys whose record is no client's now, and the first of them.
    pub rejected: u64,
    pub rejected_keys: Vec<String>,
    /// Bad records in all, since the topic was last read from its beginning.
    pub skipped: u64,
    pub acks: u64,
    pub acks_failed: u64,
    /// Why the list that was read is not written; empty if it is.
    pub refused: String,
    /// Why it cannot be written; empty if it can.
    pub unwritten: String,
    /// Why it cannot be read; empty if it can.
    pub trouble: String,
}

impl View {
    /// Rejected keys that are named.
    pub const MOST_KEYS: usize = 10;

    /// What keeps the list from being the one in the topic; empty if it is.
    pub fn trouble(&self) -> String {
        let reading = if self.is_at_end { "" } else { "the list has not been read to its end" };
        let all = [&self.refused, &self.unwritten, &self.trouble].map(String::as_str).into_iter().chain([reading]);
        all.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

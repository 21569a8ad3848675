//! The client list: parsed, validated, and turned into a table that is swapped whole.

use crate::error::{Error, Result};
use crate::split::is_id;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Longest topic name Kafka takes.
const MAX_TOPIC_BYTES: usize = 249;
/// Bad entries described one by one in the log; the rest is a number.
const DESCRIBED: usize = 5;

/// A client that has the service.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Its id: the first word of its lines.
    pub id: String,
    /// The Kafka topic that its lines go to.
    pub topic: Arc<str>,
    /// The share of its lines that is sent, 0 to 1.
    pub sample: f64,
    /// At most so many lines a second are sent.
    pub max_lines_per_second: Option<f64>,
}

/// A client list that was understood.
#[derive(Clone, Debug, Default)]
pub struct ClientList {
    /// The list's own number, if it has one.
    pub revision: Option<u64>,
    /// The good entries.
    pub clients: Vec<Client>,
    /// Number of entries left out.
    pub rejected: u64,
    /// Why, for the first few.
    pub reasons: Vec<String>,
}

impl ClientList {
    /// Reads `{"revision": 7, "clients": [{"id": "c83", …}, …]}`. A bad entry is left out alone; of two entries with
    /// one id the first counts; unknown fields are ignored.
    ///
    /// # Errors
    /// `TEL_ERR_CLIENTS` if the text is not such an object.
    pub fn from_json(text: &[u8]) -> Result<ClientList> {
        let file: File = serde_json::from_slice(text)
            .map_err(|error| Error::clients(format!("not a client list ({{\"clients\": […]}}): {error}")))?;
        let revision = match file.revision {
            None => None,
            Some(value) => Some(
                serde_json::from_str(value.get())
                    .map_err(|_| Error::clients("revision: must be an integer, 0 or more"))?,
            ),
        };
        let mut list = ClientList { revision, ..ClientList::default() };
        let mut seen = HashSet::with_capacity(file.clients.len());
        for (index, entry) in file.clients.iter().enumerate() {
            let client = client(entry.get()).and_then(|client| {
                if seen.insert(client.id.clone()) {
                    Ok(client)
                } else {
                    Err(format!("id {:?} was listed before", client.id))
                }
            });
            match client {
                Ok(client) => list.clients.push(client),
                Err(reason) => {
                    list.rejected += 1;
                    if list.reasons.len() < DESCRIBED {
                        list.reasons.push(format!("clients[{index}]: {reason}"));
                    }
                }
            }
        }
        Ok(list)
    }
}

/// The file, its entries unread: what is wrong in one is that entry's alone.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    revision: Option<&'a RawValue>,
    #[serde(borrow)]
    clients: Vec<&'a RawValue>,
}

/// An entry's fields. What else it has is not even looked at.
#[derive(Deserialize)]
struct Entry {
    id: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    topic: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    sample: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    max_lines_per_second: Option<Value>,
}

/// Tells a field that is null from one that is not there.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn client(entry: &str) -> Result<Client, String> {
    let entry: Entry = serde_json::from_str(entry).map_err(|error| error.to_string())?;
    let id = match entry.id {
        Some(Value::String(id)) => id,
        Some(_) => return Err("id must be a string".into()),
        None => return Err("has no id".into()),
    };
    if !is_id(id.as_bytes()) {
        return Err(format!("id {:?} is not 1 to 128 of A-Z a-z 0-9 . _ -", shortened(&id)));
    }
    if matches!(id.as_str(), "-" | "." | "..") || id.starts_with("__") {
        return Err(format!("id {id:?} is reserved"));
    }
    let topic = match &entry.topic {
        None => id.as_str(),
        Some(Value::String(topic)) => topic,
        Some(_) => return Err(format!("topic of {id:?} must be a string")),
    };
    if !is_topic(topic) {
        return Err(format!("topic {:?} of {id:?} is not a name Kafka takes, or is reserved", shortened(topic)));
    }
    let number = |value: Option<Value>, most: f64| match value {
        None => Ok(None),
        Some(value) => value.as_f64().filter(|number| (0.0..=most).contains(number)).map(Some).ok_or(()),
    };
    let sample = number(entry.sample, 1.0).map_err(|()| format!("sample of {id:?} must be a number from 0 to 1"))?;
    let max_lines_per_second = number(entry.max_lines_per_second, f64::MAX)
        .map_err(|()| format!("max_lines_per_second of {id:?} must be a number, 0 or more"))?;
    Ok(Client { topic: Arc::from(topic), id, sample: sample.unwrap_or(1.0), max_lines_per_second })
}

fn is_topic(topic: &str) -> bool {
    (1..=MAX_TOPIC_BYTES).contains(&topic.len())
        && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        && !matches!(topic, "." | "..")
        && !topic.starts_with("__")
}

/// Enough of a bad name to find it by, and no more: it may be anything.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The clients by id, for exact look-ups. `T` is what the user of the table keeps for each.
pub struct ClientTable<T> {
    by_id: HashMap<Box<[u8]>, T, foldhash::fast::RandomState>,
    /// The list's own number, if it has one.
    pub revision: Option<u64>,
    /// Entries left out of it.
    pub rejected: u64,
}

impl<T> ClientTable<T> {
    /// A table of `list`, `entry` making what is kept for each client.
    pub fn new(list: ClientList, mut entry: impl FnMut(Client) -> T) -> ClientTable<T> {
        let (revision, rejected) = (list.revision, list.rejected);
        let by_id = list.clients.into_iter().map(|client| (client.id.as_bytes().into(), entry(client))).collect();
        ClientTable { by_id, revision, rejected }
    }

    /// The client with exactly this id.
    #[inline]
    pub fn get(&self, id: &[u8]) -> Option<&T> {
        self.by_id.get(id)
    }

    /// Number of clients.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// No client has the service.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.by_id.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"revision": 7, "clients": [{"id": "c83"},
        {"id": "acme", "topic": "logs.acme", "sample": 0.1, "max_lines_per_second": 20000, "later": {"a": [1]}}]}"#;

    #[test]
    fn a_good_list_is_read_whole() {
        let list = ClientList::from_json(GOOD.as_bytes()).unwrap();
        assert_eq!((list.revision, list.rejected, list.clients.len()), (Some(7), 0, 2));
        assert_eq!(&*list.clients[0].topic, "c83");
        assert_eq!(&*list.clients[1].topic, "logs.acme");
        assert_eq!((list.clients[1].sample, list.clients[1].max_lines_per_second), (0.1, Some(20000.0)));
    }

    #[test]
    fn every_truncation_is_an_error() {
        for end in 0..GOOD.len() {
            assert!(ClientList::from_json(&GOOD.as_bytes()[..end]).is_err(), "{}", &GOOD[..end]);
        }
    }

    #[test]
    fn a_bad_entry_is_left_out_alone() {
        let bad = [
            r#"{"id": ""}"#,
            r#"{"id": "a/b"}"#,
            r#"{"id": "a b"}"#,
            r#"{"id": "ä"}"#,
            r#"{"id": 5}"#,
            "{}",
            "7",
            "null",
            r#"{"id": "-"}"#,
            r#"{"id": "."}"#,
            r#"{"id": ".."}"#,
            r#"{"id": "__consumer_offsets"}"#,
            r#"{"id": "x", "topic": "__x"}"#,
            r#"{"id": "x", "topic": "a b"}"#,
            r#"{"id": "x", "topic": ""}"#,
            r#"{"id": "x", "topic": null}"#,
            r#"{"id": "x", "sample": 1.5}"#,
            r#"{"id": "x", "sample": "all"}"#,
            r#"{"id": "x", "max_lines_per_second": -1}"#,
            r#"{"id": "x", "max_lines_per_second": 1e999}"#,
            r#"{"id": "good", "topic": "other"}"#,
        ];
        let long = format!(r#"{{"id": "{}"}}"#, "x".repeat(129));
        let text = format!(
            r#"{{"clients": [{{"id": "good"}}, {long}, {}, {{"id": "last", "later": 1e999}}]}}"#,
            bad.join(", ")
        );
        let list = ClientList::from_json(text.as_bytes()).unwrap();
        let ids: Vec<&str> = list.clients.iter().map(|client| client.id.as_str()).collect();
        assert_eq!(ids, ["good", "last"]);
        assert_eq!(&*list.clients[0].topic, "good");
        assert_eq!(list.rejected, bad.len() as u64 + 1);
        assert!(list.reasons.len() == DESCRIBED && list.reasons[0].starts_with("clients[1]: id \"xxx"));
    }

    #[test]
    fn what_is_not_a_list_is_an_error() {
        for text in
            ["", "null", "[]", "{}", r#"{"clients": {}}"#, r#"{"clients": null}"#, r#"{"clients": [], "revision": -1}"#]
        {
            assert_eq!(
                ClientList::from_json(text.as_bytes()).unwrap_err().kind(),
                crate::error::tel_error::TEL_ERR_CLIENTS
            );
        }
        assert!(ClientList::from_json(b"{\"clients\": [{\"id\": \"\xff\"}]}").is_err());
        assert!(ClientList::from_json(br#"{"clients": []}"#).unwrap().clients.is_empty());
    }
}

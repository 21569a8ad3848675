//! The client list as its topic has it, record by record, and whether it may take the place of the one before. Pure.

use super::good::{id_of, Entries, Good};
use serde::de::IgnoredAny;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What keys of control records begin with: no id does.
const CONTROL: u8 = b'!';
/// The operator's marker.
const MARKER: &[u8] = b"!list";
/// Accepts a shorter list, whatever the topic's id.
const SHRINK: &str = "shrink";
/// Bad records known by their keys; a topic full of them is not remembered.
const MOST_REJECTED: usize = 1000;
/// Characters of a bad record's key that are shown: it may be anything.
const SHOWN: usize = 128;

/// Shorter lists may lose any part of themselves at once.
const LEAST_JUDGED: usize = 5;
/// A list that loses one client in so many at once is refused.
const REFUSED_PART: usize = 5;

/// A `!list` record's value: what an operator has accepted.
#[derive(Debug, Deserialize)]
struct Marker {
    #[serde(skip)]
    offset: i64,
    accept: String,
    /// A list with fewer clients is not what was meant.
    #[serde(default)]
    clients: usize,
}

/// The list as far as it was read.
#[derive(Debug, Default)]
pub struct List {
    clients: Entries,
    /// Why, by the key of each record that is no client.
    rejected: BTreeMap<String, String>,
    marker: Option<Marker>,
}

/// What becomes of a list that was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what is written.
    Same,
    /// It is to be written.
    Write,
    /// It is not, and why.
    Refused(String),
}

/// Where a list was read.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub topic: &'a str,
    pub topic_id: &'a str,
}

impl List {
    /// Takes the next record. Of a client whose record is bad the one before stays; that may be in `good`, if the topic
    /// does not have it any more.
    ///
    /// # Errors
    /// Why the record is none of a client, and no control record either.
    pub fn apply(&mut self, offset: i64, key: &[u8], value: Option<&[u8]>, good: &Good) -> Result<(), String> {
        if key.first() == Some(&CONTROL) {
            return self.control(offset, key, value);
        }
        let shown = shown(key);
        let Some(value) = value else {
            self.rejected.remove(&shown);
            if let Ok(id) = std::str::from_utf8(key) {
                self.clients.remove(id);
            }
            return Ok(());
        };
        match entry(key, value) {
            Ok((id, text)) => {
                self.rejected.remove(&shown);
                self.clients.insert(id, text);
                Ok(())
            }
            Err(why) => {
                if let Some((id, text)) = std::str::from_utf8(key).ok().and_then(|id| good.clients.get_key_value(id)) {
                    self.clients.entry(Arc::clone(id)).or_insert_with(|| Arc::clone(text));
                }
                self.reject(shown, why)
            }
        }
    }

    fn control(&mut self, offset: i64, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        if key != MARKER {
            // A newer writer's, for newer edges.
            return Ok(());
        }
        let read = value.map(serde_json::from_slice::<Marker>).transpose();
        self.rejected.remove(&shown(key));
        match read {
            Ok(marker) => {
                // As Kafka writes ids, whoever has written this one.
                let id = |text: &str| text.trim_end_matches('=').replace('+', "-").replace('/', "_");
                self.marker = marker.map(|marker| Marker { offset, accept: id(&marker.accept), ..marker });
                Ok(())
            }
            Err(error) => self.reject(shown(key), format!("no marker ({{\"accept\": …}}): {error}")),
        }
    }

    fn reject(&mut self, key: String, why: String) -> Result<(), String> {
        let text = format!("{key:?}: {why}");
        if self.rejected.len() < MOST_REJECTED || self.rejected.contains_key(&key) {
            self.rejected.insert(key, why);
        }
        Err(text)
    }

    /// The clients.
    pub fn clients(&self) -> &Entries {
        &self.clients
    }

    /// Keys of the records that are no clients now.
    pub fn rejected(&self) -> impl ExactSizeIterator<Item = &String> {
        self.rejected.keys()
    }

    /// Whether the list, read to its end, may be written in place of `good`.
    pub fn judge(&self, from: Origin<'_>, good: &Good) -> Verdict {
        let source = good.source.as_ref().filter(|source| source.topic == from.topic);
        let is_other = source.is_some_and(|source| source.topic_id != from.topic_id);
        let names_topic = self.marker.as_ref().is_some_and(|marker| marker.accept == from.topic_id);
        if is_other && !names_topic {
            let before = source.map_or("", |source| &source.topic_id);
            return self.refused(from, format!("topic {} was made anew, it had the id {before} before", from.topic));
        }
        // Once a list behind the marker is written, the marker is used up.
        let unused = self.marker.as_ref().filter(|marker| {
            let written = source.filter(|_| !is_other).map_or(i64::MIN, |source| source.offset);
            marker.offset >= written && (marker.accept == SHRINK || names_topic)
        });
        let (now, before) = (self.clients.len(), good.clients.len());
        let is_accepted = unused.is_some_and(|marker| now >= marker.clients);
        if now == 0 && before > 0 && !is_accepted {
            return self
                .refused(from, format!("topic {} has no client any more, {before} are listed here", from.topic));
        }
        if before >= LEAST_JUDGED && before.saturating_sub(now) * REFUSED_PART >= before && !is_accepted {
            let text = format!("topic {} has only {now} clients now, {before} are listed here", from.topic);
            return self.refused(from, text);
        }
        let is_same = good.is_there && source.is_some() && !is_other && self.clients == good.clients;
        if is_same && unused.is_none() {
            return Verdict::Same;
        }
        Verdict::Write
    }

    fn refused(&self, from: Origin<'_>, why: String) -> Verdict {
        let too_short = self.marker.as_ref().filter(|marker| self.clients.len() < marker.clients);
        let remark = too_short.map_or(String::new(), |marker| {
            format!("; the one that is there is for at least {} clients", marker.clients)
        });
        Verdict::Refused(format!(
            "{why}: the list before stays, until a record with the key !list and the value {{\"accept\": \"{}\"}} is \
             written behind it{remark}",
            from.topic_id
        ))
    }
}

/// A record's id and text: a JSON object that the library takes for the client of this key, and that names its topic.
fn entry(key: &[u8], value: &[u8]) -> Result<(Arc<str>, Arc<str>), String> {
    #[derive(Deserialize)]
    struct Named {
        topic: Option<IgnoredAny>,
    }
    let text: &RawValue = serde_json::from_slice(value).map_err(|error| format!("not JSON: {error}"))?;
    let id = id_of(text)?;
    if id.as_bytes() != key {
        return Err(format!("its id is another: {id:?}"));
    }
    match serde_json::from_str(text.get()) {
        Ok(Named { topic: Some(_) }) => Ok((Arc::from(id), Arc::from(text.get()))),
        _ => Err("names no topic".into()),
    }
}

fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::super::good::Source;
    use super::*;

    const FROM: Origin<'static> = Origin { topic: "tel.clients", topic_id: "one" };

    fn record(id: &str) -> String {
        format!(r#"{{"id": "{id}", "topic": "logs.{id}"}}"#)
    }

    /// The list of `c0` to `c<count - 1>`, as if written.
    fn good(count: usize, offset: i64) -> Good {
        let mut good = Good { is_there: true, ..Good::default() };
        good.source = Some(Source { topic: "tel.clients".into(), topic_id: "one".into(), offset });
        let list = list(count);
        good.clients = list.clients;
        good
    }

    fn list(count: usize) -> List {
        let mut list = List::default();
        for number in 0..count {
            let id = format!("c{number}");
            list.apply(number as i64, id.as_bytes(), Some(record(&id).as_bytes()), &Good::default()).unwrap();
        }
        list
    }

    fn mark(list: &mut List, offset: i64, value: &str) {
        list.apply(offset, b"!list", Some(value.as_bytes()), &Good::default()).unwrap();
    }

    fn is_refused(list: &List, from: Origin<'_>, good: &Good) -> bool {
        matches!(list.judge(from, good), Verdict::Refused(_))
    }

    #[test]
    fn records_set_change_and_remove() {
        let (mut list, none) = (list(2), Good::default());
        list.apply(2, b"c0", Some(br#" {"id": "c0", "topic": "logs.x", "later": [1]} "#), &none).unwrap();
        list.apply(3, b"c1", None, &none).unwrap();
        list.apply(4, b"never", None, &none).unwrap();
        let entries: Vec<_> = list.clients().iter().map(|(id, text)| (&**id, &**text)).collect();
        assert_eq!(entries, [("c0", r#"{"id": "c0", "topic": "logs.x", "later": [1]}"#)]);
    }

    #[test]
    fn a_bad_record_is_rejected_until_it_is_mended_and_changes_nothing() {
        let mut list = list(1);
        let none = Good::default();
        let bad: [(&[u8], &[u8]); 10] = [
            (b"c0", b"nonsense"),
            (b"c0", b"{}"),
            (b"c0", br#"{"id": "c1", "topic": "logs.c1"}"#),
            (b"c0", br#"{"id": "c0"}"#),
            (b"c0", br#"{"id": "c0", "topic": "__x"}"#),
            (b"c0", br#"{"id": "c0", "topic": "logs.c0"}, {"id": "c9", "topic": "logs.c9"}"#),
            (b"c0", b"\xff"),
            (b"a b", br#"{"id": "a b", "topic": "logs.a"}"#),
            (b"", br#"{"id": "", "topic": "logs.a"}"#),
            (b"\xff\xfe", b"{}"),
        ];
        for (key, value) in bad {
            assert!(list.apply(9, key, Some(value), &none).is_err(), "{}", String::from_utf8_lossy(value));
        }
        assert_eq!((list.clients().len(), list.rejected().len()), (1, 4));
        list.apply(10, b"c0", Some(record("c0").as_bytes()), &none).unwrap();
        list.apply(11, b"a b", None, &none).unwrap();
        assert_eq!(list.rejected().len(), 2);
    }

    #[test]
    fn a_client_whose_only_record_is_bad_stays_as_it_is_listed() {
        let mut list = List::default();
        assert!(list.apply(0, b"c3", Some(b"nonsense"), &good(5, 9)).is_err());
        assert_eq!(list.clients()["c3"], good(5, 9).clients["c3"]);
    }

    #[test]
    fn a_list_is_written_if_it_is_another_one() {
        assert_eq!(list(3).judge(FROM, &good(3, 3)), Verdict::Same);
        assert_eq!(list(4).judge(FROM, &good(3, 3)), Verdict::Write);
        assert_eq!(list(0).judge(FROM, &Good::default()), Verdict::Write, "an empty list is one, if there was none");
        assert_eq!(list(0).judge(FROM, &good(0, 0)), Verdict::Same);
    }

    #[test]
    fn an_empty_and_a_much_shorter_list_are_refused() {
        assert!(is_refused(&list(0), FROM, &good(1, 9)));
        assert_eq!(list(1).judge(FROM, &good(4, 9)), Verdict::Write, "of four clients any part may go at once");
        assert!(is_refused(&list(4), FROM, &good(5, 9)));
        assert!(is_refused(&list(80), FROM, &good(100, 200)));
        assert_eq!(list(81).judge(FROM, &good(100, 200)), Verdict::Write);
        let mut by_hand = good(100, 0);
        by_hand.source = None;
        assert!(is_refused(&list(10), FROM, &by_hand), "whoever has written it");
    }

    #[test]
    fn a_marker_accepts_once() {
        let mut short = list(2);
        mark(&mut short, 200, r#"{"accept": "shrink"}"#);
        assert_eq!(short.judge(FROM, &good(10, 200)), Verdict::Write);
        assert!(is_refused(&short, FROM, &good(10, 201)), "used by the list that was written after it");
        mark(&mut short, 300, r#"{"accept": "one", "clients": 2}"#);
        assert_eq!(short.judge(FROM, &good(10, 201)), Verdict::Write);
        mark(&mut short, 301, r#"{"accept": "one", "clients": 3}"#);
        assert!(is_refused(&short, FROM, &good(10, 201)), "there are fewer than were meant");
        mark(&mut short, 302, r#"{"accept": "two"}"#);
        assert!(is_refused(&short, FROM, &good(10, 201)));
        let mut same = list(10);
        mark(&mut same, 300, r#"{"accept": "shrink"}"#);
        assert_eq!(same.judge(FROM, &good(10, 201)), Verdict::Write, "a marker is used up though nothing has changed");
        assert!(same.apply(303, b"!list", Some(b"shrink"), &Good::default()).is_err());
        assert!(same.apply(304, b"!later", Some(b"?"), &Good::default()).is_ok());
    }

    #[test]
    fn a_topic_made_anew_is_refused_unless_the_marker_names_it() {
        let anew = Origin { topic_id: "two", ..FROM };
        let mut list = list(10);
        assert!(is_refused(&list, anew, &good(10, 9)));
        mark(&mut list, 10, r#"{"accept": "shrink"}"#);
        assert!(is_refused(&list, anew, &good(10, 9)));
        mark(&mut list, 11, r#"{"accept": "two"}"#);
        assert_eq!(list.judge(anew, &good(10, 900)), Verdict::Write, "its offsets begin anew, too");
        assert_eq!(list.judge(anew, &good(100, 900)), Verdict::Write);
        let elsewhere = Origin { topic: "cdn.clients", topic_id: "two" };
        assert_eq!(
            self::list(10).judge(elsewhere, &good(10, 9)),
            Verdict::Write,
            "the operator has named another topic"
        );
    }
}

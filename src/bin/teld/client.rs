//! Where a line's client id is, for formats that cannot put it first. Pure.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// An input's `client` key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientRule {
    /// The id is the first word, and not part of what is delivered.
    #[default]
    First,
    /// The id is the word of this number, counted from 1, words being what lies between single spaces. The whole line is
    /// delivered.
    Word(usize),
    /// The line is JSON, and the id the text at the end of this path of keys. The whole line is delivered.
    Json(Vec<String>),
    /// Every line is this client's, whole.
    Fixed(String),
}

impl ClientRule {
    /// The path of a JSON rule: a JSON Pointer (RFC 6901), or one key of the outermost object.
    pub fn json_path(text: &str) -> Vec<String> {
        match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect(),
            None => vec![text.to_owned()],
        }
    }

    /// The client that the rule finds; empty if it finds none. `None`: the line says it itself, first.
    pub fn find<'a>(&'a self, line: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match self {
            ClientRule::First => None,
            ClientRule::Word(number) => {
                let word = line.split(|byte| *byte == b' ').nth(number - 1).unwrap_or_default();
                Some(Cow::Borrowed(word))
            }
            ClientRule::Json(path) => {
                let mut deserializer = serde_json::Deserializer::from_slice(line);
                let found = Follow(path).deserialize(&mut deserializer).ok().flatten();
                // Something behind the object makes the line another one than it seems.
                let whole = deserializer.end().is_ok();
                Some(match found {
                    Some(Cow::Borrowed(id)) if whole => Cow::Borrowed(id.as_bytes()),
                    Some(Cow::Owned(id)) if whole => Cow::Owned(id.into_bytes()),
                    _ => Cow::Borrowed(b""),
                })
            }
            ClientRule::Fixed(client) => Some(Cow::Borrowed(client.as_bytes())),
        }
    }
}

/// The text at the end of a path; other values are read over, not built.
struct Follow<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Follow<'_> {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            deserializer.deserialize_str(self)
        } else {
            deserializer.deserialize_map(self)
        }
    }
}

impl<'de> Visitor<'de> for Follow<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "a text" } else { "an object" })
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some((first, rest)) = self.0.split_first() else { return Ok(None) };
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key != first.as_str() {
                map.next_value::<IgnoredAny>()?;
            } else if found.is_some() {
                // Which of the two is meant, a client could choose.
                return Err(A::Error::custom("the key is there twice"));
            } else {
                found = map.next_value_seed(Follow(rest))?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: &ClientRule, line: &str) -> String {
        String::from_utf8(rule.find(line.as_bytes()).unwrap().into_owned()).unwrap()
    }

    #[test]
    fn words_are_counted_from_one() {
        let line = "GET /a c83 200";
        for (number, word) in [(1, "GET"), (2, "/a"), (3, "c83"), (4, "200"), (5, "")] {
            assert_eq!(found(&ClientRule::Word(number), line), word);
        }
        assert_eq!(found(&ClientRule::Word(2), "a  b"), "", "two spaces have an empty word between them");
    }

    #[test]
    fn a_json_field_is_found_wherever_it_is() {
        let top = ClientRule::Json(ClientRule::json_path("client"));
        assert_eq!(found(&top, r#"{"url": "/", "client": "c83", "nested": {"client": "other"}}"#), "c83");
        assert_eq!(found(&top, r#"{"client": "c\u0038\u0033"}"#), "c83");
        let deep = ClientRule::Json(ClientRule::json_path("/cdn/client~1id"));
        assert_eq!(found(&deep, r#"{"cdn": {"a": [1, {"b": 2}], "client/id": "c83"}}"#), "c83");
    }

    #[test]
    fn a_json_line_without_a_clear_client_has_none() {
        let rule = ClientRule::Json(ClientRule::json_path("client"));
        for line in [
            "",
            "plain text",
            "{}",
            r#"{"client": 83}"#,
            r#"{"client": null}"#,
            r#"{"client": {"id": "c83"}}"#,
            r#"{"client": "c83""#,
            r#"{"client": "c83"} {"client": "c84"}"#,
            r#"{"client": "c83", "client": "c84"}"#,
            "[\"client\"]",
        ] {
            assert_eq!(found(&rule, line), "", "{line}");
        }
    }

    #[test]
    fn a_fixed_client_is_whatever_the_line_says() {
        assert_eq!(found(&ClientRule::Fixed("c83".into()), "c84 GET /"), "c83");
        assert_eq!(ClientRule::First.find(b"c84 GET /"), None);
    }
}

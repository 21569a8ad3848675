//! The keys of a JSON object, each taken once and by its full name; one that is left over is unknown.

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::Value;
use std::fmt;

/// An object of the file.
#[derive(Debug)]
pub struct Keys {
    name: String,
    entries: Vec<(String, Box<RawValue>)>,
}

impl Keys {
    /// The object that is the whole file. The error names line and column where the text is not JSON.
    pub fn of_file(text: &str) -> Result<Keys, String> {
        // Looked at as a whole first, so that the place that is named is that of the file.
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("not JSON: {error}"))?;
        Keys::read(String::new(), text)
    }

    /// The object of this name that `text` is.
    pub fn read(name: String, text: &str) -> Result<Keys, String> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vec<(String, Box<RawValue>)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }
        let what = if name.is_empty() { "the file" } else { &name };
        let entries = serde_json::Deserializer::from_str(text)
            .deserialize_map(Entries)
            .map_err(|_| format!("{what}: must be an object"))?;
        let keys = Keys { name, entries };
        for (index, (key, _)) in keys.entries.iter().enumerate() {
            if keys.entries[..index].iter().any(|(before, _)| before == key) {
                return Err(format!("{}: given twice", keys.full_name(key)));
            }
        }
        Ok(keys)
    }

    /// `key` as an error names it.
    pub fn full_name(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    /// The text of a key's value, as the file has it.
    pub fn raw(&mut self, key: &str) -> Option<String> {
        let index = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(index).1.get().to_owned())
    }

    fn value(&mut self, key: &str) -> Option<Value> {
        self.raw(key).and_then(|text| serde_json::from_str(&text).ok())
    }

    /// A key that holds a text, not empty and without NUL.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() && !text.contains('\0') => Ok(Some(text)),
            Some(_) => Err(format!("{}: must be a text", self.full_name(key))),
        }
    }

    /// [`Keys::text`] that must be there.
    pub fn needed_text(&mut self, key: &str) -> Result<String, String> {
        self.text(key)?.ok_or_else(|| format!("{}: must be there", self.full_name(key)))
    }

    /// A key that holds a list of texts, at least one.
    pub fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, String> {
        let wrong = format!("{}: must be a list of texts", self.full_name(key));
        let Some(value) = self.value(key) else { return Ok(None) };
        let Value::Array(values) = value else { return Err(wrong) };
        let texts = values.into_iter().map(|value| match value {
            Value::String(text) if !text.contains('\0') => Ok(text),
            _ => Err(wrong.clone()),
        });
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        if texts.is_empty() {
            return Err(wrong);
        }
        Ok(Some(texts))
    }

    /// A key that is true or false.
    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(format!("{}: must be true or false", self.full_name(key))),
        }
    }

    /// A key that holds an integer from `least` to `most`.
    pub fn integer(&mut self, key: &str, least: u64, most: u64) -> Result<Option<u64>, String> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.as_u64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{}: must be an integer from {least} to {most}", self.full_name(key))),
        }
    }

    /// A key that holds an object.
    pub fn object(&mut self, key: &str) -> Result<Option<Keys>, String> {
        let name = self.full_name(key);
        self.raw(key).map(|text| Keys::read(name, &text)).transpose()
    }

    /// A key that holds a text, given as `Ok`, or an object, as `Err`.
    pub fn text_or_object(&mut self, key: &str) -> Result<Option<Result<String, Keys>>, String> {
        let name = self.full_name(key);
        let Some(text) = self.raw(key) else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(Value::String(text)) => Ok(Some(Ok(text))),
            _ => Keys::read(name, &text).map(|keys| Some(Err(keys))),
        }
    }

    /// The names of the keys that were not taken yet.
    pub fn names(&self) -> Vec<String> {
        self.entries.iter().map(|(name, _)| name.clone()).collect()
    }

    /// All keys were taken; if not, the first of the others is an error.
    pub fn finish(self) -> Result<(), String> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("{}: no such key", self.full_name(key))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_in_full() {
        let mut keys = Keys::of_file(r#"{"a": {"b": 1, "c": 2}, "d": "x"}"#).unwrap();
        let mut inner = keys.object("a").unwrap().unwrap();
        assert_eq!(inner.text("b").unwrap_err(), "a.b: must be a text");
        assert_eq!(inner.finish().unwrap_err(), "a.c: no such key");
        assert_eq!(keys.object("d").unwrap_err(), "d: must be an object");
        assert_eq!(keys.needed_text("e").unwrap_err(), "e: must be there");
    }

    #[test]
    fn a_key_given_twice_is_an_error() {
        assert_eq!(Keys::of_file(r#"{"a": 1, "a": 1}"#).unwrap_err(), "a: given twice");
        let mut keys = Keys::of_file(r#"{"a": {"b": 1, "b": 2}}"#).unwrap();
        assert_eq!(keys.object("a").unwrap_err(), "a.b: given twice");
    }

    #[test]
    fn what_is_not_json_is_named_by_its_place() {
        let error = Keys::of_file("{\n  \"a\": nonsense\n}").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        assert_eq!(Keys::of_file("[]").unwrap_err(), "the file: must be an object");
    }

    #[test]
    fn the_text_of_a_value_is_as_the_file_has_it() {
        let mut keys = Keys::of_file(r#"{"producer": {"x": 1, "x": 1.0}}"#).unwrap();
        assert_eq!(keys.raw("producer").unwrap(), r#"{"x": 1, "x": 1.0}"#);
        keys.finish().unwrap();
    }
}

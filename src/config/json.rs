//! JSON read strictly: a key given twice is an error and not a silent last word.

use crate::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A JSON value; objects keep their order and may not repeat a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// As the text has it, so that 1 and 1.0 stay apart.
    Number(serde_json::Number),
    String(String),
    Array,
    Object(Vec<(String, Json)>),
}

impl Json {
    pub fn parse(text: &str) -> Result<Json> {
        serde_json::from_str(text).map_err(|error| Error::config(format!("the configuration is not JSON: {error}")))
    }

    fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a bool",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array => "an array",
            Json::Object(_) => "an object",
        }
    }

    fn not(&self, key: &str, wanted: &str) -> Error {
        Error::config(format!("{key}: must be {wanted}, not {}", self.kind()))
    }

    pub fn object(self, key: &str) -> Result<Vec<(String, Json)>> {
        match self {
            Json::Object(entries) => Ok(entries),
            other => Err(other.not(key, "an object")),
        }
    }

    pub fn boolean(&self, key: &str) -> Result<bool> {
        match self {
            Json::Bool(value) => Ok(*value),
            other => Err(other.not(key, "true or false")),
        }
    }

    pub fn string(self, key: &str) -> Result<String> {
        match self {
            Json::String(text) => Ok(text),
            other => Err(other.not(key, "a string")),
        }
    }

    pub fn integer(&self, key: &str, least: u64, most: u64) -> Result<u64> {
        let Json::Number(number) = self else { return Err(self.not(key, "an integer")) };
        number
            .as_u64()
            .filter(|value| (least..=most).contains(value))
            .ok_or_else(|| Error::config(format!("{key}: must be an integer from {least} to {most}, not {number}")))
    }

    /// The value as librdkafka takes it: its properties are all texts.
    pub fn property(self, key: &str) -> Result<String> {
        match self {
            Json::String(text) => Ok(text),
            Json::Bool(value) => Ok(value.to_string()),
            Json::Number(number) => Ok(number.to_string()),
            other => Err(other.not(key, "a string, number or bool")),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Json;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value.into()))
            }
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
                let number = serde_json::Number::from_f64(value);
                number.map(Json::Number).ok_or_else(|| E::custom("number out of range"))
            }
            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::String(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                // No key takes an array, so what is in it does not matter, only that it is JSON.
                while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(Json::Array)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut entries: Vec<(String, Json)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Json>()? {
                    if entries.iter().any(|(before, _)| *before == key) {
                        return Err(serde::de::Error::custom(format_args!("{key}: given twice")));
                    }
                    entries.push((key, value));
                }
                Ok(Json::Object(entries))
            }
        }
        deserializer.deserialize_any(Values)
    }
}

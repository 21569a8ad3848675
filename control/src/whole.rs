//! Whole numbers in JSON: 60.0 is one, too, for those who write them (JSON Schema says so).

use serde::de::{Error, Unexpected, Visitor};
use serde::Deserializer;
use std::fmt;
use std::marker::PhantomData;

/// Up to here every whole number has a floating one of its own.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// Reads a whole number or null; for `deserialize_with`.
///
/// # Errors
/// For anything else, and for numbers that do not fit.
pub fn optional<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    from.deserialize_any(Whole(PhantomData))
}

struct Whole<T>(PhantomData<T>);

impl<'de, T: TryFrom<u64>> Visitor<'de> for Whole<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0, of at most {} bits", 8 * std::mem::size_of::<T>())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<T>, E> {
        T::try_from(number).map(Some).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<T>, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<T>, E> {
        if number.fract() == 0.0 && (0.0..LARGEST).contains(&number) {
            // Whole and in the range: nothing is cut off.
            return self.visit_u64(number as u64);
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Read {
        #[serde(default, deserialize_with = "super::optional")]
        number: Option<u32>,
    }

    #[test]
    fn what_is_whole_is_read_however_it_is_written() {
        let read = |text: &str| serde_json::from_str::<Read>(text).map(|read| read.number);
        for (text, number) in [("7", Some(7)), ("7.0", Some(7)), ("7e2", Some(700)), ("-0.0", Some(0)), ("null", None)]
        {
            assert_eq!(read(&format!("{{\"number\": {text}}}")).unwrap(), number, "{text}");
        }
        assert_eq!(read("{}").unwrap(), None);
        for text in ["7.5", "-1", "-1.0", "4294967296", "1e300", "\"7\"", "true", "[]"] {
            assert!(read(&format!("{{\"number\": {text}}}")).is_err(), "{text}");
        }
    }
}

//! The first-space cut, and what makes one line stay one line. Pure.

use crate::queue::Line;

/// Longest client id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// A line cut in two: who it is for, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addressed<'a> {
    /// The client id as the line has it; not yet looked up.
    pub client: &'a [u8],
    /// The Kafka message, but for [`escape`].
    pub value: &'a [u8],
}

/// The line without one trailing `\n` or `\r\n`.
#[inline]
pub fn without_newline(line: &[u8]) -> &[u8] {
    match line {
        [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] => text,
        text => text,
    }
}

/// Cuts at the first space, unless the client was given apart. `None`: no space, so nobody to send it to; or nothing to
/// send.
#[inline]
pub fn split(line: Line<'_>) -> Option<Addressed<'_>> {
    match line.client {
        Some(client) => (!line.text.is_empty()).then_some(Addressed { client, value: line.text }),
        None => {
            let space = memchr::memchr(b' ', line.text)?;
            Some(Addressed { client: &line.text[..space], value: &line.text[space + 1..] })
        }
    }
}

/// Whether `id` is in the alphabet and length of client ids: `[A-Za-z0-9._-]{1,128}`.
pub fn is_id(id: &[u8]) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// How many bytes of `value` need escaping so that one line stays one line: CR, LF and NUL.
#[inline]
pub fn to_escape(value: &[u8]) -> usize {
    memchr::memchr3_iter(b'\r', b'\n', b'\0', value).count()
}

/// Writes `value` to `out` with CR, LF and NUL as `\r`, `\n`, `\0`. `out` has room for [`to_escape`] bytes more than
/// `value` has. The escape is not reversible: a backslash stays a backslash.
pub fn escape(value: &[u8], out: &mut [u8]) {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    let mut rest = value;
    while let Some(found) = memchr::memchr3(b'\r', b'\n', b'\0', rest) {
        put(&rest[..found]);
        put(match rest[found] {
            b'\r' => b"\\r",
            b'\n' => b"\\n",
            _ => b"\\0",
        });
        rest = &rest[found + 1..];
    }
    put(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Option<(&str, &str)> {
        let found = split(Line { client: None, text: text.as_bytes() })?;
        Some((std::str::from_utf8(found.client).unwrap(), std::str::from_utf8(found.value).unwrap()))
    }

    #[test]
    fn the_first_space_divides() {
        assert_eq!(cut("c83 GET / 200"), Some(("c83", "GET / 200")));
        assert_eq!(cut("c83 "), Some(("c83", "")));
        assert_eq!(cut("c83  two spaces"), Some(("c83", " two spaces")));
        assert_eq!(cut(" leading"), Some(("", "leading")));
        assert_eq!(cut("nospace"), None);
        assert_eq!(cut(""), None);
    }

    #[test]
    fn a_client_given_apart_is_not_looked_for_in_the_text() {
        let line = Line { client: Some(b"c83"), text: b"other text" };
        assert_eq!(split(line), Some(Addressed { client: b"c83", value: b"other text" }));
    }

    #[test]
    fn one_newline_is_taken_off() {
        for (line, text) in
            [("a b\n", "a b"), ("a b\r\n", "a b"), ("a b\n\n", "a b\n"), ("a b\r", "a b\r"), ("\n", ""), ("", "")]
        {
            assert_eq!(without_newline(line.as_bytes()), text.as_bytes(), "{line:?}");
        }
    }

    #[test]
    fn ids_are_of_one_alphabet() {
        for good in ["c83", "A", "a.b_c-d", ".", "-"] {
            assert!(is_id(good.as_bytes()), "{good}");
        }
        for bad in ["", "a/b", "a b", "a:b", "ä", "a\0"] {
            assert!(!is_id(bad.as_bytes()), "{bad:?}");
        }
        assert!(is_id(&[b'x'; 128]));
        assert!(!is_id(&[b'x'; 129]));
    }

    #[test]
    fn one_line_stays_one_line() {
        for (value, escaped) in
            [("plain", "plain"), ("a\nb", "a\\nb"), ("\r\n\0", "\\r\\n\\0"), ("", ""), ("\n", "\\n")]
        {
            let mut out = vec![0; value.len() + to_escape(value.as_bytes())];
            escape(value.as_bytes(), &mut out);
            assert_eq!(out, escaped.as_bytes(), "{value:?}");
        }
    }
}

//! The header that syslog writers put before a line, taken off. Pure.

/// The message of a syslog line: what follows the header of RFC 5424, or of RFC 3164 as `logger` and nginx write it. A
/// line that does not begin with a priority is its own message.
pub fn message(line: &[u8]) -> &[u8] {
    let Some(rest) = after_priority(line) else { return line };
    match rest {
        [b'1', b' ', rest @ ..] => after_structured_data(rest).unwrap_or(line),
        _ => after_tag(rest).unwrap_or(line),
    }
}

/// What follows `<0>` to `<191>`.
fn after_priority(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"<")?;
    let digits = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    match (digits, rest.get(digits)) {
        (1..=3, Some(b'>')) => rest.get(digits + 1..),
        _ => None,
    }
}

/// RFC 5424: timestamp, host, application, process, message id, structured data, message.
fn after_structured_data(line: &[u8]) -> Option<&[u8]> {
    let mut rest = line;
    for _ in 0..5 {
        rest = &rest[rest.iter().position(|byte| *byte == b' ')? + 1..];
    }
    rest = match rest {
        [b'-', rest @ ..] => rest,
        [b'[', ..] => &rest[end_of_structured_data(rest)?..],
        _ => return None,
    };
    let message = match rest {
        [] => rest,
        [b' ', message @ ..] => message,
        _ => return None,
    };
    Some(message.strip_prefix("\u{feff}".as_bytes()).unwrap_or(message))
}

/// Elements `[id name="value" ...]` follow each other without space; in a value `"`, `\` and `]` are escaped.
fn end_of_structured_data(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted && text.get(index + 1) != Some(&b'[') => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// RFC 3164: `Mmm dd hh:mm:ss`, a host or none, and a tag that ends with a colon and a space.
fn after_tag(line: &[u8]) -> Option<&[u8]> {
    const TIMESTAMP: &[u8; 16] = b"Aaa dd dd:dd:dd ";
    let (timestamp, rest) = line.split_at_checked(TIMESTAMP.len())?;
    let fits = timestamp.iter().zip(TIMESTAMP).all(|(byte, kind)| match kind {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'd' => byte.is_ascii_digit() || *byte == b' ',
        exactly => byte == exactly,
    });
    if !fits {
        return None;
    }
    // One word or two: the tag ends the header with its colon, the host has none at its end.
    let mut from = 0;
    for _ in 0..2 {
        let space = from + rest[from..].iter().position(|byte| *byte == b' ')?;
        if rest[..space].ends_with(b":") {
            return rest.get(space + 1..);
        }
        from = space + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_taken_off() {
        for (line, text) in [
            // logger, nginx with and without its host's name, logger --rfc5424.
            ("<13>Nov  3 18:02:33 root: c83 GET /", "c83 GET /"),
            ("<13>Nov 13 18:02:33 host root[42]: c83 GET /", "c83 GET /"),
            ("<190>Nov 21 18:02:33 edge1 nginx: c83 GET / a: b", "c83 GET / a: b"),
            ("<190>Nov 21 18:02:33 nginx: c83 GET /", "c83 GET /"),
            ("<13>1 2026-11-21T18:02:33.1+00:00 edge1 root - - - c83 GET /", "c83 GET /"),
            (r#"<13>1 2026-11-21T18:02:33Z h a 1 - [t q="\"]"][u a="b"] c83 GET /"#, "c83 GET /"),
            ("<13>1 - - - - - - \u{feff}c83 GET /", "c83 GET /"),
            ("<13>1 - - - - - -", ""),
        ] {
            assert_eq!(std::str::from_utf8(message(line.as_bytes())).unwrap(), text, "{line}");
        }
    }

    #[test]
    fn a_line_with_no_such_header_is_left_whole() {
        for line in [
            "",
            "<",
            "<13",
            "<13>",
            "c83 GET /",
            "<13> c83 GET /",
            "<1300>Nov 21 18:02:33 nginx: c83",
            "<13>Nov 21 18:02:33 no tag here",
            "<13>1 2026 h a 1 - [t q=\"] c83",
            "<13>1 2026 h a",
        ] {
            assert_eq!(message(line.as_bytes()), line.as_bytes());
        }
    }
}

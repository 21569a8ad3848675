//! Texts with placeholders, such as `{workdir}`: lower-case letters and underlines in braces.
//!
//! Other braces are what they are, and so are those behind `%` and `$`: log formats and shells have them.

use serde_json::Value;
use std::collections::BTreeMap;

/// What the placeholders stand for.
pub type Values = BTreeMap<String, String>;

/// A name may be a placeholder's.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The text with the values in place of their placeholders. What a value holds is not looked at again.
pub fn fill(text: &str, values: &Values) -> String {
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Placeholder(name) => filled.push_str(values.get(name).map_or("", String::as_str)),
        }
    }
    filled
}

/// [`fill`] for every text in a JSON value but the keys.
pub fn fill_json(value: &Value, values: &Values) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, values)),
        Value::Array(items) => items.iter().map(|item| fill_json(item, values)).collect(),
        Value::Object(entries) => entries.iter().map(|(key, entry)| (key.clone(), fill_json(entry, values))).collect(),
        other => other.clone(),
    }
}

/// The placeholders in a text are all known; if not, the error says which there are.
pub fn check(text: &str, known: &[&str]) -> Result<(), String> {
    for piece in pieces(text) {
        match piece {
            Piece::Placeholder(name) if !known.contains(&name) => {
                return Err(format!("no such placeholder: {{{name}}}; there are {}", known.join(", ")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// [`check`] for every text in a JSON value but the keys.
pub fn check_json(value: &Value, known: &[&str]) -> Result<(), String> {
    match value {
        Value::String(text) => check(text, known),
        Value::Array(items) => items.iter().try_for_each(|item| check_json(item, known)),
        Value::Object(entries) => entries.values().try_for_each(|entry| check_json(entry, known)),
        _ => Ok(()),
    }
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut from) = (0, 0);
    while let Some(brace) = text[from..].find('{').map(|found| from + found) {
        from = brace + 1;
        let Some(name) = text[from..].split_once('}').map(|(name, _)| name) else { break };
        if !is_name(name) || text[..brace].ends_with(['%', '$']) {
            continue;
        }
        pieces.push(Piece::Text(&text[start..brace]));
        pieces.push(Piece::Placeholder(name));
        from += name.len() + 1;
        start = from;
    }
    pieces.push(Piece::Text(&text[start..]));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values() -> Values {
        [("workdir", "/w"), ("b", "{workdir}")].map(|(name, value)| (name.into(), value.into())).into()
    }

    #[test]
    fn placeholders_are_filled_once() {
        for (text, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("{workdir}", "/w"),
            ("é{workdir}é{workdir}", "é/wé/w"),
            ("{{workdir}}", "{/w}"),
            ("{b}", "{workdir}"),
        ] {
            assert_eq!(fill(text, &values()), filled);
        }
        assert_eq!(
            fill_json(&json!({"{b}": ["{workdir}", 1, {"x": "-{b}"}]}), &values()),
            json!({"{b}": ["/w", 1, {"x": "-{workdir}"}]})
        );
    }

    #[test]
    fn other_braces_stay() {
        for text in [
            "%{VCL_Log:client}x %{workdir}i",
            "${workdir}",
            "{",
            "}{",
            "{}",
            "{Workdir}",
            "{print $1}",
            "{workdir",
            "é{é}",
        ] {
            assert_eq!(fill(text, &values()), text);
            assert_eq!(check(text, &[]), Ok(()));
        }
    }

    #[test]
    fn an_unknown_placeholder_is_an_error() {
        assert_eq!(
            check("{workdir} {workdri}", &["hostname", "workdir"]).unwrap_err(),
            "no such placeholder: {workdri}; there are hostname, workdir"
        );
        assert!(check_json(&json!({"a": [{"b": "{x}"}]}), &[]).is_err());
    }
}

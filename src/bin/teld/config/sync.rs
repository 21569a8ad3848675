//! The `sync` key: which client list is followed, and as whom.

use super::keys::Keys;

/// Most characters of an edge's name: with `edge:` before it, it is the common name of a certificate, which has 64.
const LONGEST_EDGE: usize = 59;
/// Longest topic name Kafka takes.
const LONGEST_TOPIC: usize = 249;

/// The list's topic and the acknowledgements', if nothing is said.
const TOPICS: [&str; 2] = ["tel.clients", "tel.acks"];

/// The `sync` key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncConfig {
    /// The name that acknowledgements are given under.
    pub edge: String,
    /// Where the list is.
    pub topic: String,
    /// Where acknowledgements go.
    pub acks: String,
}

/// Reads the key's object.
pub fn sync(mut keys: Keys) -> Result<SyncConfig, String> {
    let named = |keys: &Keys, key: &str, why: &str| Err(format!("{}: {why}", keys.full_name(key)));
    let edge = keys.needed_text("edge")?;
    if edge.len() > LONGEST_EDGE || !is_name(&edge) || edge == "-" {
        return named(&keys, "edge", "a name is 1 to 59 of A-Z a-z 0-9 . _ -, but not -, ., .. or __ at its start");
    }
    let mut topics = Vec::new();
    for (key, usual) in ["topic", "acks"].into_iter().zip(TOPICS) {
        let topic = keys.text(key)?.unwrap_or_else(|| usual.to_owned());
        if topic.len() > LONGEST_TOPIC || !is_name(&topic) {
            return named(&keys, key, "must be a topic's name, and none that starts with __");
        }
        topics.push(topic);
    }
    let (acks, topic) = (topics.pop().unwrap_or_default(), topics.pop().unwrap_or_default());
    if acks == topic {
        return named(&keys, "acks", "must be another topic than the list's");
    }
    keys.finish()?;
    Ok(SyncConfig { edge, topic, acks })
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !matches!(text, "." | "..")
        && !text.starts_with("__")
}

//! Names, the least that others build on: of clients, edges, topics, principals and consumer groups.
//!
//! The colon is outside of the alphabet of ids, so that no client's principal or groups are the beginning of another's, nor is a
//! real principal such as `admin` ever a client's.

use crate::error::{Error, Result};
use std::fmt;

/// Most characters of an onboarded client's id; a list from elsewhere may have longer ones.
const LONGEST_ID: usize = 48;
/// Most characters of an edge's name: with `edge:` the 64 that a common name may have.
const LONGEST_EDGE: usize = 59;
/// Most characters of a Kafka topic's name.
const LONGEST_TOPIC: usize = 249;

/// The topic of the client list.
pub const LIST_TOPIC: &str = "tel.clients";
/// The topic of what the edges have of it.
pub const ACKS_TOPIC: &str = "tel.acks";

/// An onboarded client's id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(String);

impl ClientId {
    /// Checks `text`: 1 to 48 of `A-Z a-z 0-9 . _ -`, not `-`, `.`, `..`, and not starting with `__`.
    ///
    /// # Errors
    /// `Invalid`, saying what is wrong.
    pub fn new(text: &str) -> Result<ClientId> {
        check("client id", text, LONGEST_ID)?;
        Ok(ClientId(text.to_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Under which no second client is taken: Kafka's metric names do not tell `.` from `_`.
    pub fn collision_key(&self) -> String {
        self.0.replace('.', "_")
    }

    /// The common name in the certificate of this generation: the sole attribute of its subject.
    pub fn common_name(&self, generation: u32) -> String {
        format!("{}:{generation}", self.0)
    }

    /// Kafka's name for who shows that certificate.
    pub fn principal(&self, generation: u32) -> String {
        format!("User:CN={}", self.common_name(generation))
    }

    /// What the names of its consumer groups begin with.
    pub fn group_prefix(&self) -> String {
        format!("{}:", self.0)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An edge server's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeName(String);

impl EdgeName {
    /// Checks `text`: 1 to 59 of `A-Z a-z 0-9 . _ -`, not `-`, `.`, `..`, not starting with `__`, and not digits alone: with those,
    /// an edge would have the principal of a client whose id is `edge`.
    ///
    /// # Errors
    /// `Invalid`, saying what is wrong.
    pub fn new(text: &str) -> Result<EdgeName> {
        check("edge name", text, LONGEST_EDGE)?;
        if text.chars().all(|c| c.is_ascii_digit()) {
            return Err(Error::invalid(format!("edge name \"{text}\": digits alone are a client's generation")));
        }
        Ok(EdgeName(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The common name in its certificate.
    pub fn common_name(&self) -> String {
        format!("edge:{}", self.0)
    }

    /// Kafka's name for who shows that certificate.
    pub fn principal(&self) -> String {
        format!("User:CN={}", self.common_name())
    }
}

impl fmt::Display for EdgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the names of all clients' topics begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// Checks `text`: not empty, a Kafka name, not starting with `__`, and no beginning of a control topic's name, for the edges may
    /// write to whatever begins with it.
    ///
    /// # Errors
    /// `Invalid`, saying what is wrong.
    pub fn new(text: &str) -> Result<Namespace> {
        let named = |what| Error::invalid(format!("namespace \"{}\": {what}", shown(text)));
        if text.is_empty() {
            return Err(named("must not be empty"));
        }
        if let Some(bad) = text.chars().find(|c| !is_name(*c)) {
            return Err(named(&format!("{bad:?} cannot be in a topic's name")));
        }
        if text.starts_with("__") || text.len() + LONGEST_ID > LONGEST_TOPIC {
            return Err(named("starts with __ or is too long"));
        }
        if let Some(control) = [LIST_TOPIC, ACKS_TOPIC].into_iter().find(|topic| topic.starts_with(text)) {
            return Err(named(&format!("edges could write to {control}")));
        }
        Ok(Namespace(text.to_owned()))
    }

    /// The namespace.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The client's topic.
    pub fn topic(&self, id: &ClientId) -> String {
        format!("{}{id}", self.0)
    }

    /// Whether the topic may be a client's.
    pub fn holds(&self, topic: &str) -> bool {
        topic.len() > self.0.len() && topic.starts_with(&self.0)
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// As much of a name as an error shows, with everything visible that is not.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().count() > 80 {
        shown.push('…');
    }
    shown
}

fn check(what: &str, text: &str, longest: usize) -> Result<()> {
    let named = |why: String| Err(Error::invalid(format!("{what} \"{}\": {why}", shown(text))));
    if text.is_empty() {
        return named("must not be empty".into());
    }
    if let Some(bad) = text.chars().find(|c| !is_name(*c)) {
        return named(format!("{bad:?} is not one of A-Z a-z 0-9 . _ -"));
    }
    if text.len() > longest {
        return named(format!("{} characters, more than {longest}", text.len()));
    }
    if matches!(text, "-" | "." | "..") || text.starts_with("__") {
        return named("is reserved".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_is_refused_by_name() {
        let long = "x".repeat(10_000);
        for bad in [
            "",
            "-",
            ".",
            "..",
            "__x",
            "../etc",
            "a b",
            "a:b",
            "a\0b",
            "a\u{202e}b",
            "é",
            "a/b",
            &long,
            &"x".repeat(49),
        ] {
            let error = ClientId::new(bad).unwrap_err();
            assert!(error.text.starts_with("client id \"") && error.text.len() < 500, "{error}");
        }
        for good in ["c8", "c83", "c8_x", "c8-2", "a.b", "admin", "edge", "tel.clients", "_x", &"x".repeat(48)] {
            assert_eq!(ClientId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn no_client_s_names_begin_another_s() {
        let ids = ["c8", "c83", "c8_x", "c8-2", "a.b", "a_b", "admin", "edge", "tel.clients"]
            .map(|id| ClientId::new(id).unwrap());
        for one in &ids {
            for other in ids.iter().filter(|other| *other != one) {
                assert!(!other.group_prefix().starts_with(&one.group_prefix()));
                assert_ne!(one.principal(1), other.principal(1));
            }
            assert_ne!(one.principal(1), "User:CN=admin");
        }
        for digits in ["1", "007"] {
            assert!(EdgeName::new(digits).unwrap_err().text.contains("generation"));
        }
        assert_eq!(EdgeName::new("edge-1").unwrap().principal(), "User:CN=edge:edge-1");
        assert_eq!(ids[4].collision_key(), ids[5].collision_key());
    }

    #[test]
    fn a_namespace_never_covers_a_control_topic() {
        for bad in ["", "t", "tel", "tel.", "tel.clients", "tel.acks", "__a", "a b", "a/"] {
            assert!(Namespace::new(bad).is_err(), "{bad}");
        }
        let logs = Namespace::new("logs.").unwrap();
        assert_eq!(logs.topic(&ClientId::new("c83").unwrap()), "logs.c83");
        assert!(logs.holds("logs.c83") && !logs.holds("logs.") && !logs.holds("other.c83"));
    }
}

//! What Kafka's authorizer says of clients, read from its log.
//!
//! A line of Kafka 4.1, whatever stands before it:
//!
//! ```text
//! Principal = User:CN=c83:1 is Denied operation = DESCRIBE from host = 192.0.2.7 on resource = Group:LITERAL:foo for request =
//!     FindCoordinator with resourceRefCount = 1 based on rule DefaultDeny
//! ```
//!
//! The resource's name is whatever a consumer has asked for, line ends included: it can hold what looks like the next line, about
//! another client. Clumsy ones are noticed by a beginning or an end that stands alone, and nothing of what was written at about that
//! time is believed then ([`Word::Forged`]). Careful ones are not; the brokers' pattern `%enc{%m}{CRLF}` in place of `%m` makes all of
//! them impossible. So what is read here is told to the client, as plain text in a fixed sentence, while nobody is seen reading for
//! it; nothing is ever done because of it, and no credential counts as used.

use crate::kafka::acls::Principal;
use crate::names::{ClientId, Namespace};
use crate::store::{Credential, CredentialState, Millis};
use std::collections::HashMap;
use std::net::IpAddr;

/// Clients whose last refusal is kept.
const MOST_CLIENTS: usize = 100_000;
/// Characters of a resource's name that are shown.
const LONGEST_NAME: usize = 100;

const BEGIN: &str = "Principal = ";
const END: &str = " for request = ";

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A client was refused something.
    Denied(Box<Refusal>),
    /// Nothing about a client.
    Other,
    /// A part of a line that somebody has broken.
    Forged,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// When it was read here.
    pub at: Millis,
    /// Whose.
    pub id: ClientId,
    /// Which of its credentials.
    pub generation: u32,
    pub host: IpAddr,
    /// `group` or `topic`.
    pub resource: &'static str,
    /// At most [`LONGEST_NAME`] characters, none of them a control character.
    pub name: String,
    /// Something else than reading was asked for.
    pub is_write: bool,
}

/// Reads a line, seen at `at`.
pub(super) fn read(line: &[u8], at: Millis) -> Word {
    let Ok(line) = std::str::from_utf8(line) else {
        // A name can be of any bytes; what else there is in such a line cannot be told.
        return if contains(line, BEGIN) || contains(line, END) { Word::Forged } else { Word::Other };
    };
    let (begins, ends) = (line.matches(BEGIN).count(), line.matches(END).count());
    match (begins, ends) {
        (0, 0) => return Word::Other,
        (1, 1) => {}
        _ => return Word::Forged,
    }
    let Some((_, rest)) = line.split_once(BEGIN) else { return Word::Forged };
    parse(rest, at).unwrap_or(Word::Other)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn parse(rest: &str, at: Millis) -> Option<Word> {
    let (principal, rest) = rest.split_once(" is ")?;
    let Principal::Client(id, generation) = Principal::parse(principal)? else { return None };
    let (verdict, rest) = rest.split_once(" operation = ")?;
    let (operation, rest) = rest.split_once(" from host = ")?;
    let (host, rest) = rest.split_once(" on resource = ")?;
    let host: IpAddr = host.parse().ok()?;
    let (resource, _) = rest.split_once(END)?;
    let (kind, rest) = resource.split_once(':')?;
    let (pattern, name) = rest.split_once(':')?;
    let resource = match kind {
        "Group" => "group",
        "Topic" => "topic",
        // A program that asks for more than it needs goes on without it.
        _ => return None,
    };
    if pattern != "LITERAL" {
        return None;
    }
    (verdict == "Denied").then(|| {
        Word::Denied(Box::new(Refusal {
            at,
            id,
            generation,
            host,
            resource,
            name: shown(name),
            is_write: !matches!(operation, "READ" | "DESCRIBE"),
        }))
    })
}

fn shown(name: &str) -> String {
    // Control characters, and those that turn a text's direction.
    let is_odd = |c: char| {
        c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String = name.chars().take(LONGEST_NAME).map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect();
    if name.chars().nth(LONGEST_NAME).is_some() {
        shown.push('…');
    }
    shown
}

impl Refusal {
    /// What is wrong and what to do.
    pub fn why(&self, namespace: &Namespace, credentials: &[Credential], now: Millis) -> String {
        let Refusal { id, generation, name, .. } = self;
        let prefix = id.group_prefix();
        let topic = namespace.topic(id);
        match self.resource {
            "group" if !name.starts_with(&prefix) => {
                return format!("Group \"{name}\" is refused: the names of your groups must begin with \"{prefix}\".");
            }
            "topic" if *name != topic => {
                return format!("Topic \"{name}\" is refused: yours is \"{topic}\", and no other.");
            }
            "topic" if self.is_write => {
                return format!("Topic \"{topic}\" is for reading: something else was tried.");
            }
            _ => {}
        }
        let credential = credentials.iter().find(|credential| credential.generation == *generation);
        match credential {
            None => format!("Credential {generation} is not one of yours; download a new one."),
            Some(one) if one.state == CredentialState::Revoked => {
                format!("Credential {generation} was revoked: this consumer needs a newer one.")
            }
            Some(one) if !one.is_live(now) => {
                format!("Credential {generation} has expired: this consumer needs a newer one.")
            }
            Some(_) => {
                format!("Credential {generation} may not do this yet: its rights reach all brokers within seconds.")
            }
        }
    }
}

/// The last refusal of each client.
#[derive(Default)]
pub(super) struct Refusals {
    last: HashMap<ClientId, Refusal>,
    /// The logs can be read.
    pub is_seeing: bool,
}

impl Refusals {
    /// Notes refusals of before `until`, and forgets those of before `since`.
    pub fn note(&mut self, refusals: Vec<Refusal>, since: Millis) {
        self.last.retain(|_, refusal| refusal.at >= since);
        for refusal in refusals {
            if self.last.len() < MOST_CLIENTS || self.last.contains_key(&refusal.id) {
                self.last.insert(refusal.id.clone(), refusal);
            }
        }
    }

    /// The client's last one, if it was since then.
    pub fn last(&self, id: &ClientId, since: Millis) -> Option<&Refusal> {
        self.last.get(id).filter(|refusal| refusal.at >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(verdict: &str, principal: &str, resource: &str) -> String {
        format!(
            "[2026-11-28 03:11:56,752] INFO Principal = {principal} is {verdict} operation = READ from host = 192.0.2.7 on resource = \
             {resource} for request = Fetch with resourceRefCount = 1 based on rule DefaultDeny (kafka.authorizer.logger)"
        )
    }

    fn denied(resource: &str) -> Word {
        read(line("Denied", "User:CN=c83:1", resource).as_bytes(), 5)
    }

    fn why(resource: &str, credentials: &[Credential]) -> String {
        let Word::Denied(refusal) = denied(resource) else { panic!("{resource}") };
        refusal.why(&Namespace::new("logs.").unwrap(), credentials, 1000)
    }

    fn credential(state: CredentialState, not_after: i64) -> Credential {
        Credential {
            id: ClientId::new("c83").unwrap(),
            generation: 1,
            state,
            fingerprint: None,
            not_after: Some(not_after),
            created_at: 0,
            first_used: None,
            last_used: None,
            revoked_at: None,
        }
    }

    #[test]
    fn a_refusal_is_read() {
        let Word::Denied(refusal) = denied("Group:LITERAL:a b:c") else { panic!("not read") };
        assert_eq!((refusal.id.as_str(), refusal.generation, refusal.resource), ("c83", 1, "group"));
        assert_eq!((refusal.name.as_str(), refusal.at, refusal.host.to_string()), ("a b:c", 5, "192.0.2.7".into()));
    }

    #[test]
    fn what_is_of_others_or_not_a_line_is_nothing() {
        for other in [
            line("Denied", "User:CN=admin", "Group:LITERAL:x"),
            line("Denied", "User:CN=edge:one", "Group:LITERAL:x"),
            line("Denied", "User:ANONYMOUS", "Group:LITERAL:x"),
            line("Denied", "User:CN=c83:1", "Cluster:LITERAL:kafka-cluster"),
            line("Denied", "User:CN=c83:1", "Group:PREFIXED:x"),
            line("Allowed", "User:CN=c83:1", "Group:LITERAL:x"),
            line("Denied", "User:CN=c83:1", "Group:LITERAL:x").replace("192.0.2.7", "<script>"),
            "Replayed AccessControlEntryRecord, principal=User:CN=c83:1".into(),
            String::new(),
        ] {
            assert_eq!(read(other.as_bytes(), 5), Word::Other, "{other}");
        }
    }

    #[test]
    fn a_name_with_a_line_end_is_noticed() {
        let real = line("Denied", "User:CN=c8:1", "Group:LITERAL:NAME");
        let fake = line("Denied", "User:CN=c83:1", "Group:LITERAL:foo");
        for name in [
            format!("x\n{fake}"),
            format!("x\n{fake}\n"),
            format!("x for request = Fetch\n{fake}"),
            format!("x for request = Fetch\n{fake}\n"),
            format!("\n{fake}\nanything"),
            "x\nPrincipal = ".to_owned(),
        ] {
            let text = real.replace("NAME", &name);
            let words: Vec<Word> = text.lines().map(|line| read(line.as_bytes(), 5)).collect();
            assert!(words.contains(&Word::Forged), "{text}: {words:?}");
        }
        assert_eq!(read(b"Principal = \xff", 5), Word::Forged);
        assert_eq!(read(b"\xff", 5), Word::Other);
    }

    #[test]
    fn what_is_shown_of_a_name_is_short_and_plain() {
        let Word::Denied(refusal) = denied(&format!("Group:LITERAL:\u{202e}\u{1b}{}", "x".repeat(500))) else {
            panic!()
        };
        assert!(refusal.name.starts_with("\u{fffd}\u{fffd}x") && refusal.name.chars().count() == 101);
    }

    #[test]
    fn the_sentence_names_what_is_wrong() {
        let live = credential(CredentialState::Active, 2000);
        assert!(why("Group:LITERAL:foo", &[]).contains("must begin with \"c83:\""));
        assert!(why("Group:LITERAL:c8:foo", &[]).contains("must begin with \"c83:\""));
        assert!(why("Topic:LITERAL:logs.c84", &[]).contains("yours is \"logs.c83\""));
        assert!(why("Topic:LITERAL:logs.c83", &[]).contains("not one of yours"));
        assert!(why("Topic:LITERAL:logs.c83", &[live]).contains("within seconds"));
        assert!(why("Group:LITERAL:c83:x", &[credential(CredentialState::Revoked, 2000)]).contains("revoked"));
        assert!(why("Topic:LITERAL:logs.c83", &[credential(CredentialState::Active, 500)]).contains("expired"));
        let write = line("Denied", "User:CN=c83:1", "Topic:LITERAL:logs.c83").replace("= READ", "= WRITE");
        let Word::Denied(refusal) = read(write.as_bytes(), 5) else { panic!("not read") };
        assert!(refusal.why(&Namespace::new("logs.").unwrap(), &[], 0).contains("for reading"));
    }

    #[test]
    fn old_refusals_are_forgotten() {
        let Word::Denied(refusal) = denied("Group:LITERAL:x") else { panic!("not read") };
        let id = refusal.id.clone();
        let mut refusals = Refusals::default();
        refusals.note(vec![*refusal], 0);
        assert!(refusals.last(&id, 5).is_some() && refusals.last(&id, 6).is_none());
        refusals.note(Vec::new(), 6);
        assert!(refusals.last(&id, 0).is_none());
    }
}

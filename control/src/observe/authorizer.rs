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
use crate::seen::Refusal;
use crate::store::Millis;
use std::net::IpAddr;

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

    #[test]
    fn a_refusal_is_read() {
        let Word::Denied(refusal) = denied("Group:LITERAL:a b:c") else { panic!("not read") };
        assert_eq!((refusal.id.as_str(), refusal.generation, refusal.resource), ("c83", 1, "group"));
        assert_eq!((refusal.name.as_str(), refusal.at, refusal.host.to_string()), ("a b:c", 5, "192.0.2.7".into()));
        assert!(!refusal.is_write);
        let write = line("Denied", "User:CN=c83:1", "Topic:LITERAL:logs.c83").replace("= READ", "= WRITE");
        let Word::Denied(refusal) = read(write.as_bytes(), 5) else { panic!("not read") };
        assert!(refusal.is_write && refusal.resource == "topic");
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
}

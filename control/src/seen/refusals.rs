//! What Kafka has refused clients lately, and what they are told of it.

use crate::names::{ClientId, Namespace};
use crate::store::{Credential, CredentialState, Millis};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// A refusal is told of for so long.
pub(crate) const REFUSED_WITHIN: Duration = Duration::from_secs(600);
/// Clients whose last refusal is kept.
const MOST_CLIENTS: usize = 100_000;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// When it was read here.
    pub at: Millis,
    /// Whose.
    pub id: ClientId,
    /// Which of its credentials.
    pub generation: u32,
    pub host: IpAddr,
    /// `group` or `topic`.
    pub resource: &'static str,
    /// Short, and without control characters.
    pub name: String,
    /// Something else than reading was asked for.
    pub is_write: bool,
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
pub(crate) struct Refusals {
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

    fn refusal(resource: &'static str, name: &str) -> Refusal {
        Refusal {
            at: 5,
            id: ClientId::new("c83").unwrap(),
            generation: 1,
            host: IpAddr::from([192, 0, 2, 7]),
            resource,
            name: name.to_owned(),
            is_write: false,
        }
    }

    fn why(refusal: &Refusal, credentials: &[Credential]) -> String {
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
    fn the_sentence_names_what_is_wrong() {
        let live = credential(CredentialState::Active, 2000);
        let revoked = credential(CredentialState::Revoked, 2000);
        let expired = credential(CredentialState::Active, 500);
        let own = refusal("topic", "logs.c83");
        assert!(why(&refusal("group", "foo"), &[]).contains("must begin with \"c83:\""));
        assert!(why(&refusal("group", "c8:foo"), &[]).contains("must begin with \"c83:\""));
        assert!(why(&refusal("topic", "logs.c84"), &[]).contains("yours is \"logs.c83\""));
        assert!(why(&own, &[]).contains("not one of yours"));
        assert!(why(&own, &[live]).contains("within seconds"));
        assert!(why(&refusal("group", "c83:x"), &[revoked]).contains("revoked"));
        assert!(why(&own, &[expired]).contains("expired"));
        assert!(why(&Refusal { is_write: true, ..own }, &[]).contains("for reading"));
    }

    #[test]
    fn old_refusals_are_forgotten() {
        let refusal = refusal("group", "x");
        let id = refusal.id.clone();
        let mut refusals = Refusals::default();
        refusals.note(vec![refusal], 0);
        assert!(refusals.last(&id, 5).is_some() && refusals.last(&id, 6).is_none());
        refusals.note(Vec::new(), 6);
        assert!(refusals.last(&id, 0).is_none());
    }
}

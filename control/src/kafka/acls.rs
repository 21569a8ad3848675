//! Rights: what a client and an edge should have, what is found, and what is to be done about it.
//!
//! | principal | right |
//! |---|---|
//! | client, each live generation | Read on its topic; Read on groups that begin with `<id>:` |
//! | edge | Write on topics that begin with the namespace; Read on `tel.clients`; Write on `tel.acks` |
//!
//! Kafka adds Describe to either. A producer that is idempotent needs nothing more since Kafka 3.0.
//!
//! What is not of a principal that the caller names is not looked at, and never changed. Of those, a live one keeps what else it
//! was given by others (it is told as *strange*); one that has ended loses everything. A generation of which the caller says nothing
//! is *strange*, too: a database restored from yesterday does not know today's credentials, and must not end them.

use super::admin::{Acl, AclFilter, Admin, Operation, Pattern, Permission, ResourceType};
use crate::error::{Error, Result};
use crate::names::{ClientId, EdgeName, Namespace, ACKS_TOPIC, LIST_TOPIC};
use std::collections::{BTreeMap, BTreeSet};

/// A client and its generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAccess {
    /// Whose.
    pub id: ClientId,
    /// Generations that may consume.
    pub live: Vec<u32>,
    /// Generations that may no more. One that is in both is not live.
    pub ended: Vec<u32>,
}

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeAccess {
    /// Whose.
    pub name: EdgeName,
    /// Whether it may deliver; a retired one may not.
    pub live: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclPlan {
    /// Rights that are missing.
    pub create: Vec<Acl>,
    /// Rights that have ended.
    pub delete: Vec<Acl>,
    /// Rights that somebody else gave to, or took from, one of ours. They stay; people should know.
    pub strange: Vec<Strange>,
}

/// A right that this code would not have given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strange {
    /// The right.
    pub acl: Acl,
    /// What is strange about it.
    pub why: String,
}

impl AclPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty()
    }
}

/// Whose name a principal is, as far as names of ours go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A client's generation.
    Client(ClientId, u32),
    /// An edge's.
    Edge(EdgeName),
}

impl Principal {
    /// Reads `User:CN=<id>:<generation>` and `User:CN=edge:<name>`; anything else is not ours.
    pub fn parse(text: &str) -> Option<Principal> {
        let (id, rest) = text.strip_prefix("User:CN=")?.split_once(':')?;
        // An edge may have a number for a name, and a client may be called `edge`.
        if id == "edge" {
            if let Ok(generation) = parse_generation(rest) {
                return Some(Principal::Client(ClientId::new(id).ok()?, generation));
            }
            return EdgeName::new(rest).ok().map(Principal::Edge);
        }
        Some(Principal::Client(ClientId::new(id).ok()?, parse_generation(rest).ok()?))
    }
}

fn parse_generation(text: &str) -> std::result::Result<u32, ()> {
    let generation: u32 = text.parse().map_err(|_| ())?;
    // One way to write each.
    (generation > 0 && generation.to_string() == text).then_some(generation).ok_or(())
}

/// What a client's generation should have.
pub fn client_rights(namespace: &Namespace, id: &ClientId, generation: u32) -> [Acl; 2] {
    let principal = id.principal(generation);
    let topic = namespace.topic(id);
    [
        Acl::allow(&principal, Operation::Read, ResourceType::Topic, Pattern::Literal, &topic),
        Acl::allow(&principal, Operation::Read, ResourceType::Group, Pattern::Prefixed, &id.group_prefix()),
    ]
}

/// What an edge should have.
pub fn edge_rights(namespace: &Namespace, name: &EdgeName) -> [Acl; 3] {
    let principal = name.principal();
    [
        Acl::allow(&principal, Operation::Write, ResourceType::Topic, Pattern::Prefixed, namespace.as_str()),
        Acl::allow(&principal, Operation::Read, ResourceType::Topic, Pattern::Literal, LIST_TOPIC),
        Acl::allow(&principal, Operation::Write, ResourceType::Topic, Pattern::Literal, ACKS_TOPIC),
    ]
}

/// Compares what these clients and edges should have with what was found.
pub fn plan(namespace: &Namespace, clients: &[ClientAccess], edges: &[EdgeAccess], found: &[Acl]) -> AclPlan {
    let mut wanted: BTreeSet<Acl> = BTreeSet::new();
    // By principal: whether it is live.
    let mut ours: BTreeMap<String, bool> = BTreeMap::new();
    let mut known: BTreeSet<&ClientId> = BTreeSet::new();
    for client in clients {
        known.insert(&client.id);
        for generation in &client.live {
            if !client.ended.contains(generation) {
                wanted.extend(client_rights(namespace, &client.id, *generation));
                ours.insert(client.id.principal(*generation), true);
            }
        }
        ours.extend(client.ended.iter().map(|generation| (client.id.principal(*generation), false)));
    }
    for edge in edges {
        if edge.live {
            wanted.extend(edge_rights(namespace, &edge.name));
        }
        ours.insert(edge.name.principal(), edge.live);
    }

    let mut plan = AclPlan::default();
    let mut there: BTreeSet<&Acl> = BTreeSet::new();
    let strange = |acl: &Acl, why: String| Strange { acl: acl.clone(), why };
    for acl in found {
        match ours.get(&acl.principal) {
            Some(false) => plan.delete.push(acl.clone()),
            Some(true) if wanted.contains(acl) => {
                there.insert(acl);
            }
            Some(true) if acl.permission == Permission::Deny => {
                plan.strange.push(strange(acl, "somebody refuses it what it should have".to_owned()));
            }
            Some(true) => plan.strange.push(strange(acl, "somebody gave it more than it should have".to_owned())),
            None => match Principal::parse(&acl.principal) {
                Some(Principal::Client(id, generation)) if known.contains(&id) => {
                    plan.strange
                        .push(strange(acl, format!("generation {generation} of client {id} is not in the database")));
                }
                _ => {}
            },
        }
    }
    plan.create = wanted.into_iter().filter(|acl| !there.contains(acl)).collect();
    plan
}

/// All rights on topics, groups and transactional ids, whoever has them.
///
/// # Errors
/// Those of the requests.
pub fn look_up_all(admin: &Admin) -> Result<Vec<Acl>> {
    // One kind at a time keeps the answers small.
    let mut found = Vec::new();
    for resource in [ResourceType::Topic, ResourceType::Group, ResourceType::TransactionalId] {
        found.extend(admin.describe_acls(&AclFilter { resource: Some(resource), ..AclFilter::default() })?);
    }
    Ok(found)
}

/// What there is of rights of the principals in question: few are looked up one by one, many with all rights on topics and groups.
///
/// A look-up of a single principal sees all it has; that of all sees rights on topics, groups and transactional ids, also those of a
/// client's generations that the caller does not name.
///
/// # Errors
/// Those of the requests.
pub fn look_up(admin: &Admin, clients: &[ClientAccess], edges: &[EdgeAccess]) -> Result<Vec<Acl>> {
    /// Kafka goes through all its ACLs for each look-up.
    const FEW: usize = 20;
    let of_clients = clients.iter().flat_map(|client| {
        let generations: BTreeSet<&u32> = client.live.iter().chain(&client.ended).collect();
        generations.into_iter().map(|generation| client.id.principal(*generation))
    });
    let principals: Vec<String> =
        of_clients.chain(edges.iter().map(|edge| edge.name.principal())).take(FEW + 1).collect();
    if principals.len() > FEW {
        return look_up_all(admin);
    }
    let mut found = Vec::new();
    for principal in principals {
        found.extend(admin.describe_acls(&AclFilter::of(&principal))?);
    }
    Ok(found)
}

/// Does what is to be done: first what ends, then what begins; and tells for which principals it was not done, and why. Doing it again
/// changes nothing. Brokers hear of it a moment after the controller has answered.
///
/// # Errors
/// Those of the requests as a whole.
pub fn apply_each(admin: &Admin, plan: &AclPlan) -> Result<BTreeMap<String, Error>> {
    let mut failed = BTreeMap::new();
    let mut take = |principals: &mut dyn Iterator<Item = &str>, answers: Vec<Option<Error>>| {
        for (principal, error) in principals.zip(answers) {
            if let Some(error) = error {
                failed.entry(principal.to_owned()).or_insert(error);
            }
        }
    };
    if !plan.delete.is_empty() {
        // Who has ended loses everything: one filter for each, as Kafka goes through all its ACLs for every filter.
        let principals: BTreeSet<&str> = plan.delete.iter().map(|acl| acl.principal.as_str()).collect();
        let filters: Vec<AclFilter> = principals.iter().copied().map(AclFilter::of).collect();
        let answers = admin.delete_acls(&filters)?.into_iter().map(Result::err).collect();
        take(&mut principals.into_iter(), answers);
    }
    if !plan.create.is_empty() {
        let answers = admin.create_acls(&plan.create)?.into_iter().map(Result::err).collect();
        take(&mut plan.create.iter().map(|acl| acl.principal.as_str()), answers);
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace() -> Namespace {
        Namespace::new("logs.").unwrap()
    }

    fn client(id: &str, live: &[u32], ended: &[u32]) -> ClientAccess {
        ClientAccess { id: ClientId::new(id).unwrap(), live: live.to_vec(), ended: ended.to_vec() }
    }

    fn texts(acls: &[Acl]) -> Vec<String> {
        acls.iter().map(Acl::to_string).collect()
    }

    #[test]
    fn a_principal_of_ours_has_one_form() {
        let client = |id: &str, generation| Some(Principal::Client(ClientId::new(id).unwrap(), generation));
        assert_eq!(Principal::parse("User:CN=c83:1"), client("c83", 1));
        assert_eq!(Principal::parse("User:CN=edge:2"), client("edge", 2));
        assert_eq!(Principal::parse("User:CN=edge:two"), Some(Principal::Edge(EdgeName::new("two").unwrap())));
        for other in [
            "User:CN=admin",
            "User:CN=c83",
            "User:CN=c83:0",
            "User:CN=c83:01",
            "User:CN=c83:+1",
            "User:CN=c83:x",
            "User:CN=c83:1,OU=x",
            "User:c83:1",
            "Group:CN=c83:1",
            "User:*",
            "User:CN=a b:1",
        ] {
            assert_eq!(Principal::parse(other), None, "{other}");
        }
    }

    #[test]
    fn rights_are_those_of_the_contract() {
        let id = ClientId::new("c83").unwrap();
        assert_eq!(
            texts(&client_rights(&namespace(), &id, 2)),
            ["User:CN=c83:2: Allow Read on Topic Literal logs.c83", "User:CN=c83:2: Allow Read on Group Prefixed c83:"]
        );
        assert_eq!(
            texts(&edge_rights(&namespace(), &EdgeName::new("one").unwrap())),
            [
                "User:CN=edge:one: Allow Write on Topic Prefixed logs.",
                "User:CN=edge:one: Allow Read on Topic Literal tel.clients",
                "User:CN=edge:one: Allow Write on Topic Literal tel.acks"
            ]
        );
    }

    #[test]
    fn what_is_missing_is_made_and_what_has_ended_goes() {
        let id = ClientId::new("c83").unwrap();
        let [topic, group] = client_rights(&namespace(), &id, 2);
        let old = client_rights(&namespace(), &id, 1);
        let mut found = old.to_vec();
        found.push(topic);
        let plan = plan(&namespace(), &[client("c83", &[1, 2], &[1])], &[], &found);
        assert_eq!(plan.create, [group]);
        assert_eq!(plan.delete, old);
        assert!(plan.strange.is_empty());
    }

    #[test]
    fn what_is_not_known_stays() {
        let other = |text: &str| Acl::allow(text, Operation::All, ResourceType::Topic, Pattern::Prefixed, "logs.");
        let unknown_generation = other("User:CN=c83:9");
        let mut more = other("User:CN=c83:1");
        more.operation = Operation::Write;
        let found =
            [other("User:CN=admin"), other("User:CN=c8:1"), other("User:*"), unknown_generation.clone(), more.clone()];
        let plan = plan(&namespace(), &[client("c83", &[1], &[])], &[], &found);
        assert_eq!(plan.create.len(), 2);
        assert!(plan.delete.is_empty());
        assert_eq!(plan.strange.iter().map(|strange| &strange.acl).collect::<Vec<_>>(), [&unknown_generation, &more]);
    }

    #[test]
    fn an_edge_that_is_retired_loses_everything() {
        let name = EdgeName::new("one").unwrap();
        let found = edge_rights(&namespace(), &name);
        let plan = plan(&namespace(), &[], &[EdgeAccess { name, live: false }], &found);
        assert_eq!(plan.delete, found);
        assert!(plan.create.is_empty());
    }
}

//! Compares what is wanted of clients with what Kafka has, and changes nothing.

use super::list::listed;
use super::quota::{self, Quotas};
use super::{rights, topic};
use crate::app::{now, App};
use crate::error::{Error, Kind, Result};
use crate::kafka::acls::{self, ClientAccess, Principal};
use crate::kafka::admin::{Acl, ConfigChange};
use crate::kafka::list::{read_all, ListState};
use crate::kafka::topics::{self, Found, Wanted};
use crate::kafka::{quotas, PATIENCE};
use crate::names::ClientId;
use crate::store::{Client, Credential, Desired, Millis, OwnSettings, Step};
use std::collections::{HashMap, HashSet};

/// All of Kafka that is looked at in one go.
pub(super) struct Snapshot {
    /// When it was taken: what is newer is not compared.
    pub at: Millis,
    /// The list; none if there is no topic.
    pub list: Option<ListState>,
    /// Rights of clients' generations, by the client's id.
    rights: HashMap<String, Vec<Acl>>,
    /// Rights of edges.
    pub edge_rights: Vec<Acl>,
    quotas: Quotas,
}

/// What is about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// It is done.
    Todo,
    /// It is done, and is about a quota: that step, or the end of rights.
    Quota,
    /// Somebody else has decided otherwise: it stays.
    Conflict,
    /// A right that would not have been given: it stays.
    Strange,
}

/// Something that is not as wanted.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub id: ClientId,
    pub step: Step,
    pub about: About,
    /// What is done about it, or what it is.
    pub text: String,
}

impl Snapshot {
    pub async fn take(app: &App) -> Result<Snapshot> {
        let at = now();
        let with_quotas = app.config().quota.consumer_bytes_per_second.is_some();
        let (list, found, quotas) = app
            .kafka(move |admin, connection| {
                let list = match read_all(connection, admin, PATIENCE) {
                    Ok(list) => Some(list),
                    Err(error) if error.kind == Kind::NotFound => None,
                    Err(error) => return Err(error),
                };
                let quotas = if with_quotas { quotas::describe(connection)? } else { Quotas::new() };
                Ok((list, acls::look_up_all(admin)?, quotas))
            })
            .await?;
        let mut snapshot = Snapshot { at, list, rights: HashMap::new(), edge_rights: Vec::new(), quotas };
        for acl in found {
            match Principal::parse(&acl.principal) {
                Some(Principal::Client(id, _)) => snapshot.rights.entry(id.to_string()).or_default().push(acl),
                Some(Principal::Edge(_)) => snapshot.edge_rights.push(acl),
                None => {}
            }
        }
        Ok(snapshot)
    }
}

/// What differs for these clients, at most 1000.
pub(super) async fn page(app: &App, snapshot: &Snapshot, clients: &[Client]) -> Result<Vec<Difference>> {
    let ids: Vec<ClientId> = clients.iter().map(|client| client.id.clone()).collect();
    let credentials = app.store().credentials_of(&ids).await?;
    let own = app.store().own_settings(&ids).await?;
    let (mut differences, foreign) = of_topics(app, clients, &own).await?;
    let none: Vec<Credential> = Vec::new();
    for client in clients {
        let access = rights::access(client, credentials.get(&client.id).unwrap_or(&none), snapshot.at);
        let has_topic = !foreign.contains(&client.id);
        of_rights(app, snapshot, client, &access, has_topic, &mut differences);
        if has_topic {
            of_list(snapshot, client, &mut differences);
        }
    }
    Ok(differences)
}

/// Of topics that are wanted, and of those whose time is over; and the clients whose topic is somebody else's.
async fn of_topics(
    app: &App,
    clients: &[Client],
    own: &HashMap<ClientId, OwnSettings>,
) -> Result<(Vec<Difference>, HashSet<ClientId>)> {
    let none = OwnSettings::new();
    let mut differences = Vec::new();
    let (mut ids, mut wanted): (HashMap<String, ClientId>, Vec<Wanted>) = (HashMap::new(), Vec::new());
    for client in clients {
        match client.desired {
            Desired::Wanted => match topic::wanted(app, client, own.get(&client.id).unwrap_or(&none)) {
                Ok(topic) => {
                    ids.insert(topic.name.clone(), client.id.clone());
                    wanted.push(topic);
                }
                Err(error) => differences.push(conflict(&client.id, Step::Topic, error.text)),
            },
            Desired::Leaving { delete_after, .. } if delete_after <= now() => {
                if let Some(topic_id) = &client.topic_id {
                    let text = format!("delete topic {} (id {topic_id})", client.topic);
                    differences.push(todo(&client.id, Step::TopicDeleted, text));
                }
            }
            Desired::Leaving { .. } => {}
        }
    }
    let namespace = app.namespace().clone();
    let compared = app.kafka(move |admin, _| {
        let mut failed: Vec<(String, Error)> = Vec::new();
        let (mut sound, mut present): (Vec<Wanted>, Vec<Option<Found>>) = (Vec::new(), Vec::new());
        for (wanted, found) in wanted.iter().zip(topics::look_up_each(admin, &wanted)?) {
            match found {
                Ok(found) => {
                    sound.push(wanted.clone());
                    present.push(found);
                }
                Err(error) => failed.push((wanted.name.clone(), error)),
            }
        }
        Ok((topics::plan(&namespace, &sound, &present)?, failed))
    });
    let (plan, failed) = compared.await?;
    let mut add = |name: &str, about, text| {
        if let Some(id) = ids.get(name) {
            differences.push(Difference { id: id.clone(), step: Step::Topic, about, text });
        }
    };
    for step in &plan.steps {
        match step {
            topics::Step::Create(topic) => {
                add(
                    &topic.name,
                    About::Todo,
                    format!("create topic {} with {} partitions", topic.name, topic.partitions),
                );
            }
            topics::Step::Grow(name, from, to) => {
                add(name, About::Todo, format!("give topic {name} {to} partitions, it has {from}"));
            }
            topics::Step::Configure(name, changes) => {
                let changes: Vec<String> = changes.iter().map(setting).collect();
                add(name, About::Todo, format!("set {} on topic {name}", changes.join(", ")));
            }
        }
    }
    for (name, text) in plan.conflicts {
        let way_out = ids.get(&name).filter(|_| plan.foreign.contains(&name)).map(topic::way_out);
        let way_out = way_out.map(|way_out| format!("; {way_out}")).unwrap_or_default();
        add(&name, About::Conflict, format!("topic {name}: {text}{way_out}"));
    }
    for (name, error) in failed {
        add(&name, About::Conflict, error.text);
    }
    let foreign = plan.foreign.iter().filter_map(|name| ids.get(name).cloned()).collect();
    Ok((differences, foreign))
}

fn setting(change: &ConfigChange) -> String {
    match change {
        ConfigChange::Set(name, value) => format!("{name}={value}"),
        ConfigChange::Unset(name) => format!("no {name}"),
    }
}

fn of_rights(
    app: &App,
    snapshot: &Snapshot,
    client: &Client,
    access: &ClientAccess,
    has_topic: bool,
    into: &mut Vec<Difference>,
) {
    let wanted = client.desired == Desired::Wanted;
    let step = if wanted { Step::Acls } else { Step::AclsRemoved };
    let none = Vec::new();
    let found = snapshot.rights.get(client.id.as_str()).unwrap_or(&none);
    let plan = acls::plan(app.namespace(), std::slice::from_ref(access), &[], found);
    if has_topic {
        into.extend(plan.create.iter().map(|acl| todo(&client.id, step, format!("create ACL {acl}"))));
    }
    into.extend(plan.delete.iter().map(|acl| todo(&client.id, step, format!("delete ACL {acl}"))));
    into.extend(plan.strange.iter().map(|strange| Difference {
        id: client.id.clone(),
        step,
        about: About::Strange,
        text: format!("ACL {}: {}", strange.acl, strange.why),
    }));
    let quota = if wanted { Step::Quota } else { Step::AclsRemoved };
    into.extend(quota::changes(app, access, &snapshot.quotas).into_iter().map(|change| {
        let text = match change.bytes_per_second {
            Some(bytes) => format!("let {} consume {bytes} bytes a second from each broker", change.principal),
            None => format!("lift the quota of {}", change.principal),
        };
        Difference { id: client.id.clone(), step: quota, about: About::Quota, text }
    }));
}

fn of_list(snapshot: &Snapshot, client: &Client, into: &mut Vec<Difference>) {
    let Some(list) = &snapshot.list else {
        if client.desired == Desired::Wanted {
            into.push(todo(&client.id, Step::List, format!("put {} on the list", client.id)));
        }
        return;
    };
    let (id, is_bad) = (client.id.as_str(), list.bad.contains_key(client.id.as_str()));
    let there = list.clients.get(id);
    if client.desired != Desired::Wanted {
        if there.is_some() || is_bad {
            into.push(todo(&client.id, Step::Unlisted, format!("take {id} off the list")));
        }
    } else if is_bad {
        into.push(todo(&client.id, Step::List, format!("write {id} on the list anew, its record is bad")));
    } else {
        match there {
            None => into.push(todo(&client.id, Step::List, format!("put {id} on the list"))),
            Some(there) if *there != listed(client) => {
                into.push(todo(&client.id, Step::List, format!("change {id} on the list")));
            }
            Some(_) => {}
        }
    }
}

fn todo(id: &ClientId, step: Step, text: String) -> Difference {
    Difference { id: id.clone(), step, about: About::Todo, text }
}

fn conflict(id: &ClientId, step: Step, text: String) -> Difference {
    Difference { id: id.clone(), step, about: About::Conflict, text }
}

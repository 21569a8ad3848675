//! Whether this is the database that Kafka knows, and what becomes of one that is not.
//!
//! The list carries a marker of its database, renewed with every change: an older copy of the database does not know it.
//!
//! | Kafka's marker | |
//! |---|---|
//! | this database's | goes on |
//! | none | goes on, unless the list has clients that the database does not know |
//! | of a later state of this database: it was restored | takes over what Kafka has, and goes on |
//! | of another database | holds until an operator accepts this one ([`accept`]), which takes over what Kafka has |

use super::rights::access;
use super::{topic, Work};
use crate::app::{now, App};
use crate::error::{Error, Result};
use crate::halt;
use crate::kafka::acls::{client_rights, look_up_all};
use crate::kafka::admin::{Acl, ConfigSource};
use crate::kafka::list::{read_all, ListState, Listed};
use crate::kafka::topics::{self, Wanted};
use crate::kafka::PATIENCE;
use crate::names::{ClientId, Namespace};
use crate::store::{
    Actor, Client, ClientSettings, Continuity, Desired, Millis, NewClient, OwnSettings, Recovered, Recovery, Step,
    StepState,
};
use std::collections::{HashMap, HashSet};

/// Clients that are looked at in one go.
const PAGE: usize = 1000;
/// Names that a text has.
const NAMED: usize = 5;

/// What the list says of the database.
pub(super) enum Judged {
    /// It is the right one.
    Sound,
    /// It is an older state of the right one.
    Restored,
    /// It may be the wrong one: why, and what to do.
    Held(String),
}

/// Judges the database by what the list has.
pub(super) async fn judge(app: &App, list: &ListState) -> Result<Judged> {
    const WHAT_TO_DO: &str =
        "start it with the right database, or accept this one, which takes over the clients on the list \
                              (tel-control database accept)";
    match &list.database {
        Some(marker) => Ok(match app.store().judge(marker).await? {
            Continuity::Same => Judged::Sound,
            Continuity::Restored => Judged::Restored,
            Continuity::Other => Judged::Held(format!(
                "the client list in Kafka, with {} clients, is that of another database: {WHAT_TO_DO}",
                list.clients.len()
            )),
        }),
        None => {
            let unknown = unknown(app, list).await?;
            if unknown.is_empty() {
                return Ok(Judged::Sound);
            }
            let names: Vec<&str> = unknown.iter().take(NAMED).map(|client| client.id.as_str()).collect();
            Ok(Judged::Held(format!(
                "the client list in Kafka has {} clients that the database does not know ({}, …): {WHAT_TO_DO}",
                unknown.len(),
                names.join(", ")
            )))
        }
    }
}

/// The client as it can be adopted: its id and topic are as they would be made here.
pub(super) fn adoptable(namespace: &Namespace, listed: &Listed) -> Option<ClientId> {
    let id = ClientId::new(&listed.id).ok()?;
    (namespace.topic(&id) == listed.topic).then_some(id)
}

/// Clients on the list that the database does not know, and that could be its own.
pub(super) async fn unknown<'a>(app: &App, list: &'a ListState) -> Result<Vec<&'a Listed>> {
    let candidates: Vec<(ClientId, &Listed)> =
        list.clients.values().filter_map(|listed| Some((adoptable(app.namespace(), listed)?, listed))).collect();
    let mut unknown = Vec::new();
    for page in candidates.chunks(PAGE) {
        let ids: Vec<ClientId> = page.iter().map(|(id, _)| id.clone()).collect();
        // One whose name falls together with a known one's is a riddle for an operator, and stays.
        let taken = app.store().taken_keys(&ids).await?;
        unknown.extend(page.iter().filter(|(id, _)| !taken.contains(&id.collision_key())).map(|(_, listed)| *listed));
    }
    Ok(unknown)
}

/// Accepts this database, though the list is that of another one: an operator's decision. It takes over the clients on the list.
///
/// # Errors
/// `Conflict` if there is nothing to accept; `Unavailable` if Kafka or the database is.
pub async fn accept(app: &App, who: &Actor) -> Result<Recovered> {
    app.kafka_answers().await?;
    let list = app.kafka(|admin, connection| read_all(connection, admin, PATIENCE)).await?;
    if let Judged::Sound = judge(app, &list).await? {
        return Err(Error::conflict("the client list is that of this database: there is nothing to accept"));
    }
    let recovered = recover(app, who, &list).await.map_err(|trouble| match trouble {
        super::Trouble::Store(error) | super::Trouble::Kafka(error) => error,
    })?;
    app.wake();
    Ok(recovered)
}

/// Takes over what Kafka has. Nothing in Kafka is changed.
pub(super) async fn recover(app: &App, who: &Actor, list: &ListState) -> Work<Recovered> {
    let grace = Millis::try_from(app.config().grace_period.as_millis()).unwrap_or(Millis::MAX);
    let (listed, topics) = adopted(app, list).await?;
    let mut recovery = Recovery {
        listed,
        topics,
        left: Vec::new(),
        without_rights: Vec::new(),
        delete_after: now().saturating_add(grace),
    };
    let acls = app.kafka(|admin, _| look_up_all(admin)).await.map_err(super::Trouble::Kafka)?;
    let acls: HashSet<Acl> = acls.into_iter().collect();
    let mut after = None;
    loop {
        let page = app.store().clients(Some(false), after.as_ref(), PAGE).await?;
        recovery.without_rights.extend(without_rights(app, &page.clients, &acls).await?);
        let is_off = |id: &str| !list.clients.contains_key(id) && !list.bad.contains_key(id);
        let left = page.clients.iter().filter(|client| client.listed.is_some() && is_off(client.id.as_str()));
        recovery.left.extend(left.map(|client| client.id.clone()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let recovered = app.store().recover(who, list.database.as_ref(), &recovery, now()).await?;
    halt::at("recovered");
    for (id, why) in &recovered.strange {
        crate::log::warning(format!("reconciler: client {id} stays on the list and is not adopted: {why}"));
    }
    Ok(recovered)
}

/// The clients on the list as they would be added, and the ids of topics that are not recorded: of whoever is on the list, the topic is
/// the client's. Clients that are not known get the settings that their topics have.
async fn adopted(app: &App, list: &ListState) -> Work<(Vec<NewClient>, Vec<(ClientId, String)>)> {
    let mut new = Vec::new();
    for listed in list.clients.values() {
        let Some(id) = adoptable(app.namespace(), listed) else { continue };
        let settings = ClientSettings {
            sample: listed.sample,
            max_lines_per_second: listed.max_lines_per_second,
            ..ClientSettings::default()
        };
        let settings = if settings.check().is_ok() { settings } else { ClientSettings::default() };
        new.push(NewClient { id, topic: listed.topic.clone(), settings });
    }
    let mut of_topics: HashMap<String, ClientSettings> = HashMap::new();
    let mut topic_ids = Vec::new();
    for page in new.chunks(PAGE) {
        let ids: Vec<ClientId> = page.iter().map(|client| client.id.clone()).collect();
        let known = app.store().clients_of(&ids).await?;
        let recorded: HashSet<&ClientId> =
            known.iter().filter(|client| client.topic_id.is_some()).map(|client| &client.id).collect();
        let open: Vec<&NewClient> = page.iter().filter(|client| !recorded.contains(&client.id)).collect();
        let mut wanted: Vec<Wanted> = Vec::new();
        for new in &open {
            let client = as_client(new);
            wanted.push(topic::wanted(app, &client, &OwnSettings::new())?);
        }
        let found = app.kafka(move |admin, _| Ok((topics::look_up_each(admin, &wanted)?, wanted)));
        let (found, wanted) = found.await.map_err(super::Trouble::Kafka)?;
        for ((found, wanted), new) in found.into_iter().zip(wanted).zip(open) {
            let Ok(Some(found)) = found else { continue };
            topic_ids.push((new.id.clone(), found.topic.id.as_str().to_owned()));
            let retention =
                found.config.iter().find(|entry| entry.name == "retention.ms" && entry.source == ConfigSource::Topic);
            let differs = |value: &&String| wanted.policy.config.get("retention.ms") != Some(*value);
            let retention_ms =
                retention.and_then(|entry| entry.value.as_ref()).filter(differs).and_then(|ms| ms.parse().ok());
            let partitions = u32::try_from(found.topic.partitions)
                .ok()
                .filter(|_| found.topic.partitions != wanted.policy.partitions);
            let settings = ClientSettings { retention_ms, partitions, ..ClientSettings::default() };
            if settings.check().is_ok() {
                of_topics.insert(wanted.name, settings);
            }
        }
    }
    for client in &mut new {
        if let Some(settings) = of_topics.remove(&client.topic) {
            (client.settings.retention_ms, client.settings.partitions) = (settings.retention_ms, settings.partitions);
        }
    }
    Ok((new, topic_ids))
}

fn as_client(new: &NewClient) -> Client {
    Client {
        id: new.id.clone(),
        topic: new.topic.clone(),
        settings: new.settings.clone(),
        desired: Desired::Wanted,
        topic_id: None,
        listed: None,
        created_at: 0,
        revision: 0,
    }
}

/// Credentials that have had their rights and have none of them now.
async fn without_rights(app: &App, clients: &[Client], acls: &HashSet<Acl>) -> Result<Vec<(ClientId, u32)>> {
    let ids: Vec<ClientId> = clients.iter().map(|client| client.id.clone()).collect();
    let steps = app.store().steps_of(&ids).await?;
    let credentials = app.store().credentials_of(&ids).await?;
    let at = now();
    let mut without = Vec::new();
    for client in clients {
        let rows = steps.get(&client.id).map(Vec::as_slice).unwrap_or_default();
        if !rows.iter().any(|row| row.step == Step::Acls && row.state == StepState::Done) {
            continue;
        }
        let of = credentials.get(&client.id).map(Vec::as_slice).unwrap_or_default();
        for generation in access(client, of, at).live {
            let rights = client_rights(app.namespace(), &client.id, generation);
            if !rights.iter().any(|right| acls.contains(right)) {
                without.push((client.id.clone(), generation));
            }
        }
    }
    Ok(without)
}

/// What was taken over, in words.
pub(super) fn told(recovered: &Recovered) -> String {
    let names = |ids: &[ClientId]| {
        let more = if ids.len() > NAMED { ", …" } else { "" };
        let names: Vec<&str> = ids.iter().take(NAMED).map(ClientId::as_str).collect();
        if names.is_empty() {
            String::new()
        } else {
            format!(" ({}{more})", names.join(", "))
        }
    };
    format!(
        "{} clients of the list were not known{}, {} were leaving and are on the list{}, {} were on it and are not any more, and leave{}, \
         {} credentials had been revoked, the deletion of {} topics is put off; generations are set forward",
        recovered.adopted.len(),
        names(&recovered.adopted),
        recovered.back.len(),
        names(&recovered.back),
        recovered.left.len(),
        names(&recovered.left),
        recovered.revoked,
        recovered.put_off
    )
}

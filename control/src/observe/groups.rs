//! Who reads clients' topics, and how far they are: every ten seconds for all clients, and for one client when a page asks.
//!
//! Kafka has no last use of a credential. What can be seen are the members of a group, each with the `client.id` that it gives itself:
//! a bundle's files say which credential is in it (`c83-credential-2`). That is the consumer's own word, not a proof; but only who has a
//! credential of the client's can be in a group of its. A consumer that calls itself otherwise must be using the one credential that
//! works, if there is only one; if there are several, it is noted that nothing can be said of them. One that is in no group (kcat -C) is
//! not seen at all.
//!
//! That a credential is not in use is only known if everybody was looked at: a round in which an answer is missing, or in which Kafka may
//! have kept groups to itself, is not noted as a look.

use crate::app::{now, App};
use crate::bundle::generation_of;
use crate::error::{Error, Kind, Result};
use crate::kafka::admin::{Admin, Member};
use crate::kafka::groups::{extents_of, may_look, place, Place};
use crate::log;
use crate::names::ClientId;
use crate::seen::{GroupSeen, GroupsSeen, Listing, Seen};
use crate::status::steady;
use crate::store::Actor;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two rounds; a longer one is followed by as long a pause.
const ROUND: Duration = Duration::from_secs(10);
/// Groups of one client that are looked at: it can have as many as it likes.
const MOST_GROUPS: usize = 20;
/// Those among which they are chosen.
const MOST_DESCRIBED: usize = 200;
/// The place of a group without members changes only if somebody sets it: it is asked for again after so long.
const IDLE: Duration = Duration::from_secs(30);
/// Requests for places that are under way at once.
const AT_ONCE: usize = 8;
/// A use is noted again after so long.
const USE_NOTED: Duration = Duration::from_secs(60);
/// A look for a page is forgotten when nobody has asked for it for so long.
const LOOK_KEPT: Duration = Duration::from_secs(60);
/// Clients read from the database at a time.
const PAGE: usize = 1000;

/// What a look at several clients found.
pub(super) struct Looked {
    /// Those with a topic.
    pub groups: HashMap<ClientId, GroupsSeen>,
    /// Why members of some groups may not have been seen.
    pub missed: Option<Error>,
}

/// Whose groups are to be looked at.
pub(super) struct Target {
    pub id: ClientId,
    pub topic: String,
    pub groups: Vec<String>,
    pub before: Option<Arc<GroupsSeen>>,
}

/// Looks every ten seconds, for ever.
pub(super) async fn run(app: &App) {
    let mut uses = Uses::default();
    let mut is_said = false;
    loop {
        let begun = Instant::now();
        match round(app, &mut uses).await {
            Ok(()) => {
                if is_said {
                    log::notice("consumer groups are seen again");
                }
                app.reconciler().notice("groups", None);
                is_said = false;
            }
            Err(error) => {
                let why = steady(&error.text);
                let text =
                    format!("consumer groups are not all seen, and no unused credential is revoked meanwhile: {why}");
                app.reconciler().notice("groups", Some(text));
                is_said = true;
            }
        }
        let took = begun.elapsed();
        tokio::time::sleep(took.max(ROUND.saturating_sub(took))).await;
    }
}

async fn round(app: &App, uses: &mut Uses) -> Result<()> {
    let begun = now();
    let clients = clients(app).await?;
    app.seen().volumes().know(clients.keys());
    if let Some(before) = Instant::now().checked_sub(LOOK_KEPT) {
        app.seen().forget_looks(before);
    }
    let listing = listing(app, Duration::ZERO).await?;
    let targets: Vec<Target> = clients
        .into_iter()
        .filter_map(|(id, topic)| {
            let groups = listing.of.get(&id)?.clone();
            let before = app.seen().groups_of(&id);
            Some(Target { id, topic, groups, before })
        })
        .collect();
    let looked = app.kafka(move |admin, _| {
        let may_look = may_look(admin);
        let mut looked = look(admin, targets)?;
        looked.missed = looked.missed.or(match may_look {
            Ok(true) => None,
            Ok(false) => Some(Error::unavailable("tel-control's principal needs Describe on all groups")),
            Err(error) => Some(error),
        });
        Ok(looked)
    });
    let Looked { groups, missed } = looked.await?;
    let at = now();
    let ids: HashSet<ClientId> = groups.keys().cloned().collect();
    for (id, groups) in groups {
        if let Some(lag) = groups.lag() {
            app.seen().volumes().lag(&id, at, lag);
        }
        uses.note(app, &id, &groups).await?;
        app.seen().set_groups(id, Arc::new(groups));
    }
    app.seen().keep_groups(|id| ids.contains(id));
    app.announce();
    match missed.or_else(|| listing.missed.clone()) {
        None => app.store().note_look(begun).await,
        Some(error) => Err(error),
    }
}

/// The clients that are wanted, with their topics.
async fn clients(app: &App) -> Result<HashMap<ClientId, String>> {
    let mut clients = HashMap::new();
    let mut after = None;
    loop {
        let page = app.store().clients(Some(false), after.as_ref(), PAGE).await?;
        clients.extend(page.clients.into_iter().map(|client| (client.id, client.topic)));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(clients),
        }
    }
}

/// The names of all groups, no older than `age`; one at a time asks for them.
pub(super) async fn listing(app: &App, age: Duration) -> Result<Arc<Listing>> {
    let mut last = app.seen().listing.lock().await;
    if let Some((at, listing)) = &*last {
        if at.elapsed() < age {
            return Ok(Arc::clone(listing));
        }
    }
    let at = Instant::now();
    let listed = app.kafka(|admin, _| admin.list_groups()).await?;
    let mut of: HashMap<ClientId, Vec<String>> = HashMap::new();
    for name in listed.names {
        if let Some(id) = name.split_once(':').and_then(|(id, _)| ClientId::new(id).ok()) {
            of.entry(id).or_default().push(name);
        }
    }
    let listing = Arc::new(Listing { of, missed: listed.missed });
    *last = Some((at, Arc::clone(&listing)));
    Ok(listing)
}

/// Looks at the groups of several clients. Clients without a topic are left out.
///
/// # Errors
/// Those of the requests for all of them; a group that cannot be described is left out, and why is told.
pub(super) fn look(admin: &Admin, mut targets: Vec<Target>) -> Result<Looked> {
    let mut missed = None;
    if targets.is_empty() {
        return Ok(Looked { groups: HashMap::new(), missed });
    }
    let topics: Vec<String> = targets.iter().map(|target| target.topic.clone()).collect();
    let mut sizes = Vec::with_capacity(topics.len());
    for (found, topic) in admin.describe_topics(&topics)?.into_iter().zip(topics) {
        match found {
            Ok(found) => sizes.push((topic, found.partitions)),
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let partitions: HashMap<String, i32> = sizes.iter().cloned().collect();
    targets.retain(|target| partitions.contains_key(&target.topic));
    let mut extents = if sizes.is_empty() { HashMap::new() } else { extents_of(admin, &sizes)? };

    let mut seen: Vec<GroupsSeen> = Vec::with_capacity(targets.len());
    for target in &mut targets {
        let has_more = target.groups.len() > MOST_DESCRIBED;
        let extents = extents.remove(&target.topic).unwrap_or_default();
        seen.push(GroupsSeen { extents, has_more, ..GroupsSeen::default() });
        target.groups.sort();
        target.groups.truncate(MOST_DESCRIBED);
    }
    let names: Vec<String> = targets.iter().flat_map(|target| target.groups.iter().cloned()).collect();
    let mut members: HashMap<String, Vec<Member>> = HashMap::with_capacity(names.len());
    if !names.is_empty() {
        for (name, found) in names.iter().zip(admin.describe_groups(&names)?) {
            match found {
                Ok(found) => {
                    members.insert(name.clone(), found);
                }
                // Gone since it was listed.
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => missed = missed.or(Some(error)),
            }
        }
    }

    let mut asked: Vec<(usize, String)> = Vec::new();
    for (index, (target, now)) in targets.iter_mut().zip(&mut seen).enumerate() {
        target.groups.retain(|name| members.contains_key(name));
        for member in target.groups.iter().flat_map(|name| &members[name]) {
            match generation_of(&target.id, &member.client_id) {
                Some(generation) => {
                    now.generations.insert(generation);
                }
                None => now.has_unnamed = true,
            }
        }
        target.groups.sort_by_key(|name| members[name].is_empty());
        target.groups.truncate(MOST_GROUPS);
        for name in &target.groups {
            let count = members[name].len();
            let before = target.before.as_ref().and_then(|before| before.group(name));
            match before {
                Some(before) if before.members == 0 && count == 0 && before.asked.elapsed() < IDLE => {
                    now.groups.push(before.clone());
                }
                _ => asked.push((index, name.clone())),
            }
        }
    }
    let wanted: Vec<(String, String, i32)> = asked
        .iter()
        .map(|(index, name)| {
            let topic = &targets[*index].topic;
            (name.clone(), topic.clone(), partitions[topic])
        })
        .collect();
    let places = places(admin, &wanted);
    if let Some(Err(error)) = places.first().filter(|_| places.iter().all(Result::is_err)) {
        return Err(error.clone());
    }
    for ((index, name), place) in asked.iter().zip(places) {
        // A group whose coordinator does not answer now is left out.
        let Ok(place) = place else { continue };
        let group = GroupSeen { members: members[name].len(), place, behind: 0, asked: Instant::now() };
        seen[*index].groups.push(group);
    }
    let at = now();
    let finished = targets.into_iter().zip(seen).map(|(target, mut now)| {
        now.finish(target.before.as_deref(), at);
        (target.id, now)
    });
    Ok(Looked { groups: finished.collect(), missed })
}

/// The places of groups, each with its topic and its number of partitions; several are asked for at once.
fn places(admin: &Admin, wanted: &[(String, String, i32)]) -> Vec<Result<Place>> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Result<Place>)>> = Mutex::new(Vec::with_capacity(wanted.len()));
    let ask = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some((group, topic, partitions)) = wanted.get(index) else { return };
        let place = place(admin, group, topic, *partitions);
        found.lock().unwrap_or_else(PoisonError::into_inner).push((index, place));
    };
    std::thread::scope(|scope| {
        for _ in 1..wanted.len().min(AT_ONCE) {
            scope.spawn(ask);
        }
        ask();
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, place)| place).collect()
}

/// Which uses of credentials were noted, and when.
#[derive(Default)]
struct Uses {
    noted: HashMap<(ClientId, u32), Instant>,
    /// The one credential that works, of clients whose consumers do not say theirs; none if there are several.
    only: HashMap<ClientId, (Instant, Option<u32>)>,
    /// Of which clients it was noted that it cannot be told what they use.
    unknown: HashMap<ClientId, Instant>,
}

impl Uses {
    /// Notes what a client's consumers use, or that it cannot be told.
    async fn note(&mut self, app: &App, id: &ClientId, seen: &GroupsSeen) -> Result<()> {
        let mut generations = seen.generations.clone();
        let mut is_unknown = seen.has_more;
        if seen.has_unnamed {
            match self.only(app, id).await? {
                Some(generation) => {
                    generations.insert(generation);
                }
                None => is_unknown = true,
            }
        }
        if is_unknown && self.unknown.get(id).is_none_or(|at| at.elapsed() >= USE_NOTED) {
            app.store().note_use_unknown(id, now()).await?;
            self.unknown.retain(|_, at| at.elapsed() < USE_NOTED);
            self.unknown.insert(id.clone(), Instant::now());
        }
        for generation in generations {
            let key = (id.clone(), generation);
            let last = self.noted.get(&key);
            if last.is_some_and(|at| at.elapsed() < USE_NOTED) {
                continue;
            }
            let is_first = last.is_none();
            let is_known = app.store().credential_used(&Actor::reconciler(), id, generation, now()).await?;
            self.noted.insert(key, Instant::now());
            if is_known && is_first {
                app.wake();
            }
        }
        self.noted.retain(|_, at| at.elapsed() < USE_NOTED * 2);
        Ok(())
    }

    async fn only(&mut self, app: &App, id: &ClientId) -> Result<Option<u32>> {
        if let Some((_, only)) = self.only.get(id).filter(|(at, _)| at.elapsed() < ROUND * 3) {
            return Ok(*only);
        }
        let at = now();
        let credentials = app.store().credentials(id).await?;
        let mut live = credentials.iter().filter(|credential| credential.is_live(at));
        let only = match (live.next(), live.next()) {
            (Some(one), None) => Some(one.generation),
            _ => None,
        };
        self.only.retain(|_, (at, _)| at.elapsed() < ROUND * 3);
        self.only.insert(id.clone(), (Instant::now(), only));
        Ok(only)
    }
}

/// The same for one client, now.
///
/// # Errors
/// Those of the requests; `NotFound` without its topic.
pub(super) async fn look_at(app: &App, id: &ClientId, topic: &str, seen: &Seen) -> Result<GroupsSeen> {
    const AGE: Duration = Duration::from_secs(1);
    let groups = listing(app, AGE).await?.of.get(id).cloned().unwrap_or_default();
    let target = Target { id: id.clone(), topic: topic.to_owned(), groups, before: seen.groups_of(id) };
    let mut found = app.kafka(move |admin, _| look(admin, vec![target])).await?;
    found.groups.remove(id).ok_or_else(|| Error::not_found(format!("topic {topic} is not there")))
}

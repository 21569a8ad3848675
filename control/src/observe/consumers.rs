//! How far a client's consumers are, and what may be wrong.
//!
//! Seen are consumers that are in a group; one that reads without a group (kcat -C) leaves no trace in Kafka.

use super::groups::look_at;
use super::{GroupView, ReadingView, RefusalView, Verdict};
use crate::app::{now, App};
use crate::error::{Error, Kind, Result};
use crate::names::ClientId;
use crate::onboarding::date_text;
use crate::seen::{GroupSeen, Look, Refusal, TopicSeen, REFUSED_WITHIN};
use crate::store::{Client, ClientState, Millis};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A look is good for so long: whoever asks more often sees the same.
const FRESH: Duration = Duration::from_secs(1);
/// After one that failed there is none for so long.
const AFTER_FAILURE: Duration = Duration::from_secs(3);
/// How long reading when lines were written may take.
const TIMES: Duration = Duration::from_secs(1);
/// How long a page waits at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines that are lost so soon make a group one that is behind, or within a tenth of the retention if that is longer.
const SOON_MS: u64 = 10 * 60 * 1000;

/// How far the consumers of a client are, and what may be wrong. At most one look at Kafka a second for each client, whoever asks.
///
/// # Errors
/// `NotFound`; `Unavailable`.
pub async fn reading(app: &App, id: &ClientId) -> Result<ReadingView> {
    let client = app.store().client(id).await?;
    let client = client.ok_or_else(|| Error::not_found(format!("client {id} is not known")))?;
    let steps = app.store().steps(id).await?;
    let is_active = ClientState::of(client.desired, &steps) == ClientState::Active;
    let seen = match tokio::time::timeout(PATIENCE, look(app, &client)).await {
        Ok(Ok(seen)) => seen,
        // Before all is there, a topic that is not is none that is missing.
        Ok(Err(error)) if error.kind == Kind::NotFound && !is_active => Arc::default(),
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(Error::unavailable(format!("client {id}: Kafka does not answer in time"))),
    };
    let at = now();
    let since = at.saturating_sub(Millis::try_from(REFUSED_WITHIN.as_millis()).unwrap_or(Millis::MAX));
    let (refusal, sees_refusals) = {
        let refusals = app.seen().refusals();
        (refusals.last(id, since).cloned(), refusals.is_seeing)
    };
    let is_counted = app.seen().volumes().is_counted(id);
    let facts = Facts {
        is_active,
        is_counted,
        refused_at: refusal.as_ref().map(|refusal| refusal.at),
        retention_ms: client.settings.retention_ms.unwrap_or(app.config().topic.retention_ms),
        now: at,
    };
    let refusal = match refusal {
        Some(refusal) => Some(told(app, &refusal, at).await?),
        None => None,
    };
    let groups = seen.groups.groups.iter().map(|group| facts.view(&seen, group)).collect();
    Ok(ReadingView {
        verdict: facts.verdict(&seen),
        lines: seen.lines(),
        oldest_at: seen.oldest().map(date_text),
        retention_ms: facts.retention_ms,
        groups,
        refusal,
        sees_refusals,
    })
}

async fn told(app: &App, refusal: &Refusal, at: Millis) -> Result<RefusalView> {
    let credentials = app.store().credentials(&refusal.id).await?;
    Ok(RefusalView {
        at: date_text(refusal.at),
        generation: refusal.generation,
        host: refusal.host.to_string(),
        resource: refusal.resource.to_owned(),
        name: refusal.name.clone(),
        why: refusal.why(app.namespace(), &credentials, at),
    })
}

async fn look(app: &App, client: &Client) -> Result<Arc<TopicSeen>> {
    let slot = app.seen().look_of(&client.id);
    let mut last = slot.lock().await;
    if let Some(look) = &*last {
        let kept = if look.result.is_ok() { FRESH } else { AFTER_FAILURE };
        if look.at.elapsed() < kept {
            return look.result.clone();
        }
    }
    let times = match &*last {
        Some(Look { result: Ok(seen), .. }) => seen.times.clone(),
        _ => BTreeMap::new(),
    };
    let result = look_now(app, client, times).await.map(Arc::new);
    *last = Some(Look { at: Instant::now(), result: result.clone() });
    result
}

async fn look_now(app: &App, client: &Client, mut known: BTreeMap<(i32, i64), Millis>) -> Result<TopicSeen> {
    let groups = look_at(app, &client.id, &client.topic, app.seen()).await?;
    app.seen().set_groups(client.id.clone(), Arc::new(groups.clone()));
    let wanted = groups.places();
    known.retain(|place, _| wanted.contains(place));
    let missing: BTreeSet<(i32, i64)> = wanted.into_iter().filter(|place| !known.contains_key(place)).collect();
    if !missing.is_empty() {
        let deadline = Instant::now() + TIMES;
        // A page without these times is better than none.
        if let Ok(pass) = app.seen().glances.pass(deadline).await {
            let (inner, topic) = (app.clone(), client.topic.clone());
            let found = app.kafka(move |_, connection| {
                let mut found = BTreeMap::new();
                for places in layers(missing) {
                    let times =
                        inner.seen().glances.with(connection, |glance| glance.times(&topic, &places, deadline))?;
                    found.extend(times.into_iter().map(|(partition, at)| ((partition, places[&partition]), at)));
                }
                drop(pass);
                Ok(found)
            });
            known.extend(found.await.unwrap_or_default());
        }
    }
    Ok(TopicSeen { groups, times: known })
}

/// Places that can be read at once: one of each partition.
fn layers(places: BTreeSet<(i32, i64)>) -> Vec<BTreeMap<i32, i64>> {
    let mut layers: Vec<BTreeMap<i32, i64>> = Vec::new();
    for (partition, offset) in places {
        match layers.iter_mut().find(|layer| !layer.contains_key(&partition)) {
            Some(layer) => {
                layer.insert(partition, offset);
            }
            None => layers.push(BTreeMap::from([(partition, offset)])),
        }
    }
    layers
}

/// What a verdict is made of, beside what was seen in Kafka.
struct Facts {
    is_active: bool,
    /// An edge has counted lines of it.
    is_counted: bool,
    refused_at: Option<Millis>,
    retention_ms: u64,
    now: Millis,
}

impl Facts {
    fn verdict(&self, seen: &TopicSeen) -> Verdict {
        let groups = &seen.groups;
        if !self.is_active {
            return Verdict::Updating;
        }
        if !groups.is_good && self.refused_at.is_some_and(|at| groups.good_at.is_none_or(|good| at > good)) {
            return Verdict::Refused;
        }
        let reading = || groups.groups.iter().filter(|group| group.members > 0);
        if seen.lines() == 0 && !self.is_counted {
            return Verdict::NoTraffic;
        }
        if reading().next().is_none() {
            return Verdict::NoConsumer;
        }
        let soon = SOON_MS.max(self.retention_ms / 10).min(self.retention_ms / 2);
        // A group without any place has just begun, with the oldest lines: it has not fallen behind.
        let is_losing = |group: &GroupSeen| {
            !group.place.next.is_empty() && self.loses_in(seen, group).is_some_and(|in_ms| in_ms < soon)
        };
        if reading().any(is_losing) {
            return Verdict::Behind;
        }
        Verdict::Reading
    }

    fn view(&self, seen: &TopicSeen, group: &GroupSeen) -> GroupView {
        GroupView {
            group: group.place.group.clone(),
            members: group.members,
            behind: group.behind,
            loses_in_ms: self.loses_in(seen, group),
        }
    }

    /// Kafka deletes whole segments, when the last line in one is old enough: this is the earliest moment. A bound of the topic's bytes
    /// may come before it.
    fn loses_in(&self, seen: &TopicSeen, group: &GroupSeen) -> Option<u64> {
        let age = u64::try_from(self.now.saturating_sub(seen.oldest_unread(group)?)).unwrap_or(0);
        Some(self.retention_ms.saturating_sub(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_one_partition_are_read_one_after_the_other() {
        let places = BTreeSet::from([(0, 1), (0, 5), (1, 2), (2, 3), (2, 4), (2, 9)]);
        let layers = layers(places.clone());
        assert_eq!(layers.len(), 3);
        let all: BTreeSet<(i32, i64)> = layers.into_iter().flatten().collect();
        assert_eq!(all, places);
    }
}

//! All clients compared with all of Kafka, page by page: what differs is done again, with the reason in the audit log.

use super::compare::{self, About, Snapshot};
use super::leader::Leader;
use super::{list, marker, Trouble, Work};
use crate::app::now;
use crate::names::ClientId;
use crate::onboarding::date_text;
use crate::status::PassView;
use crate::store::{Actor, Client, Millis, Restart, StepState};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Clients that are compared in one go.
const PAGE: usize = 1000;
/// A step done so shortly before the look at Kafka may not be seen there yet.
const FRESH: Millis = 2000;
/// Then it is looked at again.
const SOON: Duration = Duration::from_secs(5);

/// The pass under way, and when the next one begins.
pub(super) struct Passes {
    under_way: Option<Pass>,
    next: Instant,
}

impl Passes {
    /// The first one begins at once.
    pub fn new() -> Passes {
        Passes { under_way: None, next: Instant::now() }
    }

    /// How long it is until the next one begins.
    pub fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }
}

/// A pass under way.
struct Pass {
    snapshot: Snapshot,
    after: Option<ClientId>,
    started: Instant,
    clients: usize,
    differing: usize,
    /// Something differs that was done only just now.
    is_fresh: bool,
}

/// Begins a pass if it is time, or does the next page; whether there is more of it.
pub(super) async fn go_on(passes: &mut Passes, leader: &mut Leader) -> Work<bool> {
    let app = leader.app.clone();
    let Some(mut pass) = passes.under_way.take() else {
        if Instant::now() < passes.next {
            return Ok(false);
        }
        let started = Instant::now();
        let snapshot = Snapshot::take(&app).await.map_err(Trouble::Kafka);
        let snapshot = match leader.of_kafka(snapshot).await? {
            Ok(snapshot) => snapshot,
            Err(error) => {
                app.reconciler().notice("pass", Some(format!("comparing with Kafka: {error}")));
                passes.next = Instant::now() + app.config().full_pass;
                return Ok(false);
            }
        };
        app.reconciler().notice("pass", None);
        match &snapshot.list {
            // What others wrote, if they could.
            Some(list) => leader.list = list.clone(),
            None => return Err(Trouble::Kafka(crate::error::Error::not_found("topic tel.clients: is gone"))),
        }
        leader.edge_rights.clear();
        leader.strange.clear();
        passes.under_way = Some(Pass { snapshot, after: None, started, clients: 0, differing: 0, is_fresh: false });
        return Ok(true);
    };
    let page = app.store().clients(None, pass.after.as_ref(), PAGE).await?;
    let differing = compared(leader, &mut pass, &page.clients).await?;
    pass.clients += page.clients.len();
    pass.differing += differing;
    pass.after = page.next;
    if pass.after.is_some() {
        passes.under_way = Some(pass);
        return Ok(true);
    }
    let unknown: Vec<String> = marker::unknown(&app, &leader.list).await?.into_iter().map(|it| it.id.clone()).collect();
    if !unknown.is_empty() {
        list::remove_unknown(leader, unknown).await?;
    }
    let took = pass.started.elapsed();
    app.reconciler().pass(PassView {
        at: date_text(now()),
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        clients: pass.clients,
        differing: pass.differing,
    });
    let every = app.config().full_pass;
    passes.next = Instant::now() + if pass.is_fresh { every.min(SOON) } else { every };
    app.announce();
    Ok(true)
}

/// Has done again what differs of these clients; of how many clients that is.
async fn compared(leader: &mut Leader, pass: &mut Pass, clients: &[Client]) -> Work<usize> {
    let app = leader.app.clone();
    let ids: Vec<ClientId> = clients.iter().map(|client| client.id.clone()).collect();
    let steps = app.store().steps_of(&ids).await?;
    let differences = compare::page(&app, &pass.snapshot, clients).await.map_err(Trouble::Kafka);
    let differences = match leader.of_kafka(differences).await? {
        Ok(differences) => differences,
        Err(error) => {
            app.reconciler().notice("pass", Some(format!("comparing with Kafka: {error}")));
            return Ok(0);
        }
    };
    let mut restarts: BTreeMap<ClientId, Restart> = BTreeMap::new();
    for difference in differences {
        if difference.about == About::Strange {
            leader.strange.insert(difference.id.clone());
        }
        let rows = steps.get(&difference.id).map(Vec::as_slice).unwrap_or_default();
        // What is not done is under way; what has just been done may not be seen yet.
        let done = rows.iter().find(|row| row.step == difference.step && row.state == StepState::Done);
        let Some(done) = done else { continue };
        if done.changed_at >= pass.snapshot.at - FRESH {
            pass.is_fresh = true;
            continue;
        }
        let restart = restarts.entry(difference.id.clone()).or_insert_with(|| Restart {
            id: difference.id,
            steps: Vec::new(),
            why: String::new(),
        });
        if !restart.steps.contains(&difference.step) {
            restart.steps.push(difference.step);
        }
        let separator = if restart.why.is_empty() { "" } else { "; " };
        restart.why.push_str(&format!("{separator}{}", difference.text));
    }
    let restarts: Vec<Restart> = restarts.into_values().collect();
    if !restarts.is_empty() {
        app.store().restart_many(&Actor::reconciler(), &restarts, now()).await?;
        app.announce();
    }
    Ok(restarts.len())
}

//! The step `edges`: every edge heard of lately has the list with the client.

use super::leader::Leader;
use super::task::{report, Task};
use super::Work;
use crate::app::{now, App};
use crate::error::Result;
use crate::names::ClientId;
use crate::onboarding::EDGE_HEARD_WITHIN;
use crate::store::{Actor, EdgesHeard, Millis, Outcome, Position, Step, StepState};

/// Clients that are looked at in one go.
const PAGE: usize = 1000;
/// It is looked at when an edge says something, and not at a time.
const FAR: Millis = 24 * 3600 * 1000;

/// What is known of the edges when they were last looked at: name, how far, what it rejects.
pub(super) type Seen = Vec<(String, Option<Position>, Vec<String>)>;

/// The edges that count now.
pub(super) async fn heard(app: &App) -> Result<EdgesHeard> {
    let within = Millis::try_from(EDGE_HEARD_WITHIN.as_millis()).unwrap_or(Millis::MAX);
    app.store().edges_heard(now(), within).await
}

/// How far a client is that the list has at `listed`.
fn progress(heard: &EdgesHeard, listed: &Position, id: &ClientId) -> (StepState, String) {
    let (current, known) = heard.current(listed, id);
    if known == 0 {
        return (StepState::Pending, "no edge was heard of lately".to_owned());
    }
    let state = if current == known { StepState::Done } else { StepState::Pending };
    (state, format!("{current} of {known} edges"))
}

/// Reports how far the edges are with a client that has just been listed.
pub(super) fn tell(task: &mut Task, heard: &EdgesHeard) {
    let Some(listed) = task.client.listed.clone() else { return };
    match progress(heard, &listed, &task.client.id) {
        (StepState::Done, detail) => task.done(Step::Edges, detail),
        (_, detail) => task.waiting(Step::Edges, detail),
    }
}

/// Of clients in a batch with nothing else to do.
pub(super) async fn bring(leader: &mut Leader, tasks: &mut [Task]) -> Work<()> {
    let app = leader.app.clone();
    if !tasks.iter().any(|task| task.is_open(Step::Edges)) {
        return Ok(());
    }
    let heard = heard(&app).await?;
    for task in tasks.iter_mut().filter(|task| task.is_open(Step::Edges)) {
        if task.is_done(Step::List) {
            tell(task, &heard);
        } else {
            task.waiting(Step::Edges, "waits for list");
        }
    }
    report(&app, tasks).await?;
    Ok(())
}

/// Looks at all clients that wait for edges, if the edges are otherwise than they were when it last did.
pub(super) async fn look(app: &App, last: &mut Option<Seen>) -> Work<()> {
    let heard = heard(app).await?;
    let seen: Seen =
        heard.edges().iter().map(|edge| (edge.name.to_string(), edge.applied.clone(), edge.rejected.clone())).collect();
    if last.as_ref() == Some(&seen) {
        return Ok(());
    }
    let mut after: Option<ClientId> = None;
    loop {
        let waiting = app.store().waiting_for_edges(after.as_ref(), PAGE).await?;
        let is_last = waiting.len() < PAGE;
        after = waiting.last().map(|waiting| waiting.id.clone());
        let at = now();
        let outcomes: Vec<Outcome> = waiting
            .into_iter()
            .filter_map(|waiting| {
                let (state, detail) = progress(&heard, &waiting.listed, &waiting.id);
                let is_news = state == StepState::Done || detail != waiting.detail;
                let next_try = at.saturating_add(FAR);
                is_news.then_some(Outcome {
                    id: waiting.id,
                    revision: waiting.revision,
                    step: Step::Edges,
                    state,
                    detail,
                    next_try,
                })
            })
            .collect();
        if !outcomes.is_empty() {
            app.store().set_steps(&Actor::reconciler(), &outcomes, at).await?;
            app.announce();
        }
        if is_last {
            break;
        }
    }
    *last = Some(seen);
    Ok(())
}

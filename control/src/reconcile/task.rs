//! A client with something to do, and what comes of its steps.

use crate::app::{now, App};
use crate::error::Result;
use crate::names::ClientId;
use crate::status::steady;
use crate::store::{backoff, Actor, Client, Credential, Desired, Millis, Outcome, Step, StepRow, StepState};
use std::collections::HashMap;

/// For what is looked at when something happens, and not at a time.
const FAR: Millis = 24 * 3600 * 1000;

/// A client with something to do.
pub(super) struct Task {
    pub client: Client,
    pub credentials: Vec<Credential>,
    steps: Vec<StepRow>,
    /// Of this batch.
    outcomes: HashMap<Step, Outcome>,
    /// Those of them that are not written yet.
    unwritten: Vec<Step>,
    /// It was changed meanwhile, and comes again.
    is_stale: bool,
    /// Lines can be written to its topic.
    pub has_topic: bool,
}

impl Task {
    /// Whether it is wanted; else it is leaving.
    pub fn is_wanted(&self) -> bool {
        self.client.desired == Desired::Wanted
    }

    /// How far the step is by now; `None` if the client does not have it.
    pub fn state(&self, step: Step) -> Option<StepState> {
        self.outcomes.get(&step).map(|outcome| outcome.state).or_else(|| self.row(step).map(|row| row.state))
    }

    /// Whether the step is still to be done, in this batch.
    pub fn is_open(&self, step: Step) -> bool {
        !self.is_stale
            && !self.outcomes.contains_key(&step)
            && self.row(step).is_some_and(|row| row.state != StepState::Done)
    }

    /// Whether this batch has said something of the step.
    pub fn reported(&self, step: Step) -> bool {
        self.outcomes.contains_key(&step)
    }

    pub fn is_done(&self, step: Step) -> bool {
        self.state(step) == Some(StepState::Done)
    }

    /// As the database had it before this batch.
    pub fn row(&self, step: Step) -> Option<&StepRow> {
        self.steps.iter().find(|row| row.step == step)
    }

    pub fn done(&mut self, step: Step, detail: impl Into<String>) {
        self.report(step, StepState::Done, detail.into(), now());
    }

    /// Tried again after a while, longer each time.
    pub fn failed(&mut self, step: Step, why: &str) {
        let attempts = self.row(step).map_or(0, |row| row.attempts).saturating_add(1);
        self.report(step, StepState::Failed, steady(why), now() + backoff(attempts));
    }

    /// Not yet, until that time.
    pub fn pending(&mut self, step: Step, detail: impl Into<String>, until: Millis) {
        self.report(step, StepState::Pending, detail.into(), until);
    }

    /// Not yet: when is seen from what happens.
    pub fn waiting(&mut self, step: Step, detail: impl Into<String>) {
        self.pending(step, detail, now() + FAR);
    }

    /// Waits for a step before it, and is tried with it.
    pub fn blocked(&mut self, step: Step, by: Step) {
        let until = self.outcomes.get(&by).map(|outcome| outcome.next_try).or(self.row(by).map(|row| row.next_try));
        self.pending(step, format!("waits for {}", by.as_str()), until.unwrap_or_else(now).max(now() + 1000));
    }

    fn report(&mut self, step: Step, state: StepState, detail: String, next_try: Millis) {
        let (id, revision) = (self.client.id.clone(), self.client.revision);
        self.outcomes.insert(step, Outcome { id, revision, step, state, detail, next_try });
        self.unwritten.push(step);
    }

    /// Everything that is open fails with, or waits for, its first step.
    pub fn give_up(&mut self, why: &str) {
        let at = now();
        let open: Vec<Step> = self.steps.iter().map(|row| row.step).filter(|step| self.is_open(*step)).collect();
        let mut first = None;
        for step in open {
            let is_late = self.row(step).is_some_and(|row| row.next_try <= at);
            match (step, first) {
                (Step::Edges, _) => self.waiting(step, self.row(step).map_or(String::new(), |row| row.detail.clone())),
                // Its time has not come.
                (Step::TopicDeleted, _) if !is_late => {}
                (_, None) => {
                    first = Some(step);
                    self.failed(step, why);
                }
                (_, Some(first)) => self.blocked(step, first),
            }
        }
    }
}

/// Reads what there is to do for these clients.
pub(super) async fn load(app: &App, ids: &[ClientId]) -> Result<Vec<Task>> {
    let store = app.store();
    let clients = store.clients_of(ids).await?;
    let mut steps = store.steps_of(ids).await?;
    let mut credentials = store.credentials_of(ids).await?;
    let task = |client: Client| Task {
        steps: steps.remove(&client.id).unwrap_or_default(),
        credentials: credentials.remove(&client.id).unwrap_or_default(),
        client,
        outcomes: HashMap::new(),
        unwritten: Vec::new(),
        is_stale: false,
        has_topic: false,
    };
    Ok(clients.into_iter().map(task).collect())
}

/// Writes what came of steps so far.
pub(super) async fn report(app: &App, tasks: &mut [Task]) -> Result<()> {
    let mut outcomes = Vec::new();
    let mut of = Vec::new();
    for (place, task) in tasks.iter_mut().enumerate() {
        for step in std::mem::take(&mut task.unwritten) {
            outcomes.extend(task.outcomes.get(&step).cloned());
            of.push(place);
        }
    }
    if outcomes.is_empty() {
        return Ok(());
    }
    let applied = app.store().set_steps(&Actor::reconciler(), &outcomes, now()).await?;
    for (place, applied) in of.into_iter().zip(applied) {
        tasks[place].is_stale |= !applied;
    }
    app.announce();
    Ok(())
}

//! What remains to be done for each client, and what came of the last attempt.

use super::audit::of_client;
use super::change::Change;
use super::client::{client_id, find, found, position};
use super::{corrupt, limited, places, rows_of_places, Actor, Desired, Millis, Position, Store, LONGEST_PAGE};
use crate::error::{Error, Result};
use crate::names::ClientId;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::Row;
use std::collections::HashMap;

// By name: PostgreSQL refuses a statement prepared with "*" once another version of tel-control has added a column.
macro_rules! columns {
    () => {
        "client_id, name, state, detail, attempts, next_try, changed_at"
    };
}

/// After the first failure.
const FIRST_WAIT: Millis = 1000;
/// However often it failed.
const LONGEST_WAIT: Millis = 5 * 60 * 1000;
/// Characters of a reason that are kept.
const LONGEST_DETAIL: usize = 1000;

/// Something that is done for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Its topic is there, with its partitions and configuration.
    Topic,
    /// Its live credentials may read its topic, and nothing else.
    Acls,
    /// Its quotas are set.
    Quota,
    /// It is in the client list.
    List,
    /// Every edge has that list.
    Edges,
    /// It is out of the client list.
    Unlisted,
    /// None of its credentials may do anything.
    AclsRemoved,
    /// Its topic is deleted.
    TopicDeleted,
}

impl Step {
    /// Those of a client that is wanted, in their order.
    pub const WANTED: &'static [Step] = &[Step::Topic, Step::Acls, Step::Quota, Step::List, Step::Edges];
    /// Those of a client that is leaving, in their order.
    pub const LEAVING: &'static [Step] = &[Step::Unlisted, Step::AclsRemoved, Step::TopicDeleted];

    /// Its name in the database and in the API; never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Topic => "topic",
            Step::Acls => "acls",
            Step::Quota => "quota",
            Step::List => "list",
            Step::Edges => "edges",
            Step::Unlisted => "unlisted",
            Step::AclsRemoved => "acls-removed",
            Step::TopicDeleted => "topic-deleted",
        }
    }

    fn parse(text: &str) -> Result<Step> {
        let all = Step::WANTED.iter().chain(Step::LEAVING);
        all.copied().find(|step| step.as_str() == text).ok_or_else(|| corrupt("step", text))
    }
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// Not done yet.
    Pending,
    /// Done.
    Done,
    /// Its last attempt failed; it is tried again.
    Failed,
}

impl StepState {
    /// Its name in the database and in the API; never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            StepState::Pending => "pending",
            StepState::Done => "done",
            StepState::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Result<StepState> {
        let all = [StepState::Pending, StepState::Done, StepState::Failed];
        all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| corrupt("state", text))
    }
}

/// A step of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// Which.
    pub step: Step,
    /// How far.
    pub state: StepState,
    /// Why it is not done, or what is noteworthy; may be empty.
    pub detail: String,
    /// Failures since it was last done or begun anew.
    pub attempts: u32,
    /// Not before.
    pub next_try: Millis,
    /// When its state or detail last changed.
    pub changed_at: Millis,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of which client.
    pub id: ClientId,
    /// The revision of the client as it was read before the attempt.
    pub revision: i64,
    /// Which step.
    pub step: Step,
    /// How far it is now.
    pub state: StepState,
    /// Why it is not done; for people, no secret.
    pub detail: String,
    /// When to try again; not used if done.
    pub next_try: Millis,
}

/// Steps of a client that are to be done again.
#[derive(Clone, Debug)]
pub struct Restart {
    /// Of which client.
    pub id: ClientId,
    /// Which; those it does not have are passed over.
    pub steps: Vec<Step>,
    /// For the audit log.
    pub why: String,
}

/// A client that is on the list, and not known to be on every edge.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its id.
    pub id: ClientId,
    /// Its revision.
    pub revision: i64,
    /// Where the list has it.
    pub listed: Position,
    /// What is said of its step by now.
    pub detail: String,
}

/// A client's steps in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Something is still to be done.
    Pending,
    /// All is done.
    Active,
    /// Something failed.
    Failing,
    /// On the way out.
    Leaving,
}

impl ClientState {
    /// What the steps amount to.
    pub fn of(desired: Desired, steps: &[StepRow]) -> ClientState {
        if desired != Desired::Wanted {
            ClientState::Leaving
        } else if steps.iter().any(|row| row.state == StepState::Failed) {
            ClientState::Failing
        } else if steps.iter().all(|row| row.state == StepState::Done) {
            ClientState::Active
        } else {
            ClientState::Pending
        }
    }

    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientState::Pending => "pending",
            ClientState::Active => "active",
            ClientState::Failing => "failing",
            ClientState::Leaving => "leaving",
        }
    }
}

/// How long to wait after so many failures: doubled each time, from a second to five minutes.
pub fn backoff(attempts: u32) -> Millis {
    (FIRST_WAIT << attempts.saturating_sub(1).min(20)).min(LONGEST_WAIT)
}

impl Store {
    /// Notes what came of attempts; for each, whether it still applies. An attempt for a client that changed meanwhile does not.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_steps(&self, who: &Actor, outcomes: &[Outcome], now: Millis) -> Result<Vec<bool>> {
        let mut change = self.change(who, now).await?;
        let mut applied = Vec::with_capacity(outcomes.len());
        let mut audited = false;
        let mut written = false;
        for outcome in outcomes {
            let (applies, wrote, transition) = set(&mut change, outcome).await?;
            if let Some(from) = transition {
                let details = json!({ "step": outcome.step.as_str(), "from": from.as_str(), "to": outcome.state.as_str(),
                                      "detail": shortened(&outcome.detail) });
                change.audit("step", &of_client(&outcome.id), details);
                audited = true;
            }
            written |= wrote;
            applied.push(applies);
        }
        if audited {
            change.commit().await?;
        } else if written {
            // Only when to try again: no one's decision.
            change.commit_unaudited().await?;
        }
        Ok(applied)
    }

    /// Has steps done again, for Kafka was found otherwise or an operator wants it. Those the client does not have are passed over.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable`.
    pub async fn restart_steps(
        &self,
        who: &Actor,
        id: &ClientId,
        steps: &[Step],
        why: &str,
        now: Millis,
    ) -> Result<()> {
        let mut change = self.change(who, now).await?;
        found(&mut change, id).await?;
        restart(&mut change, id, steps).await?;
        let names: Vec<_> = steps.iter().map(|step| step.as_str()).collect();
        change.audit("steps.restart", &of_client(id), json!({ "steps": names, "why": shortened(why) }));
        change.commit().await
    }

    /// The same as [`Store::restart_steps`] for many clients in one transaction; those that are gone are passed over.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn restart_many(&self, who: &Actor, restarts: &[Restart], now: Millis) -> Result<()> {
        let mut change = self.change(who, now).await?;
        let mut any = false;
        for Restart { id, steps, why } in restarts {
            if find(&mut change, id).await?.is_some() {
                any = true;
                restart(&mut change, id, steps).await?;
                let names: Vec<_> = steps.iter().map(|step| step.as_str()).collect();
                change.audit("steps.restart", &of_client(id), json!({ "steps": names, "why": shortened(why) }));
            }
        }
        if any {
            change.commit().await?;
        }
        Ok(())
    }

    /// Has what failed tried again at once, for the reason is gone; with it what waits for it. How many clients that is about.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn hasten(&self, now: Millis) -> Result<u64> {
        let mut seen = self.observe().await?;
        // A topic's deletion that was never tried waits for the end of the grace period.
        let sql = "UPDATE steps SET next_try = $1 WHERE state <> 'done' AND next_try > $1 \
                   AND name <> 'edges' AND (name <> 'topic-deleted' OR state = 'failed') \
                   AND client_id IN (SELECT client_id FROM steps WHERE state <> 'done' AND state = 'failed')";
        let done = sqlx::query(sql).bind(now).execute(&mut *seen).await?;
        seen.commit().await?;
        Ok(done.rows_affected())
    }

    /// Clients whose only open step may be the edges', in the order of their ids, from after `after` on, at most `limit`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn waiting_for_edges(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Waiting>> {
        let sql = "SELECT clients.id AS id, revision, listed_topic_id, listed_offset, edges.detail AS detail \
                   FROM steps AS edges JOIN clients ON clients.id = edges.client_id \
                   JOIN steps AS list ON list.client_id = edges.client_id AND list.name = 'list' AND list.state = 'done' \
                   WHERE edges.state <> 'done' AND edges.name = 'edges' AND listed_offset IS NOT NULL AND clients.id > $1 \
                   ORDER BY clients.id LIMIT $2";
        let after = after.map_or("", ClientId::as_str);
        let rows = sqlx::query(sql).bind(after).bind(limited(limit)).fetch_all(self.pool()).await?;
        let mut waiting = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(listed) = position(row, "listed_topic_id", "listed_offset")? {
                let id = client_id(row.try_get("id")?)?;
                waiting.push(Waiting {
                    id,
                    revision: row.try_get("revision")?,
                    listed,
                    detail: row.try_get("detail")?,
                });
            }
        }
        Ok(waiting)
    }

    /// A client's steps in their order.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn steps(&self, id: &ClientId) -> Result<Vec<StepRow>> {
        let sql = concat!("SELECT ", columns!(), " FROM steps WHERE client_id = $1 ORDER BY place");
        let rows = sqlx::query(sql).bind(id.as_str()).fetch_all(self.pool()).await?;
        rows.iter().map(read).collect()
    }

    /// The steps of the clients of a page, at most 1000.
    ///
    /// # Errors
    /// `Invalid` for more; `Unavailable`.
    pub async fn steps_of(&self, ids: &[ClientId]) -> Result<HashMap<ClientId, Vec<StepRow>>> {
        if ids.len() > LONGEST_PAGE {
            return Err(Error::invalid(format!("more than {LONGEST_PAGE} clients at once")));
        }
        let mut steps = HashMap::new();
        if ids.is_empty() {
            return Ok(steps);
        }
        let sql = format!(
            concat!("SELECT ", columns!(), " FROM steps WHERE client_id IN ({}) ORDER BY place"),
            places(1, ids.len())
        );
        let query = ids.iter().fold(sqlx::query(&sql), |query, id| query.bind(id.as_str()));
        for row in query.fetch_all(self.pool()).await? {
            let id = client_id(row.try_get("client_id")?)?;
            steps.entry(id).or_insert_with(Vec::new).push(read(&row)?);
        }
        Ok(steps)
    }

    /// Clients with something to do now, those that wait longest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn due(&self, now: Millis, limit: usize) -> Result<Vec<ClientId>> {
        let sql = "SELECT client_id, MIN(next_try) AS since FROM steps WHERE state <> 'done' AND next_try <= $1 \
                   GROUP BY client_id ORDER BY since, client_id LIMIT $2";
        let rows = sqlx::query(sql).bind(now).bind(limited(limit)).fetch_all(self.pool()).await?;
        rows.iter().map(|row| client_id(row.try_get("client_id")?)).collect()
    }

    /// When the next step is due that is not due yet, so that nobody needs to look before.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn next_due(&self, now: Millis) -> Result<Option<Millis>> {
        let sql = "SELECT MIN(next_try) AS next FROM steps WHERE state <> 'done' AND next_try > $1";
        Ok(sqlx::query(sql).bind(now).fetch_one(self.pool()).await?.try_get("next")?)
    }

    /// Clients with a failed step, in the order of their ids, from after `after` on.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn failing(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<ClientId>> {
        // The first condition is the index's.
        let sql = "SELECT DISTINCT client_id FROM steps WHERE state <> 'done' AND state = 'failed' AND client_id > $1 \
                   ORDER BY client_id LIMIT $2";
        let after = after.map_or("", ClientId::as_str);
        let rows = sqlx::query(sql).bind(after).bind(limited(limit)).fetch_all(self.pool()).await?;
        rows.iter().map(|row| client_id(row.try_get("client_id")?)).collect()
    }
}

/// Whether the outcome applies, whether it was written, and from which state it is a step worth noting.
async fn set(change: &mut Change, outcome: &Outcome) -> Result<(bool, bool, Option<StepState>)> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM steps JOIN clients ON clients.id = steps.client_id \
               WHERE steps.client_id = $1 AND steps.name = $2 AND clients.revision = $3"
    );
    let row = sqlx::query(sql)
        .bind(outcome.id.as_str())
        .bind(outcome.step.as_str())
        .bind(outcome.revision)
        .fetch_optional(&mut **change)
        .await?;
    let Some(row) = row else { return Ok((false, false, None)) };
    let before = read(&row)?;
    let detail = shortened(&outcome.detail);
    let same = before.state == outcome.state && before.detail == detail;
    if same && outcome.state == StepState::Done {
        return Ok((true, false, None));
    }
    let attempts = match outcome.state {
        StepState::Done => 0,
        StepState::Failed => before.attempts.saturating_add(1),
        StepState::Pending => before.attempts,
    };
    let changed_at = if same { before.changed_at } else { change.at() };
    let sql = "UPDATE steps SET state = $1, detail = $2, attempts = $3, next_try = $4, changed_at = $5 \
               WHERE client_id = $6 AND name = $7";
    sqlx::query(sql)
        .bind(outcome.state.as_str())
        .bind(&detail)
        .bind(i64::from(attempts))
        .bind(outcome.next_try)
        .bind(changed_at)
        .bind(outcome.id.as_str())
        .bind(outcome.step.as_str())
        .execute(&mut **change)
        .await?;
    // "12 of 20 edges" is no news; another reason of a failure is.
    let noted = before.state != outcome.state || (!same && outcome.state == StepState::Failed);
    Ok((true, true, noted.then_some(before.state)))
}

/// Begins these steps anew, in the place of whatever steps the client has.
pub(super) async fn replace(
    change: &mut Change,
    id: &ClientId,
    steps: &[Step],
    next_try: impl Fn(Step) -> Millis,
) -> Result<()> {
    sqlx::query("DELETE FROM steps WHERE client_id = $1").bind(id.as_str()).execute(&mut **change).await?;
    let at = change.at();
    let sql = format!(
        "INSERT INTO steps (client_id, name, place, state, detail, attempts, next_try, changed_at) VALUES {}",
        rows_of_places(steps.len(), 8)
    );
    let mut query = sqlx::query(&sql);
    for (place, step) in (0i64..).zip(steps) {
        query = query.bind(id.as_str()).bind(step.as_str()).bind(place).bind(StepState::Pending.as_str());
        query = query.bind("").bind(0i64).bind(next_try(*step)).bind(at);
    }
    query.execute(&mut **change).await?;
    Ok(())
}

/// Has these of the client's steps done again, and outcomes of attempts under way not applied.
pub(super) async fn restart(change: &mut Change, id: &ClientId, steps: &[Step]) -> Result<()> {
    let (revision, at) = (change.revision(), change.at());
    sqlx::query("UPDATE clients SET revision = $1 WHERE id = $2")
        .bind(revision)
        .bind(id.as_str())
        .execute(&mut **change)
        .await?;
    for step in steps {
        let sql = "UPDATE steps SET state = 'pending', detail = '', attempts = 0, next_try = $1, changed_at = $1 \
                   WHERE client_id = $2 AND name = $3";
        sqlx::query(sql).bind(at).bind(id.as_str()).bind(step.as_str()).execute(&mut **change).await?;
    }
    Ok(())
}

/// As much of a text from elsewhere as is kept.
pub(super) fn shortened(detail: &str) -> String {
    // PostgreSQL takes no NUL.
    detail.chars().take(LONGEST_DETAIL).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

fn read(row: &AnyRow) -> Result<StepRow> {
    let (name, state): (String, String) = (row.try_get("name")?, row.try_get("state")?);
    Ok(StepRow {
        step: Step::parse(&name)?,
        state: StepState::parse(&state)?,
        detail: row.try_get("detail")?,
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        next_try: row.try_get("next_try")?,
        changed_at: row.try_get("changed_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let waits: Vec<_> = [0, 1, 2, 3, 9, 10, u32::MAX].into_iter().map(backoff).collect();
        assert_eq!(waits, [1000, 1000, 2000, 4000, 256_000, 300_000, 300_000]);
    }

    #[test]
    fn names_are_read_back() {
        for step in Step::WANTED.iter().chain(Step::LEAVING) {
            assert_eq!(Step::parse(step.as_str()).unwrap(), *step);
        }
        assert!(Step::parse("other").is_err());
    }
}

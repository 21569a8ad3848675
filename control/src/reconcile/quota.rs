//! The step `quota`: what a credential may consume, and that one that has ended has no quota left behind.
//!
//! Without a quota in the configuration nothing is looked at: what an operator sets by hand stays.

use super::leader::Leader;
use super::rights::access;
use super::task::Task;
use super::{Trouble, Work};
use crate::app::{now, App};
use crate::halt;
use crate::kafka::acls::ClientAccess;
use crate::kafka::quotas::{self, Limit, QuotaChange};
use crate::store::Step;
use std::collections::{BTreeMap, HashMap};

/// Quotas of all principals.
pub(super) type Quotas = BTreeMap<String, BTreeMap<Limit, f64>>;

/// What there is to change for these clients.
pub(super) fn changes(app: &App, client: &ClientAccess, found: &Quotas) -> Vec<QuotaChange> {
    let Some(wanted) = app.config().quota.consumer_bytes_per_second else { return Vec::new() };
    #[allow(clippy::cast_precision_loss, reason = "a quota of 2^53 bytes a second is none")]
    let wanted = wanted as f64;
    let there = |principal: &str| found.get(principal).and_then(|limits| limits.get(&Limit::ConsumerBytes)).copied();
    let change =
        |principal: String, bytes_per_second| QuotaChange { principal, limit: Limit::ConsumerBytes, bytes_per_second };
    let mut changes = Vec::new();
    for generation in &client.live {
        let principal = client.id.principal(*generation);
        if there(&principal) != Some(wanted) {
            changes.push(change(principal, Some(wanted)));
        }
    }
    for generation in &client.ended {
        let principal = client.id.principal(*generation);
        if there(&principal).is_some() {
            changes.push(change(principal, None));
        }
    }
    changes
}

/// Sets and lifts quotas, also of clients whose credentials were just given or taken their rights.
pub(super) async fn bring(leader: &mut Leader, tasks: &mut [Task]) -> Work<()> {
    let app = leader.app.clone();
    let at = now();
    let is_set = app.config().quota.consumer_bytes_per_second.is_some();
    if !is_set {
        let open = tasks.iter_mut().filter(|task| task.is_open(Step::Quota));
        open.for_each(|task| task.done(Step::Quota, "no quota is set"));
        return Ok(());
    }
    // A new credential restarts the step before alone.
    let concerned =
        |task: &Task| task.is_open(Step::Quota) || task.reported(Step::Acls) || task.reported(Step::AclsRemoved);
    let mut concerned: Vec<&mut Task> = tasks.iter_mut().filter(|task| concerned(task)).collect();
    let clients: Vec<ClientAccess> = concerned.iter().map(|task| access(&task.client, &task.credentials, at)).collect();
    if clients.iter().all(|client| client.live.is_empty() && client.ended.is_empty()) {
        concerned.iter_mut().filter(|task| task.is_open(Step::Quota)).for_each(|task| task.done(Step::Quota, ""));
        return Ok(());
    }
    let these = app.clone();
    let brought = app.kafka(move |_, connection| {
        let found = quotas::describe(connection)?;
        let changes: Vec<QuotaChange> = clients.iter().flat_map(|client| changes(&these, client, &found)).collect();
        let answers = if changes.is_empty() { Vec::new() } else { quotas::alter(connection, &changes)? };
        let failed =
            changes.into_iter().zip(answers).filter_map(|(change, answer)| Some((change.principal, answer.err()?)));
        Ok(failed.collect::<HashMap<_, _>>())
    });
    let brought = leader.of_kafka(brought.await.map_err(Trouble::Kafka)).await?;
    halt::at("quotas-applied");
    for task in concerned {
        let error = match &brought {
            Err(error) => Some(error.text.clone()),
            Ok(failed) => task
                .credentials
                .iter()
                .find_map(|it| failed.get(&it.id.principal(it.generation)))
                .map(|error| error.text.clone()),
        };
        // One that leaves has no step for it: a quota of nobody harms nobody, and a full pass lifts it.
        match error {
            Some(error) if task.is_wanted() => task.failed(Step::Quota, &error),
            None if task.is_wanted() => task.done(Step::Quota, ""),
            _ => {}
        }
    }
    Ok(())
}

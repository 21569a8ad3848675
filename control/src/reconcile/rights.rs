//! The steps `acls` and `acls-removed`, and the edges' rights.

use super::leader::Leader;
use super::task::Task;
use super::{Trouble, Work};
use crate::app::now;
use crate::halt;
use crate::kafka::acls::{self, AclPlan, ClientAccess, EdgeAccess, Principal};
use crate::kafka::admin::Acl;
use crate::names::ClientId;
use crate::store::{Client, Credential, Desired, Edge, Millis, Step, StepState};
use std::collections::{BTreeMap, HashSet};

/// Rights of others that a client's step names.
const NAMED: usize = 3;

/// Which of the client's generations may consume, and which may no more.
pub(super) fn access(client: &Client, credentials: &[Credential], at: Millis) -> ClientAccess {
    let is_live = |credential: &&Credential| client.desired == Desired::Wanted && credential.is_live(at);
    let generations =
        |live: bool| credentials.iter().filter(|it| is_live(it) == live).map(|it| it.generation).collect();
    ClientAccess { id: client.id.clone(), live: generations(true), ended: generations(false) }
}

/// Whether the edge may deliver. Of one that no certificate was made for nothing is known: anybody may have named it in `tel.acks`.
pub(super) fn edge_access(edge: &Edge) -> Option<EdgeAccess> {
    let live = edge.retired_at.is_none();
    (edge.generation > 0 || !live).then(|| EdgeAccess { name: edge.name.clone(), live })
}

/// What is strange, by client.
pub(super) fn strange_of(plan: &AclPlan) -> BTreeMap<String, Vec<String>> {
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for strange in &plan.strange {
        if let Some(Principal::Client(id, _)) = Principal::parse(&strange.acl.principal) {
            of.entry(id.to_string()).or_default().push(format!("{}: {}", strange.acl, strange.why));
        }
    }
    of
}

/// What a client's step says of that.
pub(super) fn told(strange: &[String]) -> String {
    let more = strange.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}", strange[..strange.len().min(NAMED)].join("; "))
}

/// Gives and takes rights.
pub(super) async fn bring(leader: &mut Leader, tasks: &mut [Task]) -> Work<()> {
    let step = |task: &Task| if task.is_wanted() { Step::Acls } else { Step::AclsRemoved };
    let app = leader.app.clone();
    let at = now();
    let mut open: Vec<&mut Task> = tasks.iter_mut().filter(|task| task.is_open(step(task))).collect();
    let has_failed = |task: &Task| task.row(step(task)).is_some_and(|row| row.state == StepState::Failed);
    // Nobody may read a topic that may be somebody else's; what ends, ends all the same.
    let withheld: HashSet<ClientId> =
        open.iter().filter(|task| task.is_wanted() && !task.has_topic).map(|task| task.client.id.clone()).collect();
    // Those of generations that are not known are found among all rights alone.
    let all = open.iter().any(|task| has_failed(task) || leader.strange.contains(&task.client.id));
    let clients: Vec<ClientAccess> = open
        .iter()
        .map(|task| access(&task.client, &task.credentials, at))
        .filter(|client| all || !client.live.is_empty() || !client.ended.is_empty())
        .collect();
    let brought = if clients.is_empty() {
        Ok((BTreeMap::new(), BTreeMap::new()))
    } else {
        let namespace = app.namespace().clone();
        let withheld = withheld.clone();
        let brought = app.kafka(move |admin, _| {
            let found = if all { acls::look_up_all(admin)? } else { acls::look_up(admin, &clients, &[])? };
            let mut plan = acls::plan(&namespace, &clients, &[], &found);
            plan.create.retain(|acl| match Principal::parse(&acl.principal) {
                Some(Principal::Client(id, _)) => !withheld.contains(&id),
                _ => true,
            });
            Ok((acls::apply_each(admin, &plan)?, strange_of(&plan)))
        });
        leader.of_kafka(brought.await.map_err(Trouble::Kafka)).await?
    };
    halt::at("rights-applied");
    for task in &mut open {
        let step = step(task);
        let (failed, strange) = match &brought {
            Ok((failed, strange)) => (failed, strange),
            Err(error) => {
                task.failed(step, &error.text);
                continue;
            }
        };
        let of_it = |principal: &String| task.credentials.iter().any(|it| it.id.principal(it.generation) == *principal);
        let error = failed.iter().find(|(principal, _)| of_it(principal)).map(|(_, error)| error.text.clone());
        match (error, strange.get(task.client.id.as_str())) {
            (Some(error), _) => task.failed(step, &error),
            (None, Some(strange)) => {
                leader.strange.insert(task.client.id.clone());
                task.failed(step, &told(strange));
            }
            (None, None) => {
                leader.strange.remove(&task.client.id);
                if withheld.contains(&task.client.id) {
                    task.blocked(step, Step::Topic);
                } else {
                    task.done(step, "");
                }
            }
        }
    }
    leader.marker_is_due |= open.iter().any(|task| !task.credentials.is_empty());
    Ok(())
}

/// Gives edges their rights, and takes those of retired ones: of edges that are otherwise than when this was last done.
pub(super) async fn bring_edges(leader: &mut Leader) -> Work<()> {
    let app = leader.app.clone();
    let edges: Vec<EdgeAccess> = app.store().edges().await?.iter().filter_map(edge_access).collect();
    let changed: Vec<EdgeAccess> =
        edges.into_iter().filter(|edge| leader.edge_rights.get(&edge.name) != Some(&edge.live)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let namespace = app.namespace().clone();
    let these = changed.clone();
    let brought = app.kafka(move |admin, _| {
        let found = acls::look_up(admin, &[], &these)?;
        let plan = acls::plan(&namespace, &[], &these, &found);
        let strange: Vec<Acl> = plan.strange.iter().map(|strange| strange.acl.clone()).collect();
        Ok((acls::apply_each(admin, &plan)?, strange))
    });
    let brought = leader.of_kafka(brought.await.map_err(Trouble::Kafka)).await?;
    halt::at("edge-rights-applied");
    let (text, strange) = match brought {
        Err(error) => (Some(format!("edges' rights: {error}")), Vec::new()),
        Ok((failed, strange)) => {
            for edge in changed {
                if !failed.contains_key(&edge.name.principal()) {
                    leader.edge_rights.insert(edge.name, edge.live);
                }
            }
            let text = failed.into_values().next().map(|error| format!("edges' rights: {error}"));
            (text, strange)
        }
    };
    app.reconciler().notice("edges' rights", text);
    if !strange.is_empty() {
        let texts: Vec<String> = strange.iter().map(Acl::to_string).collect();
        app.reconciler()
            .notice("edges' strange rights", Some(format!("somebody gave or refused edges rights: {}", told(&texts))));
    }
    Ok(())
}

//! What a full pass would do, in words.

use super::compare::{self, About, Snapshot};
use super::{marker, rights};
use crate::app::App;
use crate::error::Result;
use crate::kafka::acls::{self, EdgeAccess};
use crate::store::Step;
use serde::Serialize;
use utoipa::ToSchema;

/// Clients that are compared in one go.
const PAGE: usize = 1000;

/// What a full pass would do now. Each text is one thing, with its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Plan {
    /// Why nothing of it would be done, if an operator is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holding: Option<String>,
    /// Clients that were compared.
    pub clients: usize,
    /// Topics to be made, grown, configured, deleted.
    pub topics: Vec<String>,
    /// ACLs to be created and deleted.
    pub acls: Vec<String>,
    /// Quotas to be set and lifted.
    pub quotas: Vec<String>,
    /// Changes of the client list.
    pub list: Vec<String>,
    /// What somebody else has decided otherwise, and what stays so.
    pub conflicts: Vec<String>,
    /// Rights and clients on the list that nobody here has made. They stay.
    pub strange: Vec<String>,
}

impl Plan {
    /// Whether Kafka is as it is wanted, as far as that is tel-control's.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.acls.is_empty() && self.quotas.is_empty() && self.list.is_empty()
    }
}

/// Compares all that is wanted with Kafka, and changes nothing.
///
/// # Errors
/// `Unavailable` if Kafka or the database is.
pub async fn plan(app: &App) -> Result<Plan> {
    app.kafka_answers().await?;
    let snapshot = Snapshot::take(app).await?;
    let mut plan = Plan::default();
    if let Some(list) = &snapshot.list {
        match marker::judge(app, list).await? {
            marker::Judged::Sound => {
                let unknown = marker::unknown(app, list).await?;
                plan.list
                    .extend(unknown.iter().map(|it| format!("take {} off the list, no such client is known", it.id)));
                let odd = list.clients.values().filter(|it| marker::adoptable(app.namespace(), it).is_none());
                plan.strange.extend(
                    odd.map(|it| format!("list: {} with topic {} is none of the clients here", it.id, it.topic)),
                );
            }
            marker::Judged::Restored => {
                plan.holding =
                    Some("the database was restored from an older state: the clients on the list come first".into());
            }
            marker::Judged::Held(why) => plan.holding = Some(why),
        }
        plan.strange.extend(list.bad.iter().map(|(key, why)| format!("list: the record of {key:?} is bad: {why}")));
    }
    let mut after = None;
    loop {
        let page = app.store().clients(None, after.as_ref(), PAGE).await?;
        plan.clients += page.clients.len();
        for difference in compare::page(app, &snapshot, &page.clients).await? {
            let into = match (difference.about, difference.step) {
                (About::Conflict, _) => &mut plan.conflicts,
                (About::Strange, _) => &mut plan.strange,
                (About::Todo, Step::Topic | Step::TopicDeleted) => &mut plan.topics,
                (About::Todo, Step::List | Step::Unlisted | Step::Edges) => &mut plan.list,
                (About::Quota, _) => &mut plan.quotas,
                (About::Todo, _) => &mut plan.acls,
            };
            into.push(difference.text);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let edges: Vec<EdgeAccess> = app.store().edges().await?.iter().filter_map(rights::edge_access).collect();
    let of_edges = acls::plan(app.namespace(), &[], &edges, &snapshot.edge_rights);
    plan.acls.extend(of_edges.create.iter().map(|acl| format!("create ACL {acl}")));
    plan.acls.extend(of_edges.delete.iter().map(|acl| format!("delete ACL {acl}")));
    plan.strange.extend(of_edges.strange.iter().map(|strange| format!("ACL {}: {}", strange.acl, strange.why)));
    Ok(plan)
}

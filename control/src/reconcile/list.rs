//! The steps `list` and `unlisted`, and the operator's word on the list as a whole.

use super::leader::Leader;
use super::removals::{may_go, to_decide, LATELY};
use super::task::Task;
use super::{edges, Work};
use crate::app::{now, App};
use crate::error::Result;
use crate::halt;
use crate::kafka::list::{Change, Listed, Marker};
use crate::store::{Actor, Client, Position, Removal, Step};

/// The setting that holds who has asked for the operator's marker.
const ACCEPT_SETTING: &str = "list.accept";
/// What edges take for an answer to a shorter list in the topic that they know.
const SHRINK: &str = "shrink";

/// The client as edges know it.
pub(super) fn listed(client: &Client) -> Listed {
    Listed {
        id: client.id.to_string(),
        topic: client.topic.clone(),
        sample: client.settings.sample,
        max_lines_per_second: client.settings.max_lines_per_second,
    }
}

/// A position as the store has it.
pub(super) fn stored(position: &crate::kafka::list::Position) -> Position {
    Position { topic_id: position.topic_id.as_str().to_owned(), offset: position.offset }
}

/// Puts clients on the list that are `wanted`, or takes those off it that are not, all in one transaction.
pub(super) async fn bring(leader: &mut Leader, tasks: &mut [Task], wanted: bool) -> Work<()> {
    let step = if wanted { Step::List } else { Step::Unlisted };
    let app = leader.app.clone();
    let mut open: Vec<&mut Task> = Vec::new();
    for task in tasks.iter_mut().filter(|task| task.is_wanted() == wanted && task.is_open(step)) {
        if wanted && !task.has_topic {
            task.blocked(Step::List, Step::Topic);
            if task.is_open(Step::Edges) {
                task.waiting(Step::Edges, "waits for list");
            }
        } else {
            open.push(task);
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let mut changes = Vec::new();
    for task in &open {
        let id = task.client.id.as_str();
        let is_bad = leader.list.bad.contains_key(id);
        if wanted {
            let client = listed(&task.client);
            if is_bad || leader.list.clients.get(id) != Some(&client) {
                changes.push(Change::Set(client));
            }
        } else if is_bad || leader.list.clients.contains_key(id) {
            changes.push(Change::Remove(id.to_owned()));
        }
    }
    let mut removal = None;
    if !wanted && !changes.is_empty() {
        let of = leader.list.clients.len();
        let removed = changes.len().min(of);
        let before = app.store().removals(now() - LATELY).await?;
        if before.waits.is_none() && may_go(of, removed, before.since) {
            let clients = u64::try_from(of - removed).unwrap_or(u64::MAX);
            changes.push(Change::Accept(Marker { accept: SHRINK.to_owned(), clients }));
            removal = Some(Removal { removed, of });
        } else {
            // Before it is so: whoever leads next must not accept it unasked.
            app.store().note_removal(&Actor::reconciler(), Removal { removed, of }, true, now()).await?;
            app.reconciler().notice("removals", Some(to_decide(Removal { removed, of })));
        }
    }
    if !changes.is_empty() {
        // Without the list nothing goes on: the writer is opened again, and the list is read.
        leader.publish(changes).await?;
    }
    if let Some(removal) = removal {
        app.store().note_removal(&Actor::reconciler(), removal, false, now()).await?;
    }
    halt::at(if wanted { "list-published" } else { "list-removed" });
    let position = stored(&leader.list.position);
    if wanted {
        let listed: Vec<_> = open.iter().map(|task| (task.client.id.clone(), position.clone())).collect();
        app.store().set_listed(&listed, now()).await?;
        halt::at("list-recorded");
    }
    let heard = if wanted { Some(edges::heard(&app).await?) } else { None };
    for task in open {
        task.done(step, "");
        if let Some(heard) = &heard {
            task.client.listed = Some(position.clone());
            edges::tell(task, heard);
        }
    }
    Ok(())
}

/// Says to the edges that the list is right as it is, although its topic was made anew or it is much shorter: an operator's
/// decision. Written by the process that leads, once all that is due is done.
///
/// # Errors
/// `Unavailable`.
pub async fn accept_list(app: &App, who: &Actor) -> Result<()> {
    app.store().set_setting(who, ACCEPT_SETTING, Some(who.as_str()), now()).await?;
    app.wake();
    Ok(())
}

/// Writes the marker if an operator has asked for it.
pub(super) async fn write_accepted(leader: &mut Leader) -> Work<()> {
    let app = leader.app.clone();
    if app.store().setting(ACCEPT_SETTING).await?.is_none() {
        return Ok(());
    }
    // It names the topic: the same record is right for one that was made anew, and for a list that is shorter.
    let clients = u64::try_from(leader.list.clients.len()).unwrap_or(u64::MAX);
    let marker = Marker::of_topic(&leader.list.position.topic_id, clients);
    leader.publish(vec![Change::Accept(marker)]).await?;
    halt::at("list-accepted");
    app.store().note_list_accepted(&Actor::reconciler(), leader.list.clients.len(), now()).await?;
    app.reconciler().notice("removals", None);
    app.reconciler().notice("list made anew", None);
    app.store().set_setting(&Actor::reconciler(), ACCEPT_SETTING, None, now()).await?;
    Ok(())
}

/// Takes clients off the list that nobody has asked for: no marker follows, so that edges keep what would be a large part of it.
pub(super) async fn remove_unknown(leader: &mut Leader, ids: Vec<String>) -> Work<()> {
    let app = leader.app.clone();
    // Before it is done: twice in the log is better than not at all.
    let removal = Removal { removed: ids.len(), of: leader.list.clients.len() };
    let waits = app.store().removals(now()).await?.waits.is_some();
    app.store().note_removal(&Actor::reconciler(), removal, waits, now()).await?;
    for id in &ids {
        let details = serde_json::json!({ "why": "no such client is known" });
        app.store().audit(&Actor::reconciler(), "list.remove", &format!("client:{id}"), details, now()).await?;
    }
    halt::at("unknown-noted");
    leader.publish(ids.into_iter().map(Change::Remove).collect()).await?;
    halt::at("unknown-removed");
    Ok(())
}

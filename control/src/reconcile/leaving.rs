//! The step `topic-deleted`: after the grace period, under the recorded id, and then the client is forgotten.

use super::leader::Leader;
use super::task::Task;
use super::topic::TAKE_OVER;
use super::{Trouble, Work};
use crate::app::now;
use crate::error::{Error, Kind};
use crate::halt;
use crate::kafka::admin::TopicId;
use crate::kafka::topics::{self, Deleted};
use crate::log;
use crate::store::{Actor, Desired, Step};

/// Deletes topics whose time is over.
pub(super) async fn bring(leader: &mut Leader, tasks: &mut [Task]) -> Work<()> {
    let app = leader.app.clone();
    let at = now();
    let mut doomed: Vec<&mut Task> = Vec::new();
    for task in tasks.iter_mut().filter(|task| task.is_open(Step::TopicDeleted)) {
        let Desired::Leaving { delete_after, .. } = task.client.desired else { continue };
        if delete_after > at {
            if task.row(Step::TopicDeleted).is_some_and(|row| row.next_try <= at) {
                task.pending(Step::TopicDeleted, "", delete_after);
            }
        } else if let Some(before) = [Step::Unlisted, Step::AclsRemoved].into_iter().find(|step| !task.is_done(*step)) {
            task.blocked(Step::TopicDeleted, before);
        } else if !app.namespace().holds(&task.client.topic) {
            let text = format!("topic {}: is outside of the namespace, and stays", task.client.topic);
            task.failed(Step::TopicDeleted, &text);
        } else {
            doomed.push(task);
        }
    }
    if doomed.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = doomed.iter().map(|task| task.client.topic.clone()).collect();
    let found = app.kafka(move |admin, _| admin.describe_topics(&names)).await.map_err(Trouble::Kafka);
    let found = match leader.of_kafka(found).await? {
        Ok(found) => found,
        Err(error) => {
            doomed.into_iter().for_each(|task| task.failed(Step::TopicDeleted, &error.text));
            return Ok(());
        }
    };
    // Those that are there, under their recorded ids.
    let mut begun: Vec<(&mut Task, TopicId)> = Vec::new();
    for (task, found) in doomed.into_iter().zip(found) {
        let recorded = task.client.topic_id.as_deref().map(TopicId::from_text);
        match (found, recorded) {
            (Err(error), _) if error.kind == Kind::NotFound => forget(leader, task).await?,
            (Err(error), _) => task.failed(Step::TopicDeleted, &error.text),
            (Ok(_), None) => {
                // Nobody has noted that it was made for this client.
                let text = format!("topic {} was not made for client {}, and stays", task.client.topic, task.client.id);
                log::warning(format!("reconciler: {text}"));
                forget(leader, task).await?;
            }
            (Ok(topic), Some(id)) if topic.id != id => other_id(task, &topic.id, &id),
            (Ok(_), Some(id)) => {
                if app.store().begin_delete(&Actor::reconciler(), &task.client.id, id.as_str(), now()).await? {
                    begun.push((task, id));
                }
            }
        }
    }
    if begun.is_empty() {
        return Ok(());
    }
    halt::at("deletion-begun");
    let topics: Vec<(String, TopicId)> =
        begun.iter().map(|(task, id)| (task.client.topic.clone(), id.clone())).collect();
    let namespace = app.namespace().clone();
    let deleted = app.kafka(move |admin, _| topics::delete(admin, &namespace, &topics)).await.map_err(Trouble::Kafka);
    let deleted = leader.of_kafka(deleted).await?;
    halt::at("topics-deleted");
    let deleted = match deleted {
        Ok(deleted) => deleted,
        Err(error) => vec![Err(error); begun.len()],
    };
    for ((task, id), deleted) in begun.into_iter().zip(deleted) {
        // The beginning of the deletion was a change: what is said of the step is said of the client as it is since then.
        if let Some(client) = app.store().client(&task.client.id).await? {
            task.client.revision = client.revision;
        }
        match deleted {
            Ok(Deleted::Now | Deleted::Before) => forget(leader, task).await?,
            Ok(Deleted::OtherId(other)) => other_id(task, &other, &id),
            Err(error) => task.failed(Step::TopicDeleted, &error.text),
        }
    }
    Ok(())
}

fn other_id(task: &mut Task, found: &TopicId, recorded: &TopicId) {
    let text = format!(
        "topic {}: was made anew by somebody else (id {found}, not {recorded}), and stays: delete it by hand, or have it deleted as the \
         client's ({TAKE_OVER} {})",
        task.client.topic, task.client.id
    );
    task.failed(Step::TopicDeleted, &text);
}

async fn forget(leader: &mut Leader, task: &mut Task) -> Work<()> {
    let client = &task.client;
    let store = leader.app.store();
    match store.forget(&Actor::reconciler(), &client.id, client.topic_id.as_deref(), now()).await {
        Ok(()) => {
            leader.app.announce();
            leader.strange.remove(&client.id);
            Ok(())
        }
        // It came back meanwhile, or is gone.
        Err(Error { kind: Kind::Conflict | Kind::NotFound, .. }) => Ok(()),
        Err(error) => Err(Trouble::Store(error)),
    }
}

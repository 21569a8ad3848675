//! The step `topic`: it is there, with its partitions and settings.

use super::leader::Leader;
use super::task::Task;
use super::{Trouble, Work};
use crate::app::{now, App};
use crate::error::{Error, Result};
use crate::halt;
use crate::kafka::admin::TopicId;
use crate::kafka::topics::{self, Found, Policy, TopicPlan, Wanted};
use crate::names::ClientId;
use crate::store::{Actor, Client, MadeTopic, OwnSettings, Step, TopicNote};
use std::collections::{BTreeMap, HashMap};

/// Kafka's own default: a week.
const LONGEST_SEGMENT_MS: u64 = 7 * 24 * 3600 * 1000;

/// How long a line may stay, in milliseconds, if it is the first of a segment: Kafka deletes that when its last line is old enough.
pub(crate) fn longest_kept_ms(retention_ms: u64) -> u64 {
    retention_ms.saturating_add(segment_ms(retention_ms))
}

fn segment_ms(retention_ms: u64) -> u64 {
    retention_ms.min(LONGEST_SEGMENT_MS)
}

/// What the client's topic should be.
///
/// # Errors
/// `Invalid` if its name is outside of the namespace: that was another one when the client was added.
pub(super) fn wanted(app: &App, client: &Client, own: &OwnSettings) -> Result<Wanted> {
    let namespace = app.namespace();
    if client.topic != namespace.topic(&client.id) {
        return Err(Error::invalid(format!(
            "topic {}: is not {}, which the namespace makes it; the namespace must be what it was when the client was added",
            client.topic,
            namespace.topic(&client.id)
        )));
    }
    let policy = &app.config().topic;
    let settings = &client.settings;
    let retention_bytes = match policy.retention_bytes {
        0 => "-1".to_owned(),
        bytes => bytes.to_string(),
    };
    let retention_ms = settings.retention_ms.unwrap_or(policy.retention_ms);
    let config = [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.bytes", retention_bytes),
        ("retention.ms", retention_ms.to_string()),
        // Kafka deletes a segment when its newest line is old enough, so its oldest is gone after twice the retention at the latest;
        // by the brokers' default of a week, a small client's lines would stay for that much longer than was said.
        ("segment.ms", segment_ms(retention_ms).to_string()),
    ];
    let partitions = settings.partitions.unwrap_or(policy.partitions);
    Ok(Wanted {
        name: client.topic.clone(),
        id: client.topic_id.as_deref().map(TopicId::from_text),
        policy: Policy {
            partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
            replication: replication(app),
            config: config.map(|(name, value)| (name.to_owned(), value)).into(),
        },
        applied: own.clone(),
    })
}

/// Replicas of all topics, as Kafka takes it.
pub(super) fn replication(app: &App) -> i32 {
    match app.config().topic.replication {
        0 => -1,
        replicas => i32::from(replicas),
    }
}

/// Makes, grows and configures topics.
pub(super) async fn bring(leader: &mut Leader, tasks: &mut [Task]) -> Work<()> {
    let app = leader.app.clone();
    for task in tasks.iter_mut() {
        task.has_topic = task.is_done(Step::Topic);
    }
    let mut open: Vec<&mut Task> = tasks.iter_mut().filter(|task| task.is_open(Step::Topic)).collect();
    if open.is_empty() {
        return Ok(());
    }
    let ids: Vec<ClientId> = open.iter().map(|task| task.client.id.clone()).collect();
    let own = app.store().own_settings(&ids).await?;
    let none = OwnSettings::new();
    let mut wanted = Vec::new();
    for task in &mut open {
        match self::wanted(&app, &task.client, own.get(&task.client.id).unwrap_or(&none)) {
            Ok(topic) => wanted.push(topic),
            Err(error) => task.failed(Step::Topic, &error.text),
        }
    }
    let brought = bring_topics(&app, wanted, &own, &open).await;
    let brought = match leader.of_kafka(brought).await? {
        Ok(brought) => brought,
        Err(error) => {
            open.iter_mut()
                .filter(|task| task.is_open(Step::Topic))
                .for_each(|task| task.failed(Step::Topic, &error.text));
            return Ok(());
        }
    };
    for task in open {
        let Some(result) = brought.get(&task.client.topic) else { continue };
        task.has_topic = result.topic_id.is_ok();
        match &result.topic_id {
            Ok(id) => {
                task.client.topic_id = Some(id.as_str().to_owned());
                if result.conflicts.is_empty() {
                    task.done(Step::Topic, "");
                } else {
                    task.failed(Step::Topic, &format!("topic {}: {}", task.client.topic, result.conflicts.join("; ")));
                }
            }
            Err(error) => task.failed(Step::Topic, &error.text),
        }
    }
    Ok(())
}

struct Brought {
    topic_id: Result<TopicId>,
    conflicts: Vec<String>,
}

/// What became of each topic, by name. An error of Kafka's as a whole is the inner one.
async fn bring_topics(
    app: &App,
    wanted: Vec<Wanted>,
    own: &HashMap<ClientId, OwnSettings>,
    tasks: &[&mut Task],
) -> Work<HashMap<String, Brought>> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let namespace = app.namespace().clone();
    let (wanted, found, plan) = app
        .kafka(move |admin, _| {
            let found = topics::look_up_each(admin, &wanted)?;
            let (sound, present): (Vec<Wanted>, Vec<Option<Found>>) = wanted
                .iter()
                .zip(&found)
                .filter_map(|(wanted, found)| Some((wanted.clone(), found.clone().ok()?)))
                .unzip();
            let plan = topics::plan(&namespace, &sound, &present)?;
            Ok((wanted, found, plan))
        })
        .await
        .map_err(Trouble::Kafka)?;

    // Before anything is set, so that it is known to be ours whatever happens.
    let by_name: HashMap<&str, &Wanted> = wanted.iter().map(|wanted| (wanted.name.as_str(), wanted)).collect();
    let changed = changed_names(&plan);
    let mut noted = Vec::new();
    for task in tasks {
        let Some(is_made) = changed.get(&task.client.topic).copied() else { continue };
        let Some(wanted) = by_name.get(task.client.topic.as_str()) else { continue };
        let mut settings = own.get(&task.client.id).cloned().unwrap_or_default();
        for (key, value) in &wanted.policy.config {
            settings.entry(key.clone()).or_default().insert(value.clone());
        }
        noted.push(TopicNote { id: task.client.id.clone(), settings, is_made });
    }
    if !noted.is_empty() {
        app.store().note_settings(&noted).await?;
    }
    halt::at("settings-noted");

    let mut conflicts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, text) in &plan.conflicts {
        conflicts.entry(name.clone()).or_default().push(text.clone());
    }
    for task in tasks.iter().filter(|task| plan.foreign.contains(&task.client.topic)) {
        conflicts.entry(task.client.topic.clone()).or_default().push(way_out(&task.client.id));
    }
    let applied = app.kafka(move |admin, _| topics::apply(admin, &plan)).await.map_err(Trouble::Kafka)?;
    halt::at("topics-applied");

    let mut brought: HashMap<String, Brought> = HashMap::new();
    for (wanted, found) in wanted.iter().zip(found) {
        let texts = conflicts.remove(&wanted.name).unwrap_or_default();
        // Without an answer below it is somebody else's.
        let topic_id = match found {
            Err(error) => Err(error),
            Ok(_) => Err(Error::conflict(format!("topic {}: {}", wanted.name, texts.join("; ")))),
        };
        brought.insert(wanted.name.clone(), Brought { topic_id, conflicts: texts });
    }
    for topic in applied {
        if let Some(brought) = brought.get_mut(&topic.name) {
            brought.topic_id = topic.result;
        }
    }
    let mut made = Vec::new();
    for task in tasks {
        let name = task.client.topic.as_str();
        let (Some(brought), Some(wanted)) = (brought.get(name), by_name.get(name)) else { continue };
        let Ok(id) = &brought.topic_id else { continue };
        let before = own.get(&task.client.id).cloned().unwrap_or_default();
        let mut settings: OwnSettings =
            wanted.policy.config.iter().map(|(key, value)| (key.clone(), [value.clone()].into())).collect();
        if !brought.conflicts.is_empty() {
            // Which of them somebody else has set is not told apart here: what was ours may still be there.
            for (key, values) in &before {
                settings.entry(key.clone()).or_default().extend(values.iter().cloned());
            }
        }
        if task.client.topic_id.as_deref() != Some(id.as_str()) || settings != before {
            made.push(MadeTopic { id: task.client.id.clone(), topic_id: id.as_str().to_owned(), settings });
        }
    }
    if !made.is_empty() {
        app.store().set_topics(&Actor::reconciler(), &made, now()).await?;
    }
    halt::at("topics-recorded");
    Ok(brought)
}

/// Topics on which something is set, and whether they are made.
fn changed_names(plan: &TopicPlan) -> HashMap<String, bool> {
    let name = |step: &topics::Step| match step {
        topics::Step::Create(topic) => Some((topic.name.clone(), true)),
        topics::Step::Configure(name, _) => Some((name.clone(), false)),
        topics::Step::Grow(..) => None,
    };
    plan.steps.iter().filter_map(name).collect()
}

/// The command that settles whose a topic is.
pub(super) const TAKE_OVER: &str = "tel-control client take-over";

/// What an operator can do about a topic that is somebody else's.
pub(super) fn way_out(id: &ClientId) -> String {
    format!("nothing of it is changed; delete it, or take it over ({TAKE_OVER} {id})")
}

/// Whether a failed step of this detail waits for an operator who takes a topic over.
pub fn can_take_over(detail: &str) -> bool {
    detail.contains(TAKE_OVER)
}

/// Takes the topic that is there now for the client's, although it is not the one that was made for it: an operator's decision. From
/// then on it is configured as the client's, and deleted when that has left. If it is the client's already, nothing is changed.
///
/// # Errors
/// `NotFound` without the client or the topic; `Unavailable` if Kafka or the database is.
pub async fn take_over_topic(app: &App, who: &Actor, id: &ClientId) -> Result<()> {
    let client = app.store().client(id).await?;
    let client = client.ok_or_else(|| Error::not_found(format!("client {id} is not known")))?;
    app.kafka_answers().await?;
    let name = client.topic;
    let topic = app.kafka(move |admin, _| Ok(admin.describe_topics(&[name])?.pop())).await?;
    let topic = topic.unwrap_or_else(|| Err(Error::unavailable("topic: no answer")))?;
    app.store().take_over_topic(who, id, topic.id.as_str(), now()).await?;
    app.wake();
    Ok(())
}

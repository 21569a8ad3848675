//! Clients' topics: what they should be, what is found, and what is to be done about it.
//!
//! Settings that somebody else has chosen stay: a setting is changed only if nobody set it on the topic, or if it is still what this
//! code once set, or was about to (the caller remembers that as `applied`). Everything else that differs is told as a conflict.
//!
//! Brokers hear of a change a moment after the controller has answered: a look-up right after [`apply`] may find what was before, and
//! a change of settings then looks like somebody else's. The next look-up tells.
//!
//! A topic is deleted only under its recorded id, so that one that was made anew under the same name is safe from a late deletion.

use super::admin::{Admin, ConfigChange, ConfigEntry, ConfigOf, ConfigSource, Created, NewTopic, Topic, TopicId};
use crate::error::{Error, Kind, Result};
use crate::names::Namespace;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

/// What a client's topic should be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// At least so many partitions; -1 for the brokers' default.
    pub partitions: i32,
    /// So many replicas when it is made; -1 for the brokers' default.
    pub replication: i32,
    /// Its settings, such as `retention.ms`.
    pub config: BTreeMap<String, String>,
}

/// A topic that there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name, which begins with the namespace.
    pub name: String,
    /// Its id, once it is known.
    pub id: Option<TopicId>,
    /// What it should be like.
    pub policy: Policy,
    /// By setting, the values that this code has set on it, or was about to.
    pub applied: BTreeMap<String, BTreeSet<String>>,
}

/// A topic that there is, with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The topic.
    pub topic: Topic,
    /// Those of its settings that were asked for.
    pub config: Vec<ConfigEntry>,
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is not there.
    Create(NewTopic),
    /// It has too few partitions: its name, how many, how many there should be.
    Grow(String, i32, i32),
    /// Settings differ.
    Configure(String, Vec<ConfigChange>),
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPlan {
    /// In this order.
    pub steps: Vec<Step>,
    /// What is not as wanted and stays so: the topic, and what differs.
    pub conflicts: Vec<(String, String)>,
    /// The topics that are there and the clients'.
    pub ids: BTreeMap<String, TopicId>,
    /// Those of the conflicts that are about the topic as a whole: it is somebody else's.
    pub foreign: BTreeSet<String>,
}

/// What became of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub name: String,
    /// Its id, or why it is not as it should be.
    pub result: Result<TopicId>,
}

/// What there is of these topics, with an answer for each; `None` for one that is not there.
///
/// # Errors
/// Those of the requests as a whole.
pub fn look_up_each(admin: &Admin, wanted: &[Wanted]) -> Result<Vec<Result<Option<Found>>>> {
    let names: Vec<String> = wanted.iter().map(|wanted| wanted.name.clone()).collect();
    let topics = admin.describe_topics(&names)?;
    let there: Vec<ConfigOf> = topics.iter().flatten().map(|topic| ConfigOf::Topic(topic.name.clone())).collect();
    let keys: BTreeSet<&str> =
        wanted.iter().flat_map(|wanted| wanted.policy.config.keys()).map(String::as_str).collect();
    let keys: Vec<&str> = keys.into_iter().collect();
    // No names would mean all settings.
    let configs = if keys.is_empty() { Vec::new() } else { admin.describe_configs(&there, &keys)? };
    let mut configs = configs.into_iter();
    let each = topics
        .into_iter()
        .map(|topic| match topic {
            Ok(topic) => match configs.next().transpose() {
                Ok(config) => Ok(Some(Found { topic, config: config.unwrap_or_default() })),
                // Deleted in between.
                Err(error) if error.kind == Kind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .collect();
    Ok(each)
}

/// Compares what there should be with what was found, one for each of `wanted`.
///
/// A topic that is there under another id than the recorded one, or without one, is somebody else's, whatever its name. One without
/// is the client's all the same if it has the very settings with which it was about to be made ([`Wanted::applied`]): whoever made it
/// ended before its id was recorded.
///
/// # Errors
/// `Invalid` for a topic outside of the namespace.
pub fn plan(namespace: &Namespace, wanted: &[Wanted], found: &[Option<Found>]) -> Result<TopicPlan> {
    let mut plan = TopicPlan::default();
    for (wanted, found) in wanted.iter().zip(found) {
        check_name(namespace, &wanted.name)?;
        match found {
            None => plan.steps.push(Step::Create(NewTopic {
                name: wanted.name.clone(),
                partitions: wanted.policy.partitions,
                replication: wanted.policy.replication,
                config: wanted.policy.config.clone(),
            })),
            Some(found) => compare(&mut plan, wanted, found),
        }
    }
    Ok(plan)
}

fn compare(plan: &mut TopicPlan, wanted: &Wanted, found: &Found) {
    let Wanted { name, id, policy, applied } = wanted;
    let topic = &found.topic;
    let mut conflict = |text: String| plan.conflicts.push((name.clone(), text));
    let foreign = match id {
        Some(id) if *id != topic.id => {
            Some(format!("it was made anew by somebody else: its id is {}, not {id}", topic.id))
        }
        None if !is_as_made(wanted, found) => Some(format!("it was made by somebody else: its id is {}", topic.id)),
        _ => None,
    };
    if let Some(text) = foreign {
        conflict(text);
        // What it is like is somebody else's choice, too, until an operator takes it over.
        plan.foreign.insert(name.clone());
        return;
    }
    if policy.replication > 0 && topic.replication != policy.replication {
        conflict(format!("it has {} replicas, not {}", topic.replication, policy.replication));
    }
    if policy.partitions > 0 && topic.partitions > policy.partitions {
        conflict(format!("it has {} partitions, more than {}", topic.partitions, policy.partitions));
    }
    let mut changes = Vec::new();
    for (key, value) in &policy.config {
        match set_on(found, key) {
            Some(set) if set == value => {}
            Some(set) if applied.get(key).is_none_or(|ours| !ours.contains(set)) => {
                conflict(format!("{key} was set to {set} by somebody else, not {value}"))
            }
            _ => changes.push(ConfigChange::Set(key.clone(), value.clone())),
        }
    }
    if policy.partitions > topic.partitions {
        plan.steps.push(Step::Grow(name.clone(), topic.partitions, policy.partitions));
    }
    if !changes.is_empty() {
        plan.steps.push(Step::Configure(name.clone(), changes));
    }
    plan.ids.insert(name.clone(), topic.id.clone());
}

/// The value that somebody has set on the topic itself.
fn set_on<'a>(found: &'a Found, key: &str) -> Option<&'a String> {
    let entry = found.config.iter().find(|entry| entry.name == key);
    entry.filter(|entry| entry.source == ConfigSource::Topic).and_then(|entry| entry.value.as_ref())
}

/// Whether it has all the settings with which it was about to be made, which nobody else sets by chance.
fn is_as_made(wanted: &Wanted, found: &Found) -> bool {
    let was_set =
        |key: &String| wanted.applied.get(key).zip(set_on(found, key)).is_some_and(|(ours, set)| ours.contains(set));
    !wanted.policy.config.is_empty() && wanted.policy.config.keys().all(was_set)
}

/// Does what is to be done, and tells the id of each topic of the plan.
///
/// A topic that was made is waited for until the brokers know it. One that was to be made and is there by then is a `Conflict`: whose
/// it is, the next look tells.
///
/// # Errors
/// That of a request as a whole; else each topic has its own.
pub fn apply(admin: &Admin, plan: &TopicPlan) -> Result<Vec<Applied>> {
    let mut failed: BTreeMap<String, Error> = BTreeMap::new();
    let mut fail = |names: &mut dyn Iterator<Item = &String>, results: Vec<Result<()>>| {
        for (name, result) in names.zip(results) {
            if let Err(error) = result {
                failed.insert(name.clone(), error);
            }
        }
    };
    let (mut new, mut grow, mut configure) = (Vec::new(), Vec::new(), Vec::new());
    for step in &plan.steps {
        match step {
            Step::Create(topic) => new.push(topic.clone()),
            Step::Grow(name, _, total) => grow.push((name.clone(), *total)),
            Step::Configure(name, changes) => configure.push((ConfigOf::Topic(name.clone()), changes.clone())),
        }
    }
    if !new.is_empty() {
        let made = |(result, topic): (Result<Created>, &NewTopic)| match result? {
            Created::New => Ok(()),
            Created::Existed => {
                Err(Error::conflict(format!("topic {}: is there, though it was not a moment ago", topic.name)))
            }
        };
        let results = admin.create_topics(&new)?.into_iter().zip(&new).map(made).collect();
        fail(&mut new.iter().map(|topic| &topic.name), results);
    }
    if !grow.is_empty() {
        fail(&mut grow.iter().map(|(name, _)| name), admin.create_partitions(&grow)?);
    }
    if !configure.is_empty() {
        let results = admin.alter_configs(&configure)?;
        let mut names = plan.steps.iter().filter_map(|step| match step {
            Step::Configure(name, _) => Some(name),
            _ => None,
        });
        fail(&mut names, results);
    }
    let made: Vec<String> = new.into_iter().map(|topic| topic.name).filter(|name| !failed.contains_key(name)).collect();
    let mut ids: BTreeMap<String, Result<TopicId>> =
        plan.ids.iter().map(|(name, id)| (name.clone(), Ok(id.clone()))).collect();
    ids.extend(made.iter().cloned().zip(ids_of(admin, &made)?));
    ids.extend(failed.into_iter().map(|(name, error)| (name, Err(error))));
    Ok(ids.into_iter().map(|(name, result)| Applied { name, result }).collect())
}

/// The ids of topics that were just made: a broker may hear of them later than the controller.
fn ids_of(admin: &Admin, names: &[String]) -> Result<Vec<Result<TopicId>>> {
    /// Between two looks.
    const PAUSE: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + admin.timeout();
    loop {
        let topics = admin.describe_topics(names)?;
        let is_late = |topic: &Result<Topic>| match topic {
            Ok(topic) => topic.without_leader > 0,
            Err(error) => error.kind == Kind::NotFound,
        };
        if !topics.iter().any(is_late) || Instant::now() >= deadline {
            return Ok(topics.into_iter().map(|topic| topic.map(|topic| topic.id)).collect());
        }
        thread::sleep(PAUSE);
    }
}

/// What became of a topic that was to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, with all in it.
    Now,
    /// It was not there.
    Before,
    /// There is one of that name with this other id, and it stays.
    OtherId(TopicId),
}

/// Deletes topics, each under its recorded id alone.
///
/// Kafka deletes by name here. Between the comparison and the deletion there is a moment in which somebody could make a topic anew.
///
/// # Errors
/// `Invalid` for a topic outside of the namespace, before anything is deleted; and that of a request as a whole.
pub fn delete(admin: &Admin, namespace: &Namespace, topics: &[(String, TopicId)]) -> Result<Vec<Result<Deleted>>> {
    for (name, _) in topics {
        check_name(namespace, name)?;
    }
    let names: Vec<String> = topics.iter().map(|(name, _)| name.clone()).collect();
    let mut results: Vec<Option<Result<Deleted>>> = admin
        .describe_topics(&names)?
        .into_iter()
        .zip(topics)
        .map(|(found, (_, id))| match found {
            Ok(topic) if topic.id == *id && !id.as_str().is_empty() => None,
            Ok(topic) => Some(Ok(Deleted::OtherId(topic.id))),
            Err(error) if error.kind == Kind::NotFound => Some(Ok(Deleted::Before)),
            Err(error) => Some(Err(error)),
        })
        .collect();
    let doomed: Vec<String> =
        names.into_iter().zip(&results).filter(|(_, result)| result.is_none()).map(|(name, _)| name).collect();
    let deleted = if doomed.is_empty() { Vec::new() } else { admin.delete_topics(&doomed)? };
    let open = results.iter_mut().filter(|result| result.is_none());
    for (result, answer) in open.zip(deleted) {
        *result = Some(match answer {
            Ok(()) => Ok(Deleted::Now),
            Err(error) if error.kind == Kind::NotFound => Ok(Deleted::Before),
            Err(error) => Err(error),
        });
    }
    Ok(results
        .into_iter()
        .map(|result| result.unwrap_or_else(|| Err(Error::unavailable("deleting topics: no answer"))))
        .collect())
}

fn check_name(namespace: &Namespace, name: &str) -> Result<()> {
    if namespace.holds(name) {
        return Ok(());
    }
    Err(Error::invalid(format!("topic {name}: does not begin with the namespace {}", namespace.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace() -> Namespace {
        Namespace::new("logs.").unwrap()
    }

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn wanted(id: Option<&str>, config: &[(&str, &str)], applied: &[(&str, &str)]) -> Wanted {
        Wanted {
            name: "logs.c83".into(),
            id: id.map(TopicId::from_text),
            policy: Policy { partitions: 2, replication: 1, config: map(config) },
            applied: applied.iter().map(|(key, value)| ((*key).into(), [(*value).into()].into())).collect(),
        }
    }

    fn found(id: &str, partitions: i32, config: &[(&str, &str, ConfigSource)]) -> Option<Found> {
        let topic = Topic {
            name: "logs.c83".into(),
            id: TopicId::from_text(id),
            partitions,
            replication: 1,
            without_leader: 0,
            allowed: Vec::new(),
        };
        let entry = |(name, value, source): &(&str, &str, ConfigSource)| ConfigEntry {
            name: (*name).into(),
            value: Some((*value).into()),
            source: *source,
        };
        Some(Found { topic, config: config.iter().map(entry).collect() })
    }

    fn plan_one(wanted: Wanted, found: Option<Found>) -> TopicPlan {
        plan(&namespace(), &[wanted], &[found]).unwrap()
    }

    #[test]
    fn what_is_missing_is_made() {
        let plan = plan_one(wanted(None, &[("retention.ms", "1")], &[]), None);
        let [Step::Create(topic)] = &plan.steps[..] else { panic!("{plan:?}") };
        assert_eq!((topic.partitions, topic.config.len()), (2, 1));
    }

    #[test]
    fn what_is_as_wanted_stays() {
        let config = [("retention.ms", "1", ConfigSource::Topic)];
        let plan = plan_one(wanted(Some("a"), &[("retention.ms", "1")], &[]), found("a", 2, &config));
        assert!(plan.steps.is_empty() && plan.conflicts.is_empty());
        assert_eq!(plan.ids["logs.c83"], TopicId::from_text("a"));
    }

    #[test]
    fn only_what_this_code_set_is_changed() {
        let one = |source, applied: &[(&str, &str)]| {
            let plan = plan_one(
                wanted(Some("a"), &[("retention.ms", "2")], applied),
                found("a", 2, &[("retention.ms", "1", source)]),
            );
            (plan.steps.len(), plan.conflicts.len())
        };
        assert_eq!(one(ConfigSource::Topic, &[("retention.ms", "1")]), (1, 0));
        assert_eq!(one(ConfigSource::Topic, &[]), (0, 1));
        assert_eq!(one(ConfigSource::Topic, &[("retention.ms", "3")]), (0, 1));
        assert_eq!(one(ConfigSource::Default, &[]), (1, 0));
        assert_eq!(one(ConfigSource::Broker, &[]), (1, 0));
    }

    #[test]
    fn partitions_grow_and_never_shrink() {
        let one = |partitions| plan_one(wanted(Some("a"), &[], &[]), found("a", partitions, &[]));
        assert_eq!(one(1).steps, [Step::Grow("logs.c83".into(), 1, 2)]);
        let more = one(3);
        assert!(more.steps.is_empty() && more.conflicts.len() == 1);
    }

    #[test]
    fn a_topic_with_another_id_is_let_alone() {
        let plan = plan_one(wanted(Some("b"), &[("retention.ms", "2")], &[]), found("a", 1, &[]));
        assert!(plan.steps.is_empty() && plan.ids.is_empty());
        assert!(plan.conflicts[0].1.contains("made anew") && plan.foreign.contains("logs.c83"));
    }

    #[test]
    fn a_topic_without_a_recorded_id_is_the_client_s_only_as_it_was_about_to_be_made() {
        let wants = [("cleanup.policy", "delete"), ("retention.ms", "2")];
        let is_ours = |applied: &[(&str, &str)], source, retention| {
            let config = [("cleanup.policy", "delete", ConfigSource::Topic), ("retention.ms", retention, source)];
            let plan = plan_one(wanted(None, &wants, applied), found("a", 1, &config));
            let nothing = plan.steps.is_empty() && plan.ids.is_empty() && plan.foreign.contains("logs.c83");
            assert!(nothing != plan.ids.contains_key("logs.c83"), "{plan:?}");
            !nothing
        };
        assert!(is_ours(&wants, ConfigSource::Topic, "2"));
        // It was to be configured otherwise since.
        assert!(is_ours(&[("cleanup.policy", "delete"), ("retention.ms", "1")], ConfigSource::Topic, "1"));
        assert!(!is_ours(&[], ConfigSource::Topic, "2"));
        assert!(!is_ours(&wants, ConfigSource::Topic, "3"));
        assert!(!is_ours(&wants, ConfigSource::Broker, "2"));
    }

    #[test]
    fn a_topic_outside_of_the_namespace_is_refused() {
        let mut other = wanted(None, &[], &[]);
        other.name = "tel.clients".into();
        assert_eq!(plan(&namespace(), &[other], &[None]).unwrap_err().kind, Kind::Invalid);
    }
}

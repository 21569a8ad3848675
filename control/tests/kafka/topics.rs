//! Topics: made, described, changed and deleted, by id.

use crate::broker::shared;
use crate::{eventually, id, namespace};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tel_control::error::{Kind, Result};
use tel_control::kafka::admin::{Admin, ConfigChange, ConfigOf, Created, NewTopic, Topic, TopicId};
use tel_control::kafka::topics::{self, Deleted, Found, Policy, Wanted};
use tel_control::kafka::{groups, Connection};

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn wanted(name: &str, partitions: i32, config: &[(&str, &str)]) -> Wanted {
    Wanted {
        name: name.to_owned(),
        id: None,
        policy: Policy { partitions, replication: 1, config: map(config) },
        applied: BTreeMap::new(),
    }
}

/// What was set on it.
fn applied(wanted: &Wanted) -> BTreeMap<String, BTreeSet<String>> {
    wanted.policy.config.iter().map(|(key, value)| (key.clone(), [value.clone()].into())).collect()
}

fn look_up(admin: &Admin, wanted: &[Wanted]) -> Vec<Option<Found>> {
    let found = topics::look_up_each(admin, wanted).expect("an answer");
    found.into_iter().map(|found| found.expect("what there is")).collect()
}

/// Compares and does, once; how many steps and conflicts there were, and the id of the first topic.
fn bring(admin: &Admin, wanted: &[Wanted]) -> (usize, usize, Option<TopicId>) {
    let found = look_up(admin, wanted);
    let plan = topics::plan(&namespace(), wanted, &found).expect("a plan");
    let applied = topics::apply(admin, &plan).expect("all tried");
    let id = applied.first().map(|applied| applied.result.clone().expect("a topic"));
    (plan.steps.len(), plan.conflicts.len(), id)
}

#[test]
fn a_topic_is_made_changed_and_deleted_under_its_id() {
    let admin = shared().admin();
    let name = "logs.life";
    let mut life = wanted(name, 2, &[("retention.ms", "3600000")]);
    let (steps, _, first) = bring(&admin, &[life.clone()]);
    assert_eq!(steps, 1);
    let first = first.expect("an id");
    let topic = admin.describe_topics(&[name.into()]).unwrap().remove(0).unwrap();
    assert_eq!((&topic.id, topic.partitions, topic.replication, topic.without_leader), (&first, 2, 1, 0));
    assert_eq!(first.as_str().len(), 22, "{first}");

    // The same again changes nothing.
    life.applied = applied(&life);
    life.id = Some(first.clone());
    assert_eq!(bring(&admin, &[life.clone()]), (0, 0, Some(first.clone())));

    // More partitions and another retention; what somebody else sets stays.
    let of = ConfigOf::Topic(name.into());
    let value = |name: &str| {
        let config = admin.describe_configs(std::slice::from_ref(&of), &[name]).unwrap().remove(0).unwrap();
        config[0].value.clone().unwrap()
    };
    let change = |change| admin.alter_configs(&[(of.clone(), vec![change])]).unwrap().remove(0).unwrap();
    let is = |key: &'static str, expected: &'static str| eventually(key, || value(key) == expected);
    change(ConfigChange::Set("max.message.bytes".into(), "2000000".into()));
    is("max.message.bytes", "2000000");
    life.policy = Policy { partitions: 3, replication: 1, config: map(&[("retention.ms", "7200000")]) };
    assert_eq!(bring(&admin, &[life.clone()]), (2, 0, Some(first.clone())));
    is("retention.ms", "7200000");
    is("max.message.bytes", "2000000");
    eventually("three partitions", || {
        admin.describe_topics(&[name.into()]).unwrap().remove(0).unwrap().partitions == 3
    });

    // What somebody else has changed is a conflict.
    life.applied = applied(&life);
    change(ConfigChange::Set("retention.ms".into(), "1000000".into()));
    is("retention.ms", "1000000");
    assert_eq!(bring(&admin, &[life.clone()]), (0, 1, Some(first.clone())));
    change(ConfigChange::Unset("retention.ms".into()));
    is("retention.ms", "604800000");
    assert_eq!(bring(&admin, &[life.clone()]).0, 1, "nobody has set it now");

    // Only under its id.
    let other = TopicId::from_text("AAAAAAAAAAAAAAAAAAAAAA");
    let delete =
        |id: &TopicId| topics::delete(&admin, &namespace(), &[(name.into(), id.clone())]).unwrap().remove(0).unwrap();
    assert_eq!(delete(&other), Deleted::OtherId(first.clone()));
    assert_eq!(delete(&first), Deleted::Now);
    let is_gone = |found: Result<Topic>| found.is_err_and(|error| error.kind == Kind::NotFound);
    eventually("it is gone", || is_gone(admin.describe_topics(&[name.into()]).unwrap().remove(0)));
    assert_eq!(delete(&first), Deleted::Before);
    let again = bring(&admin, &[Wanted { id: None, ..life.clone() }]).2.expect("an id");
    assert_ne!(again, first);
    assert_eq!(delete(&first), Deleted::OtherId(again), "made anew under the same name");
    assert_eq!(bring(&admin, &[life]), (0, 1, None), "and let alone");
}

#[test]
fn what_is_refused_says_why() {
    let broker = shared();
    let admin = broker.admin();
    let new =
        |name: &str, replication| NewTopic { name: name.into(), partitions: 1, replication, config: BTreeMap::new() };
    let results = admin.create_topics(&[new("logs.why", 1), new("logs.wh/y", 1), new("logs.wide", 9)]).unwrap();
    assert_eq!(results[0], Ok(Created::New));
    assert_eq!(results[1].as_ref().unwrap_err().kind, Kind::Invalid);
    assert_eq!(results[2].as_ref().unwrap_err().kind, Kind::Invalid, "{results:?}");
    assert_eq!(admin.create_topics(&[new("logs.why", 1)]).unwrap(), [Ok(Created::Existed)]);
    let error = topics::delete(&admin, &namespace(), &[("tel.clients".into(), TopicId::from_text("x"))]).unwrap_err();
    assert_eq!(error.kind, Kind::Invalid);

    broker.cert("topics-nobody", "topics-nobody");
    let nobody = Admin::new(&broker.connection("topics-nobody")).unwrap();
    let error = nobody.create_topics(&[new("logs.nobody", 1)]).unwrap().remove(0).unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.text.contains("logs.nobody") && error.text.contains("needs Create"), "{error}");
    let error = nobody.describe_topics(&["logs.why".into()]).unwrap().remove(0).unwrap_err();
    assert!(error.text.contains("needs Describe"), "{error}");
}

#[test]
fn without_a_broker_a_call_ends_at_its_deadline_and_says_why() {
    let nowhere = Connection::new([("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())]).unwrap();
    let mut admin = Admin::new(&nowhere).unwrap();
    admin.set_timeout(Duration::from_secs(1));
    let start = Instant::now();
    let error = admin.describe_topics(&["logs.x".into()]).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.text.contains("127.0.0.1:1"), "{error}");
}

#[test]
fn more_than_one_request_s_worth_is_made_and_found() {
    let admin = shared().admin();
    let many: Vec<Wanted> =
        (0..600).map(|n| wanted(&format!("logs.many-{n}"), 1, &[("retention.ms", "3600000")])).collect();
    let start = Instant::now();
    assert_eq!(bring(&admin, &many).0, 600);
    let made = start.elapsed();
    let found = look_up(&admin, &many);
    println!("600 topics: made in {made:?}, looked at in {:?}", start.elapsed() - made);
    assert!(found.iter().zip(&many).all(|(found, many)| found.as_ref().unwrap().topic.name == many.name));
    assert!(topics::plan(&namespace(), &many, &found).unwrap().steps.is_empty());
}

#[test]
fn it_is_seen_how_far_a_consumer_is_behind() {
    let broker = shared();
    let admin = broker.admin();
    bring(&admin, &[wanted("logs.behind", 1, &[])]);
    broker.probe(&["a", "b", "c"].map(|value| format!("write admin logs.behind {value}")));
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", broker.plain()).set("group.id", "behind:one").create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("logs.behind", 0, Offset::Offset(1)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();

    let all = admin.list_groups().unwrap().names;
    assert_eq!(groups::of_client(&id("behind"), &all).collect::<Vec<_>>(), ["behind:one"]);
    let extents = groups::extents(&admin, "logs.behind", 1).unwrap();
    assert_eq!((extents[&0].start, extents[&0].end), (0, 3));
    let place = groups::place(&admin, "behind:one", "logs.behind", 1).unwrap();
    assert_eq!(place.next, BTreeMap::from([(0, 1)]));
    assert_eq!(place.behind(&extents), 2);
    assert_eq!(groups::place(&admin, "behind:two", "logs.behind", 1).unwrap().behind(&extents), 3);
}

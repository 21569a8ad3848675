//! The client list: one writer, whole changes, and what readers see of it.

use crate::broker::{shared, Broker};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tel_control::error::Kind;
use tel_control::kafka::acks::{self, AckEvent, AckReader};
use tel_control::kafka::admin::{Admin, ConfigOf};
use tel_control::kafka::list::{self, Change, ListState, ListWriter, Listed, Marker};
use tel_control::names::EdgeName;

const PATIENCE: Duration = Duration::from_secs(20);

/// There is one list on a broker.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A list that nobody has written yet.
fn new_list(broker: &Broker) -> (MutexGuard<'static, ()>, Admin) {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let admin = broker.admin();
    if admin.describe_topics(&["tel.clients".into()]).unwrap().remove(0).is_ok() {
        broker.admin_commands("delete-topic tel.clients");
    }
    assert_eq!(list::ensure_topic(&admin, 1).unwrap(), Vec::<String>::new());
    (guard, admin)
}

fn set(id: &str) -> Change {
    Change::Set(Listed { id: id.into(), topic: format!("logs.{id}"), sample: None, max_lines_per_second: None })
}

fn ids(state: &ListState) -> Vec<&str> {
    state.clients.keys().map(String::as_str).collect()
}

/// Writes records as anybody could who has the right to.
fn write(broker: &Broker, topic: &str, records: &[(&str, Option<&str>)]) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.plain()).create().unwrap();
    for (key, value) in records {
        let mut record = BaseRecord::<str, str>::to(topic).key(*key);
        record.payload = *value;
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

#[test]
fn what_is_published_is_read_and_what_is_removed_is_gone() {
    let broker = shared();
    let (_guard, admin) = new_list(broker);
    let connection = broker.connection("admin");
    let read = || list::read_all(&connection, &admin, PATIENCE).unwrap();
    let empty = read();
    assert!(empty.clients.is_empty() && empty.position.offset == 0);

    let mut writer = ListWriter::open(&connection, &admin).unwrap();
    let mut c84 =
        Listed { id: "c84".into(), topic: "logs.c84".into(), sample: Some(0.5), max_lines_per_second: Some(7) };
    let first = writer.publish(&admin, &[set("c83"), Change::Set(c84.clone())]).unwrap();
    let state = read();
    assert_eq!(ids(&state), ["c83", "c84"]);
    assert_eq!(state.clients["c84"], c84);
    assert!(state.position.has(&first) && !empty.position.has(&first), "{state:?} {first:?}");

    c84.sample = None;
    let changes =
        [Change::Set(c84.clone()), Change::Remove("c83".into()), Change::Accept(Marker::of_topic(&first.topic_id, 1))];
    let second = writer.publish(&admin, &changes).unwrap();
    let state = read();
    assert_eq!((ids(&state), &state.clients["c84"]), (vec!["c84"], &c84));
    assert_eq!(state.marker, Some(Marker { accept: first.topic_id.librdkafka_text(), clients: 1 }));
    assert!(state.position.has(&second) && second.has(&first) && !first.has(&second));
    assert_eq!(writer.publish(&admin, &[]).unwrap_err().kind, Kind::Invalid);

    // Records of others that are no clients harm no other.
    write(
        broker,
        "tel.clients",
        &[("bad", Some("nonsense")), ("worse", Some(r#"{"id":"c84","topic":"logs.c84"}"#)), ("!new", Some(""))],
    );
    let state = read();
    assert_eq!(
        (ids(&state), state.bad.keys().map(String::as_str).collect::<Vec<_>>()),
        (vec!["c84"], vec!["bad", "worse"])
    );
}

#[test]
fn there_is_one_writer() {
    let broker = shared();
    let (_guard, admin) = new_list(broker);
    let connection = broker.connection("admin");
    let mut old = ListWriter::open(&connection, &admin).unwrap();
    old.publish(&admin, &[set("a")]).unwrap();
    let mut new = ListWriter::open(&connection, &admin).unwrap();
    for _ in 0..2 {
        let error = old.publish(&admin, &[set("stale"), Change::Remove("a".into())]).unwrap_err();
        assert_eq!(error.kind, Kind::Conflict, "{error}");
    }
    new.publish(&admin, &[set("b")]).unwrap();
    assert_eq!(ids(&list::read_all(&connection, &admin, PATIENCE).unwrap()), ["a", "b"]);
    // The one that was fenced may become it again.
    ListWriter::open(&connection, &admin).unwrap().publish(&admin, &[Change::Remove("a".into())]).unwrap();
    assert_eq!(new.publish(&admin, &[set("c")]).unwrap_err().kind, Kind::Conflict);
    assert_eq!(ids(&list::read_all(&connection, &admin, PATIENCE).unwrap()), ["b"]);
}

#[test]
fn what_a_dead_writer_had_begun_is_not_seen() {
    let broker = shared();
    let (_guard, admin) = new_list(broker);
    let connection = broker.connection("admin");
    ListWriter::open(&connection, &admin).unwrap().publish(&admin, &[set("a")]).unwrap();
    let dying: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.plain())
        .set("transactional.id", "tel-control.list")
        .create()
        .unwrap();
    dying.init_transactions(PATIENCE).unwrap();
    dying.begin_transaction().unwrap();
    dying.send(BaseRecord::<str, str>::to("tel.clients").key("a")).map_err(|(error, _)| error).unwrap();
    dying.flush(PATIENCE).unwrap();
    assert_eq!(ids(&list::read_all(&connection, &admin, PATIENCE).unwrap()), ["a"]);
    let mut writer = ListWriter::open(&connection, &admin).unwrap();
    writer.publish(&admin, &[set("b")]).unwrap();
    assert_eq!(ids(&list::read_all(&connection, &admin, PATIENCE).unwrap()), ["a", "b"]);
}

#[test]
fn a_list_made_anew_is_not_written_to_as_if_it_were_the_old_one() {
    let broker = shared();
    let (guard, admin) = new_list(broker);
    let connection = broker.connection("admin");
    let mut writer = ListWriter::open(&connection, &admin).unwrap();
    let old = writer.publish(&admin, &[set("a")]).unwrap();
    drop(guard);
    let (_guard, admin) = new_list(broker);
    let error = writer.publish(&admin, &[set("b")]).unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
    assert!(error.text.contains("made anew"), "{error}");
    let state = list::read_all(&connection, &admin, PATIENCE).unwrap();
    assert!(state.clients.is_empty() && !state.position.has(&old));
}

#[test]
fn ten_thousand_changes_are_one_transaction() {
    let broker = shared();
    let (_guard, admin) = new_list(broker);
    let connection = broker.connection("admin");
    let changes: Vec<Change> = (0..10_000).map(|n| set(&format!("c{n}"))).collect();
    let mut writer = ListWriter::open(&connection, &admin).unwrap();
    let start = Instant::now();
    let position = writer.publish(&admin, &changes).unwrap();
    let written = start.elapsed();
    let state = list::read_all(&connection, &admin, PATIENCE).unwrap();
    println!("10,000 changes: written in {written:?}, read in {:?}", start.elapsed() - written);
    assert_eq!(state.clients.len(), 10_000);
    assert!(state.position.has(&position));
    // One change is quick.
    let start = Instant::now();
    writer.publish(&admin, &[set("one-more")]).unwrap();
    println!("one change: written in {:?}", start.elapsed());
}

#[test]
fn a_place_that_forgets_is_refused() {
    let broker = shared();
    let (guard, admin) = new_list(broker);
    broker.admin_commands("delete-topic tel.clients\ntopic tel.clients 1 cleanup.policy=delete");
    assert_eq!(list::ensure_topic(&admin, 1).unwrap_err().kind, Kind::Conflict);
    drop(guard);
    let (_guard, admin) = new_list(broker);
    let config = admin
        .describe_configs(&[ConfigOf::Topic("tel.clients".into())], &["delete.retention.ms"])
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(config[0].value.as_deref(), Some("172800000"));
}

#[test]
fn what_edges_say_is_read_once_each_and_nonsense_is_counted() {
    let broker = shared();
    let admin = broker.admin();
    acks::ensure_topic(&admin, 1).unwrap();
    let connection = broker.connection("admin");
    let mut reader = AckReader::open(&connection).unwrap();
    let ack = |edge: &str, offset: i64| {
        format!(
            r#"{{"edge":"{edge}","topic_id":"x","offset":{offset},"rejected":["?"],"clients":{{"c8":{{"delivered":{offset},"dropped":0}}}},
                "at_ms":1,"version":"0.1.0"}}"#
        )
    };
    write(
        broker,
        "tel.acks",
        &[("said-one", Some(&ack("said-one", 1))), ("said-two", Some(&ack("other", 1))), ("said-one", Some("{"))],
    );
    write(broker, "tel.acks", &[("said-one", Some(&ack("said-one", 2)))]);
    acks::retire(&connection, &EdgeName::new("said-one").unwrap()).unwrap();
    // Other tests' edges may be here, too.
    let mut seen = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < 3 {
        assert!(Instant::now() < deadline, "{seen:?}");
        for event in reader.poll(Duration::from_millis(200)).unwrap() {
            match event {
                AckEvent::Said(ack, _) if ack.edge.as_str() == "said-one" => {
                    assert_eq!(ack.clients["c8"].delivered, ack.position.offset as u64);
                    seen.push(ack.position.offset);
                }
                AckEvent::Retired(edge) if edge.as_str() == "said-one" => seen.push(-1),
                _ => {}
            }
        }
    }
    assert_eq!(seen, [1, 2, -1]);
    assert!(reader.bad_records() >= 2);
    while !reader.is_current() {
        assert!(Instant::now() < deadline, "never at the end");
        reader.poll(Duration::from_millis(200)).unwrap();
    }
}

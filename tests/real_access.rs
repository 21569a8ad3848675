//! Who may do what on a real Kafka over mutual TLS: nobody writes or reads what its rules do not give him.

mod common;

use common::account::Account;
use common::client_list;
use common::kafka::{shared, Kafka};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use serde_json::json;
use std::time::{Duration, Instant};
use tel::{Log, Producer};

/// Submits `lines` lines for each client with certificate `cert` and gives what became of them.
fn submit_as(kafka: &Kafka, cert: &str, list: &str, ids: &[&str], lines: u32) -> Account {
    let producer =
        Producer::new(&kafka.config(cert, None, json!({"linger.ms": 20})), Log::stderr()).expect("a producer");
    producer.set_clients(list.as_bytes()).expect("a list");
    for number in 0..lines {
        for id in ids {
            producer.submit(format!("{id} line {number} by {cert}").as_bytes()).expect("accepted");
        }
    }
    producer.flush(Some(Duration::from_secs(60))).expect("every line comes to its end");
    let account = Account::read(&producer);
    account.assert_exact();
    account
}

#[test]
fn the_edge_writes_only_where_the_rules_let_it_and_other_clients_do_not_suffer() {
    let kafka = shared();
    kafka.admin("topic logs.allowed1\ntopic logs.allowed2\ntopic other.forbidden");
    let list = r#"{"clients": [{"id": "allowed1", "topic": "logs.allowed1"}, {"id": "allowed2", "topic": "logs.allowed2"},
        {"id": "forbidden", "topic": "other.forbidden"}]}"#;
    let account = submit_as(&kafka, "edge", list, &["allowed1", "forbidden", "allowed2"], 500);
    assert_eq!(account.client("forbidden", "failed"), 500);
    assert_eq!(account.client("forbidden", "delivered"), 0);
    for id in ["allowed1", "allowed2"] {
        assert_eq!((account.client(id, "delivered"), account.client(id, "failed")), (500, 0), "{id}");
        let mut next = 0;
        let read = kafka.read("admin", [format!("logs.{id}").as_str()], |record| {
            assert_eq!(record.value, format!("line {next} by edge").as_bytes());
            next += 1;
        });
        assert_eq!(read, Ok(500));
    }
    assert_eq!(kafka.read("admin", ["other.forbidden"], |_| ()), Ok(0));
}

#[test]
fn a_client_s_certificate_reads_only_its_own_topic_and_writes_nothing() {
    let kafka = shared();
    kafka.cert("mine", "mine:1");
    kafka.cert("theirs", "theirs:1");
    kafka.admin(
        "topic logs.mine\ntopic logs.theirs\n\
         acl mine:1 READ topic logs.mine literal\nacl mine:1 READ group mine: prefixed\n\
         acl theirs:1 READ topic logs.theirs literal\nacl theirs:1 READ group theirs: prefixed",
    );
    let list = client_list(1, "logs.", ["mine", "theirs"]);
    assert_eq!(submit_as(&kafka, "edge", &list, &["mine", "theirs"], 10).total("delivered"), 20);

    assert_eq!(kafka.read("mine", ["logs.mine"], |_| ()), Ok(10));
    assert_eq!(kafka.read("theirs", ["logs.theirs"], |_| ()), Ok(10));
    for (cert, topic) in [("theirs", "logs.mine"), ("mine", "logs.theirs")] {
        let refused = kafka.read(cert, [topic], |_| ()).expect_err("refused");
        assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::TopicAuthorizationFailed), "{cert}: {refused}");
    }
    // The edge may look at a topic, as whoever writes must, but has no consumer group to read it in.
    let refused = kafka.read("edge", ["logs.mine"], |_| ()).expect_err("refused");
    let codes = [RDKafkaErrorCode::GroupAuthorizationFailed, RDKafkaErrorCode::TopicAuthorizationFailed];
    assert!(refused.rdkafka_error_code().is_some_and(|code| codes.contains(&code)), "edge: {refused}");

    // In a consumer group of its own it gets its lines, in another's not even to know of them.
    let subscribed = |cert: &str, group: &str| {
        let consumer = kafka.consumer(cert, group);
        consumer.subscribe(&["logs.mine"]).expect("subscribed");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            assert!(Instant::now() < deadline, "{cert} in group {group}: neither lines nor a refusal");
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(_)) => return None,
                Some(Err(error)) => return Some(error.rdkafka_error_code()),
            }
        }
    };
    assert_eq!(subscribed("mine", "mine:any"), None);
    assert_eq!(subscribed("theirs", "mine:any"), Some(Some(RDKafkaErrorCode::GroupAuthorizationFailed)));
    assert_eq!(subscribed("theirs", "theirs:any"), Some(Some(RDKafkaErrorCode::TopicAuthorizationFailed)));

    // It has no right to write anywhere: an error that may pass, for which lines wait as for a broker.
    let producer =
        Producer::new(&kafka.config("mine", None, json!({"linger.ms": 20})), Log::stderr()).expect("a producer");
    producer.set_clients(list.as_bytes()).expect("a list");
    for id in ["mine", "theirs"] {
        producer.submit_for(id.as_bytes(), b"a client's own line").expect("accepted");
    }
    common::wait_until("a word on it", Duration::from_secs(30), || {
        Account::read(&producer).0["kafka_trouble"]
            .as_str()
            .is_some_and(|text| text.contains("ClusterAuthorizationFailed"))
    });
    let _ = producer.close(Some(Duration::from_secs(1)));
    let account = Account::read(&producer);
    account.assert_exact();
    assert_eq!((account.total("delivered"), account.total("failed")), (0, 2));
    assert_eq!(kafka.read("admin", ["logs.mine", "logs.theirs"], |_| ()), Ok(20));
}

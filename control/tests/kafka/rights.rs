//! Rights: exactly the contract's, and what they come to.

use crate::broker::{shared, Broker};
use crate::{eventually, id, namespace};
use std::collections::BTreeMap;
use std::time::Instant;
use tel_control::error::Kind;
use tel_control::kafka::acks;
use tel_control::kafka::acls::{self, ClientAccess, EdgeAccess};
use tel_control::kafka::admin::{Acl, AclFilter, Admin, NewTopic, Operation, Pattern, ResourceType};
use tel_control::kafka::quotas::{self, Limit, QuotaChange};
use tel_control::names::EdgeName;

fn client(name: &str, live: &[u32], ended: &[u32]) -> ClientAccess {
    ClientAccess { id: id(name), live: live.to_vec(), ended: ended.to_vec() }
}

fn edge(name: &str, live: bool) -> EdgeAccess {
    EdgeAccess { name: EdgeName::new(name).unwrap(), live }
}

/// Compares and does, once; how many rights were made, deleted and strange.
fn bring(admin: &Admin, clients: &[ClientAccess], edges: &[EdgeAccess]) -> (usize, usize, usize) {
    let found = acls::look_up(admin, clients, edges).expect("what there is");
    let plan = acls::plan(&namespace(), clients, edges, &found);
    let failed = acls::apply_each(admin, &plan).expect("an answer");
    assert!(failed.is_empty(), "{failed:?}");
    (plan.create.len(), plan.delete.len(), plan.strange.len())
}

fn await_rights(admin: &Admin, principal: &str, count: usize) {
    eventually(&format!("{count} rights of {principal}"), || rights_of(admin, principal).len() == count);
}

fn rights_of(admin: &Admin, principal: &str) -> Vec<String> {
    let mut found: Vec<String> =
        admin.describe_acls(&AclFilter::of(principal)).expect("what there is").iter().map(Acl::to_string).collect();
    found.sort();
    found
}

fn topics(admin: &Admin, names: &[&str]) {
    let new = |name: &&str| NewTopic { name: (*name).into(), partitions: 1, replication: 1, config: BTreeMap::new() };
    for made in admin.create_topics(&names.iter().map(new).collect::<Vec<_>>()).expect("topics") {
        made.expect("a topic");
    }
}

/// The answers to the attempts, whose expected beginnings are beside them.
fn expect(broker: &Broker, table: &[(String, &str)]) {
    let answers = broker.probe(&table.iter().map(|(attempt, _)| attempt.clone()).collect::<Vec<_>>());
    assert_eq!(answers.len(), table.len());
    let wrong: Vec<String> = table
        .iter()
        .zip(&answers)
        .filter(|((_, expected), answer)| !answer.starts_with(expected))
        .map(|((attempt, expected), answer)| format!("{attempt}: {answer}, not {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rights_are_exactly_the_contract_s_and_of_no_one_else() {
    let admin = shared().admin();
    let foreign = [
        Acl::allow("User:CN=alice", Operation::Read, ResourceType::Topic, Pattern::Prefixed, "logs."),
        Acl::allow("User:CN=x1", Operation::Read, ResourceType::Topic, Pattern::Literal, "logs.x1"),
        Acl::allow("User:CN=x1:1,OU=other", Operation::Read, ResourceType::Topic, Pattern::Literal, "logs.x1"),
        Acl::allow("User:CN=x1:7", Operation::Read, ResourceType::Topic, Pattern::Literal, "logs.x1"),
        Acl::allow("User:CN=x10:1", Operation::Read, ResourceType::Topic, Pattern::Literal, "logs.x10"),
    ];
    admin.create_acls(&foreign).unwrap().into_iter().for_each(|made| made.unwrap());
    foreign.iter().for_each(|acl| await_rights(&admin, &acl.principal, 1));
    let others = || foreign.iter().map(|acl| rights_of(&admin, &acl.principal)).collect::<Vec<_>>();
    let before = others();

    let both = [client("x1", &[1, 2], &[])];
    assert_eq!(bring(&admin, &both, &[edge("x1", true)]), (7, 0, 0));
    for (principal, count) in [("User:CN=x1:1", 2), ("User:CN=x1:2", 2), ("User:CN=edge:x1", 3)] {
        await_rights(&admin, principal, count);
    }
    assert_eq!(
        rights_of(&admin, "User:CN=x1:1"),
        ["User:CN=x1:1: Allow Read on Group Prefixed x1:", "User:CN=x1:1: Allow Read on Topic Literal logs.x1"]
    );
    assert_eq!(
        rights_of(&admin, "User:CN=edge:x1"),
        [
            "User:CN=edge:x1: Allow Read on Topic Literal tel.clients",
            "User:CN=edge:x1: Allow Write on Topic Literal tel.acks",
            "User:CN=edge:x1: Allow Write on Topic Prefixed logs."
        ]
    );
    assert_eq!(bring(&admin, &both, &[edge("x1", true)]), (0, 0, 0), "the same again");

    // What somebody gave one of ours stays while it lives, and goes with it.
    let more = Acl::allow("User:CN=x1:1", Operation::Read, ResourceType::Topic, Pattern::Literal, "reports");
    admin.create_acls(&[more]).unwrap().remove(0).unwrap();
    await_rights(&admin, "User:CN=x1:1", 3);
    assert_eq!(bring(&admin, &both, &[]), (0, 0, 1));
    assert_eq!(bring(&admin, &[client("x1", &[2], &[1])], &[edge("x1", false)]), (0, 3 + 3, 0));
    await_rights(&admin, "User:CN=x1:1", 0);
    await_rights(&admin, "User:CN=edge:x1", 0);
    assert_eq!(rights_of(&admin, "User:CN=x1:2").len(), 2);
    assert_eq!(before, others());
}

#[test]
fn a_certificate_can_do_what_is_its_own_and_nothing_else() {
    let broker = shared();
    let admin = broker.admin();
    topics(&admin, &["logs.c8", "logs.c83", "logs.c8_x", "logs.c8-2", "logs.admin", "tel.clients.x", "reports"]);
    acks::ensure_topic(&admin, 1).unwrap();
    for (cert, subject) in [("c8", "c8:1"), ("c83", "c83:1"), ("edge-a", "edge:a"), ("c83-2", "c83:2")] {
        broker.cert(cert, subject);
    }
    let clients = ["c8", "c83", "c8_x", "c8-2", "admin", "tel.clients"].map(|id| client(id, &[1], &[]));
    bring(&admin, &clients, &[edge("a", true)]);
    // Rights are the controller's at once, and the broker's, which answers here and below, when it has heard of them.
    for (principal, count) in [("User:CN=c8:1", 2), ("User:CN=c83:1", 2), ("User:CN=edge:a", 3)] {
        await_rights(&admin, principal, count);
    }

    const READ: &str = "read c";
    const TOPIC: &str = "refused TopicAuthorizationException";
    const GROUP: &str = "refused GroupAuthorizationException";
    let mut table: Vec<(String, &str)> = Vec::new();
    let mut attempt = |text: &str, answer| table.push((text.to_owned(), answer));
    attempt("write edge-a logs.c83 c83s", "written");
    attempt("write edge-a logs.c8 c8s", "written");
    attempt("read c83 logs.c83 c83:x", READ);
    attempt("read c83 logs.c83 c83:", READ);
    attempt("read c8 logs.c8 c8:x", READ);
    for group in ["c83", "c8:x", "c8_x:x", "c8-2:x", "c83_x", "x:c83:x", "admin", "edge:a", "tel-control"] {
        attempt(&format!("read c83 logs.c83 {group}"), GROUP);
    }
    attempt("read c8 logs.c8 c83:x", GROUP);
    for topic in
        ["logs.c8", "logs.c8_x", "logs.c8-2", "logs.admin", "tel.acks", "tel.clients.x", "reports", "logs.none"]
    {
        attempt(&format!("read c83 {topic} c83:x"), TOPIC);
    }
    attempt("read c8 logs.c83 c8:x", TOPIC);
    for topic in ["logs.c83", "logs.c8", "tel.acks", "reports", "logs.none"] {
        attempt(&format!("write c83 {topic} x"), TOPIC);
    }
    // The edge writes its clients' lines and its acknowledgements, and nothing more.
    attempt("write edge-a tel.clients.x x", TOPIC);
    attempt("write edge-a reports x", TOPIC);
    attempt("read edge-a logs.c83 edge:a", GROUP);
    attempt("read edge-a logs.c83 c83:x", GROUP);
    // A generation that was not given anything, and nobody.
    attempt("read c83-2 logs.c83 c83:x", "refused");
    attempt("read - logs.c83 c83:x", "refused");
    expect(broker, &table);
    // A compacted topic takes keys alone.
    acks::retire(&broker.connection("edge-a"), &EdgeName::new("a").unwrap()).unwrap();
    let error = acks::retire(&broker.connection("c83"), &EdgeName::new("a").unwrap()).unwrap_err();
    assert!(error.text.contains("needs Write on tel.acks"), "{error}");

    assert_eq!(bring(&admin, &[client("c83", &[], &[1])], &[]), (0, 2, 0));
    await_rights(&admin, "User:CN=c83:1", 0);
    let table = [("read c83 logs.c83 c83:x".to_owned(), "refused"), ("read c8 logs.c8 c8:x".to_owned(), READ)];
    expect(broker, &table);
}

#[test]
fn who_may_not_look_is_not_told_that_there_is_nothing() {
    let broker = shared();
    broker.cert("rights-nobody", "rights-nobody");
    let nobody = Admin::new(&broker.connection("rights-nobody")).unwrap();
    let error = nobody.describe_acls(&AclFilter::default()).unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.text.contains("needs Describe on the cluster"), "{error}");
    let acl = Acl::allow("User:CN=y:1", Operation::Read, ResourceType::Topic, Pattern::Literal, "logs.y");
    let error = nobody.create_acls(&[acl]).unwrap().remove(0).unwrap_err();
    assert!(error.text.contains("needs Alter on the cluster"), "{error}");
    let error = nobody.delete_acls(&[AclFilter::of("User:CN=y:1")]).unwrap().remove(0).unwrap_err();
    assert!(error.text.contains("needs Alter on the cluster"), "{error}");
}

#[test]
fn a_thousand_clients_get_their_rights_in_a_few_requests() {
    let admin = shared().admin();
    let clients: Vec<ClientAccess> = (0..1000).map(|n| client(&format!("thousand-{n}"), &[1, 2], &[])).collect();
    let start = Instant::now();
    assert_eq!(bring(&admin, &clients, &[]), (4000, 0, 0));
    let made = start.elapsed();
    // Each request is made after the one before, so that the last one's rights are the last to be heard of.
    await_rights(&admin, &clients.iter().map(|client| client.id.principal(2)).max().unwrap(), 2);
    let start = Instant::now();
    assert_eq!(bring(&admin, &clients, &[]), (0, 0, 0));
    println!("4,000 rights: made in {made:?}, compared in {:?}", start.elapsed());
    let ended: Vec<ClientAccess> = (0..1000).map(|n| client(&format!("thousand-{n}"), &[2], &[1])).collect();
    assert_eq!(bring(&admin, &ended, &[]), (0, 2000, 0));
}

#[test]
fn quotas_are_of_one_principal_and_leave_the_others() {
    let broker = shared();
    for connection in [broker.connection("admin"), broker.plain_connection()] {
        let change = |principal: &str, limit, bytes_per_second| QuotaChange {
            principal: principal.into(),
            limit,
            bytes_per_second,
        };
        let one = "User:CN=quota:1";
        let changes = [
            change(one, Limit::ConsumerBytes, Some(1e6)),
            change(one, Limit::ProducerBytes, Some(5e5)),
            change("User:CN=quota:2", Limit::ConsumerBytes, Some(2e6)),
        ];
        quotas::alter(&connection, &changes).unwrap().into_iter().for_each(|done| done.unwrap());
        let of = |principal: &str| quotas::describe(&connection).unwrap().remove(principal).unwrap_or_default();
        let both = BTreeMap::from([(Limit::ConsumerBytes, 1e6), (Limit::ProducerBytes, 5e5)]);
        eventually("both limits", || of(one) == both);
        eventually("its limit", || of("User:CN=quota:2") == BTreeMap::from([(Limit::ConsumerBytes, 2e6)]));
        let lift = [change(one, Limit::ConsumerBytes, None), change("User:CN=quota:2", Limit::ConsumerBytes, None)];
        quotas::alter(&connection, &lift).unwrap().into_iter().for_each(|done| done.unwrap());
        eventually("one limit", || of(one) == BTreeMap::from([(Limit::ProducerBytes, 5e5)]));
        eventually("no limit", || of("User:CN=quota:2").is_empty());
    }
    broker.cert("quota-nobody", "quota-nobody");
    let error = quotas::describe(&broker.connection("quota-nobody")).unwrap_err();
    assert!(error.kind == Kind::Unavailable && error.text.contains("needs DescribeConfigs"), "{error}");
}

//! What the reconciler does and sees: steps, edges, usage, the marker.

use crate::database::{Database, NOW};
use crate::{added, audited, edge, id, on_both, operator};
use std::collections::BTreeMap;
use tel_control::error::Kind;
use tel_control::names::ClientId;
use tel_control::store::{
    day_of, Ack, Actor, ClientSettings, ClientState, Continuity, DayUsage, Lines, Outcome, Position, Recovery, Removal,
    Removals, Step, StepState, Store,
};

on_both!(
    steps_are_due_done_and_begun_anew,
    an_outcome_for_what_changed_meanwhile_does_not_count,
    edges_count_while_they_are_heard_of,
    volume_is_added_once,
    every_client_is_counted_in_one_state,
    a_restored_or_other_database_is_noticed,
    removals_are_counted_until_an_operator_accepts_them,
    changes_come_one_after_the_other,
);

const SECOND: i64 = 1000;

async fn outcome(store: &Store, id: &ClientId, step: Step, state: StepState, detail: &str, next_try: i64) -> Outcome {
    let revision = store.client(id).await.unwrap().unwrap().revision;
    Outcome { id: id.clone(), revision, step, state, detail: detail.to_owned(), next_try }
}

async fn steps_are_due_done_and_begun_anew(database: &Database) {
    let store = database.open().await;
    let reconciler = Actor::reconciler();
    let (c8, c83) = (added(&store, "c8").await, added(&store, "c83").await);
    assert_eq!(store.due(NOW - 1, 10).await.unwrap(), []);
    assert_eq!(store.due(NOW, 10).await.unwrap(), [c8.clone(), c83.clone()]);

    let mut all = Vec::new();
    for step in Step::WANTED {
        all.push(outcome(&store, &c8, *step, StepState::Done, "", NOW).await);
    }
    all.push(outcome(&store, &c83, Step::Topic, StepState::Failed, "no\0broker", NOW + SECOND).await);
    for step in &Step::WANTED[1..] {
        all.push(outcome(&store, &c83, *step, StepState::Pending, "waits for topic", NOW + SECOND).await);
    }
    assert_eq!(store.set_steps(&reconciler, &all, NOW).await.unwrap(), [true; 10]);
    assert_eq!(store.due(NOW, 10).await.unwrap(), []);
    assert_eq!(store.next_due(NOW).await.unwrap(), Some(NOW + SECOND));
    assert_eq!(store.due(NOW + SECOND, 10).await.unwrap(), std::slice::from_ref(&c83));
    assert_eq!(store.failing(None, 10).await.unwrap(), std::slice::from_ref(&c83));
    assert_eq!(store.failing(Some(&c83), 10).await.unwrap(), []);
    assert_eq!(store.count_clients().await.unwrap().failing, 1);

    let mut steps = store.steps_of(&[c8.clone(), c83.clone(), id("none")]).await.unwrap();
    let wanted = tel_control::store::Desired::Wanted;
    assert_eq!(ClientState::of(wanted, &steps[&c8]), ClientState::Active);
    assert_eq!(ClientState::of(wanted, &steps[&c83]), ClientState::Failing);
    assert_eq!(steps.remove(&c83).unwrap(), store.steps(&c83).await.unwrap());

    // The same failure again is counted, and noted once.
    for n in 1..4 {
        let again = outcome(&store, &c83, Step::Topic, StepState::Failed, "no\0broker", NOW + n * SECOND).await;
        store.set_steps(&reconciler, &[again], NOW + n).await.unwrap();
    }
    let row = &store.steps(&c83).await.unwrap()[0];
    assert_eq!((row.attempts, row.next_try, row.changed_at), (4, NOW + 3 * SECOND, NOW));
    assert_eq!(row.detail, "no\u{fffd}broker");
    assert_eq!(audited(&store, "client:c83").await, ["client.add", "step"]);
    assert_eq!(audited(&store, "client:c8").await.len(), 1 + Step::WANTED.len());

    store.restart_steps(&operator(), &c8, &[Step::Topic, Step::AclsRemoved], "drift", NOW + 9).await.unwrap();
    assert_eq!(store.due(NOW + 9, 10).await.unwrap(), std::slice::from_ref(&c8));
    assert_eq!(ClientState::of(wanted, &store.steps(&c8).await.unwrap()), ClientState::Pending);
}

async fn an_outcome_for_what_changed_meanwhile_does_not_count(database: &Database) {
    let store = database.open().await;
    let c83 = added(&store, "c83").await;
    let old = outcome(&store, &c83, Step::Topic, StepState::Done, "", NOW).await;
    let settings = ClientSettings { partitions: Some(2), ..Default::default() };
    store.change_settings(&operator(), &c83, &settings, None, NOW).await.unwrap();
    assert_eq!(store.set_steps(&Actor::reconciler(), std::slice::from_ref(&old), NOW).await.unwrap(), [false]);
    assert_eq!(store.steps(&c83).await.unwrap()[0].state, StepState::Pending);
    let new = outcome(&store, &c83, Step::Topic, StepState::Done, "", NOW).await;
    let gone = Outcome { id: id("none"), ..new.clone() };
    let not_its = Outcome { step: Step::Unlisted, ..new.clone() };
    assert_eq!(store.set_steps(&Actor::reconciler(), &[gone, new, not_its], NOW).await.unwrap(), [false, true, false]);

    let place = Position { topic_id: "L".into(), offset: 7 };
    store.set_listed(&[(c83.clone(), place.clone())], NOW).await.unwrap();
    assert_eq!(store.client(&c83).await.unwrap().unwrap().listed, Some(place));
}

fn ack(name: &str, read: i64, applied: i64, at: i64) -> Ack {
    Ack {
        edge: edge(name),
        read_at: Position { topic_id: "acks".into(), offset: read },
        applied: Some(Position { topic_id: "list".into(), offset: applied }),
        rejected: Vec::new(),
        refused: String::new(),
        at,
        started_at: 0,
        lines: BTreeMap::new(),
    }
}

async fn edges_count_while_they_are_heard_of(database: &Database) {
    let store = database.open().await;
    assert!(store.add_edge(&operator(), &edge("e1"), NOW).await.unwrap());
    assert!(!store.add_edge(&operator(), &edge("e1"), NOW).await.unwrap());
    let list = |offset| Position { topic_id: "list".into(), offset };
    let current = async |listed: &Position, at| {
        let heard = store.edges_heard(at, 30 * SECOND).await.unwrap();
        (heard.whole(Some(listed)), heard.edges().len())
    };
    assert_eq!(current(&list(0), NOW).await, (0, 0));

    assert!(store.record_ack(&ack("e1", 1, 5, NOW)).await.unwrap());
    assert!(store.record_ack(&ack("e2", 2, 9, NOW + SECOND)).await.unwrap());
    assert_eq!(current(&list(5), NOW + SECOND).await, (2, 2));
    assert_eq!(current(&list(6), NOW + SECOND).await, (1, 2));
    let recreated = Position { topic_id: "list2".into(), offset: 0 };
    assert_eq!(current(&recreated, NOW + SECOND).await, (0, 2));
    assert_eq!(store.edges_heard(NOW + SECOND, 30 * SECOND).await.unwrap().whole(None), 2, "nothing is listed");
    // Half a minute later e1 is not heard of any more.
    assert_eq!(current(&list(5), NOW + 31 * SECOND).await, (1, 1));

    // Read again, or an older one: nothing.
    assert!(!store.record_ack(&ack("e2", 2, 3, NOW + 2 * SECOND)).await.unwrap());
    assert!(!store.record_ack(&ack("e2", 1, 3, NOW + 2 * SECOND)).await.unwrap());
    let mut rejecting = ack("e2", 3, 9, NOW + 3 * SECOND);
    rejecting.rejected = vec!["c83".into()];
    rejecting.refused = "no more than\0half of it".into();
    assert!(store.record_ack(&rejecting).await.unwrap());
    assert_eq!(store.edges().await.unwrap()[1].refused, "no more than\u{fffd}half of it");
    let heard = store.edges_heard(NOW + 3 * SECOND, 30 * SECOND).await.unwrap();
    assert_eq!(heard.current(&list(5), &id("c83")), (1, 2));
    assert_eq!(heard.current(&list(5), &id("c8")), (2, 2));

    assert_eq!(store.certify_edge(&operator(), &edge("e2"), "aa", NOW + 99, NOW).await.unwrap(), 1);
    assert_eq!(store.certify_edge(&operator(), &edge("e2"), "bb", NOW + 99, NOW).await.unwrap(), 2);
    assert!(store.retire_edge(&operator(), &edge("e2"), NOW).await.unwrap());
    assert!(!store.retire_edge(&operator(), &edge("e2"), NOW).await.unwrap());
    assert_eq!(store.certify_edge(&operator(), &edge("e2"), "cc", NOW, NOW).await.unwrap_err().kind, Kind::Conflict);
    assert!(store.record_ack(&ack("e2", 4, 9, NOW + 4 * SECOND)).await.unwrap());
    assert_eq!(current(&list(5), NOW + 4 * SECOND).await, (1, 1));
    let edges = store.edges().await.unwrap();
    assert_eq!((edges.len(), edges[1].generation, edges[1].fingerprint.as_deref()), (2, 2, Some("bb")));
    assert_eq!((edges[1].rejected.len(), edges[1].refused.as_str()), (0, ""), "as it said last");
    assert!(store.add_edge(&operator(), &edge("e2"), NOW).await.unwrap());
    assert_eq!(current(&list(5), NOW + 4 * SECOND).await, (2, 2));
    let log = ["edge.add", "edge.certify", "edge.certify", "edge.retire", "edge.back"];
    assert_eq!(audited(&store, "edge:e2").await, log);
}

fn lines(of: &[(&str, u64, u64)]) -> BTreeMap<String, Lines> {
    of.iter()
        .map(|(id, delivered, dropped)| ((*id).to_owned(), Lines { delivered: *delivered, dropped: *dropped }))
        .collect()
}

async fn volume_is_added_once(database: &Database) {
    let store = database.open().await;
    let (c8, c83) = (added(&store, "c8").await, added(&store, "c83").await);
    let today = day_of(NOW);
    let tomorrow = NOW + 86_400_000;
    let said =
        |read, at, started_at, of: &[(&str, u64, u64)]| Ack { started_at, lines: lines(of), ..ack("e1", read, 0, at) };
    for (ack, counts) in [
        (said(1, NOW, 1, &[("c8", 10, 1), ("c83", 5, 0), ("unknown", 9, 9), ("bad id", 1, 1)]), true),
        (said(1, NOW, 1, &[("c8", 10, 1)]), false),
        (said(2, NOW, 1, &[("c8", 15, 1), ("c83", 5, 0)]), true),
        // It says that it began anew, and has already counted beyond what it had.
        (said(3, NOW, 2, &[("c8", 20, 0)]), true),
        (said(4, NOW, 2, &[("c8", 21, 0), ("c83", 3, 0)]), true),
        // It does not say so, and counts less.
        (said(5, tomorrow, 2, &[("c8", 1, 1), ("c83", 3, 0)]), true),
    ] {
        assert_eq!(store.record_ack(&ack).await.unwrap(), counts);
    }
    let other = Ack { lines: lines(&[("c83", 100, 0)]), ..ack("e2", 6, 0, NOW) };
    assert!(store.record_ack(&other).await.unwrap());

    let of = |delivered, dropped| Lines { delivered, dropped };
    let first = DayUsage { day: today, lines: of(36, 1) };
    let second = DayUsage { day: today + 1, lines: of(1, 1) };
    assert_eq!(store.usage_by_day(&c8, today, today + 1).await.unwrap(), [first, second]);
    assert_eq!(store.usage_by_day(&c83, today, today + 1).await.unwrap(), [DayUsage { day: today, lines: of(108, 0) }]);
    let shares = |usage: Vec<tel_control::store::Usage>| usage.into_iter().map(|u| (u.of, u.lines)).collect::<Vec<_>>();
    let by_edge = shares(store.usage_by_edge(&c83, today, today).await.unwrap());
    assert_eq!(by_edge, [("e1".to_owned(), of(8, 0)), ("e2".to_owned(), of(100, 0))]);
    let by_client = shares(store.usage_by_client(today, today + 1).await.unwrap());
    assert_eq!(by_client, [("c8".to_owned(), of(37, 2)), ("c83".to_owned(), of(108, 0))]);

    for _ in 0..2 {
        store.fold_usage(today + 1).await.unwrap();
        assert_eq!(store.usage_by_day(&c8, today, today + 1).await.unwrap(), [first, second]);
        assert_eq!(shares(store.usage_by_edge(&c83, today, today).await.unwrap()), [(String::new(), of(108, 0))]);
    }
    // A late one for a day that is folded.
    assert!(store.record_ack(&said(7, NOW, 2, &[("c8", 2, 1)])).await.unwrap());
    store.fold_usage(today + 1).await.unwrap();
    assert_eq!(store.usage_by_day(&c8, today, today).await.unwrap(), [DayUsage { day: today, lines: of(37, 1) }]);

    // Many, and numbers that cannot be.
    let new: Vec<_> = (0..1000).map(|n| crate::plain(&format!("m{n}"))).collect();
    store.add_clients(&operator(), &new, NOW).await.unwrap();
    let many = (0..1000).map(|n| (format!("m{n}"), of(u64::MAX, n))).collect();
    assert!(store.record_ack(&Ack { lines: many, ..ack("e3", 1, 0, NOW) }).await.unwrap());
    assert_eq!(store.usage_by_client(today, today).await.unwrap().len(), 1002);
}

async fn a_restored_or_other_database_is_noticed(database: &Database) {
    let store = database.open().await;
    let first = store.renew_marker(None, NOW).await.unwrap();
    assert_eq!(store.judge(&first).await.unwrap(), Continuity::Same);
    // Renewed here, and not yet in Kafka: still the same, and not renewed further.
    let second = store.renew_marker(Some(&first), NOW).await.unwrap();
    assert_ne!(first.mark, second.mark);
    assert_eq!(store.judge(&first).await.unwrap(), Continuity::Same);
    assert_eq!(store.renew_marker(Some(&first), NOW).await.unwrap().mark, second.mark);
    let third = store.renew_marker(Some(&second), NOW).await.unwrap();
    assert_eq!(store.judge(&third).await.unwrap(), Continuity::Same);
    // From here on Kafka's copy is of another life: what this database has never seen, or has left behind.
    assert_eq!(store.judge(&first).await.unwrap(), Continuity::Restored);
    assert_eq!(store.renew_marker(Some(&first), NOW).await.unwrap_err().kind, Kind::Conflict);
    let ahead = tel_control::store::Marker { revision: third.revision + 1000, ..third.clone() };
    assert_eq!(store.judge(&ahead).await.unwrap(), Continuity::Restored);
    let other = tel_control::store::Marker { database: "other".into(), mark: "other".into(), ..third };
    assert_eq!(store.judge(&other).await.unwrap(), Continuity::Other);

    store.recover(&operator(), Some(&ahead), &Recovery::default(), NOW).await.unwrap();
    let accepted = store.marker().await.unwrap();
    assert!(accepted.revision > ahead.revision);
    assert_eq!(store.judge(&accepted).await.unwrap(), Continuity::Same);
    // Kafka has the other one until the new one is written there.
    assert_eq!(store.judge(&ahead).await.unwrap(), Continuity::Same);
    assert_eq!(store.renew_marker(Some(&ahead), NOW).await.unwrap().mark, accepted.mark);
    assert_eq!(store.judge(&first).await.unwrap(), Continuity::Other);
    assert_eq!(audited(&store, "database").await, ["database.accept", "database.recover"]);
    let c83 = added(&store, "c83").await;
    assert!(store.client(&c83).await.unwrap().unwrap().revision > accepted.revision);
}

async fn removals_are_counted_until_an_operator_accepts_them(database: &Database) {
    let store = database.open().await;
    let who = Actor::reconciler();
    assert_eq!(store.removals(NOW).await.unwrap(), Removals::default());
    for n in 0..1500 {
        let removal = Removal { removed: 2, of: 5000 - 2 * n };
        store.note_removal(&who, removal, false, NOW + i64::try_from(n).unwrap()).await.unwrap();
    }
    assert_eq!(store.removals(NOW + 1).await.unwrap(), Removals { since: 2998, waits: None });
    assert_eq!(store.removals(NOW + 1500).await.unwrap(), Removals::default());
    let last = Removal { removed: 600, of: 2000 };
    store.note_removal(&who, last, true, NOW + 2000).await.unwrap();
    store.audit(&operator(), "other", "list", serde_json::json!({ "removed": "x" }), NOW + 2001).await.unwrap();
    assert_eq!(store.removals(NOW + 2000).await.unwrap(), Removals { since: 600, waits: Some(last) });
    assert_eq!(store.removals(NOW + 9000).await.unwrap(), Removals { since: 0, waits: Some(last) });
    store.note_list_accepted(&who, 1400, NOW + 2002).await.unwrap();
    assert_eq!(store.removals(NOW).await.unwrap(), Removals::default());
}

async fn changes_come_one_after_the_other(database: &Database) {
    let store = database.open().await;
    let other = database.again(&store).await;
    let c83 = added(&store, "c83").await;
    let mut tasks = Vec::new();
    for n in 0..20u32 {
        let (store, c83) = (if n % 2 == 0 { store.clone() } else { other.clone() }, c83.clone());
        tasks.push(tokio::spawn(async move {
            for m in 0..5 {
                let settings = ClientSettings { partitions: Some(n * 5 + m + 1), ..Default::default() };
                store.change_settings(&operator(), &c83, &settings, None, NOW).await.unwrap();
                let new = plain_edge(n, m);
                store.add_edge(&operator(), &new, NOW).await.unwrap();
                store.record_ack(&Ack { edge: new, ..ack("e", 1, 1, NOW) }).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let rows = store.audit_log(None, None, 1000).await.unwrap();
    assert_eq!(rows.iter().rev().map(|row| row.id).collect::<Vec<_>>(), (1..=201).collect::<Vec<_>>());
    assert_eq!(store.client(&c83).await.unwrap().unwrap().revision, {
        let marker = store.marker().await.unwrap();
        let last = rows.iter().position(|row| row.what == "client.settings").unwrap();
        marker.revision - i64::try_from(last).unwrap()
    });
    assert_eq!(store.edges_heard(NOW, 0).await.unwrap().edges().len(), 100);
}

fn plain_edge(n: u32, m: u32) -> tel_control::names::EdgeName {
    edge(&format!("e{n}-{m}"))
}

async fn every_client_is_counted_in_one_state(database: &Database) {
    let store = database.open().await;
    assert_eq!(store.count_states().await.unwrap().listed, None);
    let (active, failing, _pending) = (added(&store, "a").await, added(&store, "f").await, added(&store, "p").await);
    let leaving = added(&store, "l").await;
    let mut outcomes = vec![outcome(&store, &failing, Step::Acls, StepState::Failed, "no", NOW).await];
    for step in Step::WANTED {
        outcomes.push(outcome(&store, &active, *step, StepState::Done, "", NOW).await);
    }
    store.leave(&operator(), &leaving, NOW, NOW).await.unwrap();
    outcomes.push(outcome(&store, &leaving, Step::Unlisted, StepState::Failed, "no", NOW).await);
    assert!(store.set_steps(&Actor::reconciler(), &outcomes, NOW).await.unwrap().into_iter().all(|applies| applies));
    let at = |offset| Position { topic_id: "t".into(), offset };
    store.set_listed(&[(active.clone(), at(5)), (failing.clone(), at(9))], NOW).await.unwrap();
    store.set_listed(&[(leaving, at(8))], NOW).await.unwrap();

    let counts = store.count_states().await.unwrap();
    assert_eq!((counts.pending, counts.active, counts.failing, counts.leaving), (1, 1, 1, 1));
    assert_eq!(counts.failing_steps, BTreeMap::from([("acls".to_owned(), 1), ("unlisted".to_owned(), 1)]));
    assert_eq!(counts.listed, Some(at(9)));

    // The list's topic was made anew, and has one of them so far.
    let anew = |offset| Position { topic_id: "a".into(), offset };
    store.set_listed(&[(active, anew(2))], NOW).await.unwrap();
    assert_eq!(store.count_states().await.unwrap().listed, Some(anew(2)));
    store.set_listed(&[(failing, anew(3))], NOW).await.unwrap();
    assert_eq!(store.count_states().await.unwrap().listed, Some(anew(3)));
}

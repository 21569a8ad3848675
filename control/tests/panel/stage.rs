//! What the reconciler and the edges would have done, written to the store.

use std::collections::BTreeMap;
use tel_control::app::{now, App};
use tel_control::names::{ClientId, EdgeName};
use tel_control::store::{Ack, Actor, Lines, Outcome, Position, Step, StepState};

/// Notes what came of a step.
pub async fn step(app: &App, id: &ClientId, step: Step, state: StepState, detail: &str) {
    let client = app.store().client(id).await.unwrap().unwrap();
    let outcome = Outcome {
        id: id.clone(),
        revision: client.revision,
        step,
        state,
        detail: detail.to_owned(),
        next_try: now() + 12_500,
    };
    assert_eq!(app.store().set_steps(&Actor::reconciler(), &[outcome], now()).await.unwrap(), [true]);
    app.announce();
}

/// Says that the list has the client, and which step that was.
pub async fn listed(app: &App, id: &ClientId) {
    let position = Position { topic_id: "list".into(), offset: 5 };
    app.store().set_listed(&[(id.clone(), position)], now()).await.unwrap();
    step(app, id, Step::List, StepState::Done, "").await;
}

/// Edges say how far they are: `current` of `known` have the list.
pub async fn edges(app: &App, current: usize, known: usize) {
    for n in 1..=known {
        ack(app, n, if n <= current { 5 } else { 4 }, &[], BTreeMap::new()).await;
    }
    app.announce();
}

/// An edge says where it is, what it could not take, and what it has counted.
pub async fn ack(app: &App, n: usize, applied: i64, rejected: &[&str], lines: BTreeMap<String, Lines>) {
    let ack = said(n, applied, rejected, "", lines);
    assert!(app.store().record_ack(&ack).await.unwrap());
}

/// An edge says that it keeps its list from before, and why.
pub async fn refusal(app: &App, n: usize, why: &str) {
    assert!(app.store().record_ack(&said(n, 4, &[], why, BTreeMap::new())).await.unwrap());
}

fn said(n: usize, applied: i64, rejected: &[&str], refused: &str, lines: BTreeMap<String, Lines>) -> Ack {
    Ack {
        edge: EdgeName::new(&format!("edge-{n}")).unwrap(),
        read_at: Position { topic_id: "acks".into(), offset: now_more_than_before() },
        applied: Some(Position { topic_id: "list".into(), offset: applied }),
        rejected: rejected.iter().map(|id| (*id).to_owned()).collect(),
        refused: refused.to_owned(),
        at: now(),
        started_at: 1,
        lines,
    }
}

/// All that a client needs is done.
pub async fn active(app: &App, id: &ClientId, known: usize) {
    edges(app, known, known).await;
    for of in [Step::Topic, Step::Acls, Step::Quota, Step::Edges] {
        step(app, id, of, StepState::Done, "").await;
    }
    listed(app, id).await;
}

/// Volume of a month, as an edge's counters have grown in it.
pub async fn volume(app: &App, id: &ClientId) {
    let (mut delivered, mut dropped) = (0, 0);
    for day in (0..30).rev() {
        delivered += 40_000 + (day * 7919) % 23_000;
        dropped += if day % 9 == 4 { 700 } else { 0 };
        let ack = Ack {
            edge: EdgeName::new("edge-1").unwrap(),
            read_at: Position { topic_id: "acks".into(), offset: now_more_than_before() },
            applied: Some(Position { topic_id: "list".into(), offset: 5 }),
            rejected: Vec::new(),
            refused: String::new(),
            at: now() - i64::try_from(day).unwrap() * 86_400_000,
            started_at: 1,
            lines: BTreeMap::from([(id.to_string(), Lines { delivered, dropped })]),
        };
        assert!(app.store().record_ack(&ack).await.unwrap());
    }
    app.announce();
}

/// Offsets of `tel.acks` grow.
fn now_more_than_before() -> i64 {
    use std::sync::atomic::{AtomicI64, Ordering};
    static LAST: AtomicI64 = AtomicI64::new(1);
    LAST.fetch_add(1, Ordering::Relaxed)
}

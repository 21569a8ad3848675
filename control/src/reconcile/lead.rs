//! The process that leads: it has the list's writer, and goes round as long as there is something to do.

use super::edges::Seen;
use super::full_pass::{self, Passes};
use super::housekeeping::{self, Housekeeping};
use super::leader::{answers, Leader};
use super::marker::{self, Judged};
use super::work::{self, give_up_due};
use super::{edges, list, pause, removals, rights, topic, Trouble, Work};
use crate::app::{now, App};
use crate::error::{Error, Result};
use crate::kafka::admin::Admin;
use crate::kafka::list::{ensure_topic, read_all, ListState, ListWriter};
use crate::kafka::{acks, PATIENCE};
use crate::log;
use crate::names::ClientId;
use crate::status::Role;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often it is asked whether this process still leads.
const LEAD_ASKED: Duration = Duration::from_secs(3);
/// Something is looked at that often, whether woken or not: another process, which stands by, may have been asked for something.
const TICK: Duration = Duration::from_secs(1);
/// Kafka that is there says so within.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two attempts while Kafka is away: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often an operator's decision is looked for while this process holds.
const HELD: Duration = Duration::from_secs(2);
/// The database's marker is renewed in Kafka at least that often.
const MARKED: Duration = Duration::from_secs(3600);

/// The leader's rounds.
struct Rounds {
    leader: Leader,
    edges_seen: Option<Seen>,
    passes: Passes,
    housekeeping: Housekeeping,
    lead_asked: Instant,
    /// What was due in the round before, and for how many rounds.
    due: (Vec<ClientId>, u32),
}

enum Opened {
    Leads(Box<Rounds>),
    Holds(String),
}

/// Leads until it is to stop, or another process leads.
pub(super) async fn lead(app: &App, stop: &mut watch::Receiver<bool>) {
    let mut wait = FIRST_WAIT;
    let mut probe = None;
    loop {
        if *stop.borrow() {
            return;
        }
        let trouble = match open(app, &mut probe).await {
            Ok(Opened::Leads(mut rounds)) => {
                app.reconciler().kafka(None);
                app.reconciler().database(None);
                app.reconciler().role(Role::Leading, None);
                wait = FIRST_WAIT;
                match rounds.work(stop).await {
                    Ok(()) => return,
                    Err(trouble) => trouble,
                }
            }
            Ok(Opened::Holds(why)) => {
                app.reconciler().kafka(None);
                app.reconciler().role(Role::Holding, Some(&why));
                if let Err(error) = give_up_due(app, &Error::conflict(format!("held: {why}"))).await {
                    app.reconciler().database(Some(&error));
                }
                tokio::select! {
                    () = pause(stop, HELD) => {}
                    () = app.woken() => {}
                }
                if !matches!(app.store().try_lead().await, Ok(true)) {
                    return;
                }
                continue;
            }
            Err(trouble) => trouble,
        };
        match trouble {
            Trouble::Store(error) => app.reconciler().database(Some(&error)),
            Trouble::Kafka(error) => {
                app.reconciler().kafka(Some(&error));
                if let Err(error) = give_up_due(app, &error).await {
                    app.reconciler().database(Some(&error));
                }
            }
        }
        app.announce();
        pause(stop, wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
        if !matches!(app.store().try_lead().await, Ok(true)) {
            return;
        }
    }
}

/// Makes the control topics, looks whether this is the right database, and becomes the list's writer.
async fn open(app: &App, probe: &mut Option<Arc<Admin>>) -> Work<Opened> {
    let probe = match probe {
        Some(probe) => Arc::clone(probe),
        None => {
            let mut admin = Admin::new(app.connection()).map_err(Trouble::Kafka)?;
            admin.set_timeout(ANSWER);
            Arc::clone(probe.insert(Arc::new(admin)))
        }
    };
    answers(app, &probe).await.map_err(Trouble::Kafka)?;
    let replication = topic::replication(app);
    let prepared = app.kafka(move |admin, connection| {
        let wrong = ensure_topic(admin, replication)?;
        acks::ensure_topic(admin, replication)?;
        Ok((wrong, read_all(connection, admin, PATIENCE)?))
    });
    let (wrong, list) = prepared.await.map_err(Trouble::Kafka)?;
    app.reconciler().notice("list's topic", (!wrong.is_empty()).then(|| wrong.join("; ")));
    match marker::judge(app, &list).await? {
        Judged::Sound => {}
        Judged::Restored => {
            let recovered = marker::recover(app, &crate::store::Actor::reconciler(), &list).await?;
            log::warning(format!(
                "reconciler: the database was restored from an older state: {}",
                marker::told(&recovered)
            ));
        }
        Judged::Held(why) => return Ok(Opened::Holds(why)),
    }
    // Only now: a process with the wrong database takes nothing from the one with the right one.
    let opened = app.kafka(move |admin, connection| {
        let writer = ListWriter::open(connection, admin)?;
        Ok((writer, read_all(connection, admin, PATIENCE)?))
    });
    let (writer, list) = opened.await.map_err(Trouble::Kafka)?;
    if !matches!(marker::judge(app, &list).await?, Judged::Sound) {
        return Err(Trouble::Kafka(Error::conflict("another tel-control wrote the client list meanwhile")));
    }
    tell_of_topic(app, &list).await?;
    removals::tell(app).await?;
    app.store().hasten(now()).await?;
    let mut leader = Leader::new(app.clone(), writer, list, probe);
    leader.publish(Vec::new()).await?;
    Ok(Opened::Leads(Box::new(Rounds {
        leader,
        edges_seen: None,
        passes: Passes::new(),
        housekeeping: Housekeeping::new(now()),
        lead_asked: Instant::now(),
        due: (Vec::new(), 0),
    })))
}

/// Says that the list begins anew, if it does: edges do not take it without an operator's word.
async fn tell_of_topic(app: &App, list: &ListState) -> Result<()> {
    let id = list.position.topic_id.as_str();
    let elsewhere = app.store().listed_elsewhere(id).await?;
    let accepted = list.marker.as_ref().is_some_and(|marker| marker.accept == list.position.topic_id.librdkafka_text());
    let text = (elsewhere > 0 && !accepted).then(|| {
        format!(
            "topic {} was made anew: {elsewhere} clients are published again, and edges keep the list that they have until an \
             operator accepts the new one (tel-control list accept)",
            crate::names::LIST_TOPIC
        )
    });
    app.reconciler().notice("list made anew", text);
    Ok(())
}

impl Rounds {
    /// Goes round until it is to stop, or another process leads.
    async fn work(&mut self, stop: &mut watch::Receiver<bool>) -> Work<()> {
        loop {
            if *stop.borrow() {
                return Ok(());
            }
            if self.lead_asked.elapsed() >= LEAD_ASKED {
                if !self.leader.app.store().try_lead().await? {
                    return Ok(());
                }
                self.lead_asked = Instant::now();
            }
            if self.round().await? {
                continue;
            }
            let at = now();
            let due = self
                .leader
                .app
                .store()
                .next_due(at)
                .await?
                .map_or(TICK, |due| Duration::from_millis(u64::try_from(due - at).unwrap_or(0)));
            let pass = self.passes.wait();
            let app = self.leader.app.clone();
            tokio::select! {
                () = pause(stop, due.min(pass).min(TICK)) => {}
                () = app.woken() => {}
            }
        }
    }

    /// Does what there is to do now; whether there is more.
    async fn round(&mut self) -> Work<bool> {
        rights::bring_edges(&mut self.leader).await?;
        let due = self.leader.app.store().due(now(), work::BATCH).await?;
        if !due.is_empty() {
            work::batch(&mut self.leader, &due).await?;
            self.slow_down(&due).await;
        }
        edges::look(&self.leader.app, &mut self.edges_seen).await?;
        if due.len() == work::BATCH {
            return Ok(true);
        }
        // What is asked for comes between two pages of a pass.
        if full_pass::go_on(&mut self.passes, &mut self.leader).await? {
            return Ok(true);
        }
        housekeeping::go_on(&mut self.housekeeping, &self.leader.app).await?;
        if due.is_empty() {
            list::write_accepted(&mut self.leader).await?;
        }
        if self.leader.marker_is_due || self.leader.marked.elapsed() >= MARKED {
            self.leader.publish(Vec::new()).await?;
        }
        Ok(!due.is_empty())
    }

    /// The same clients due in every round: what was said of them does not stay, or they are changed all the time.
    async fn slow_down(&mut self, due: &[ClientId]) {
        const ROUNDS: u32 = 5;
        const PAUSE: Duration = Duration::from_millis(500);
        let rounds = if self.due.0 == due { self.due.1.saturating_add(1) } else { 0 };
        self.due = (due.to_vec(), rounds);
        if rounds > ROUNDS {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

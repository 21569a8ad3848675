//! Follows what edges say of themselves, and notes it: how far each has the list, and how many lines of each client it has counted.
//!
//! All replicas of tel-control may do so at once: the store takes each word once, by its place in the topic.
//!
//! An edge says everything every ten seconds, a client's counters since its start among it. How far it is, is noted at once. Its
//! counters are added to the usage as often as that takes no more than a quarter of the time, for 200 edges with 10,000 clients each
//! every few minutes; they are totals, so that nothing is lost in between. In memory they are 24 bytes for each edge and client: 48 MB
//! for those.

use super::{is_over, rest};
use crate::app::{now, App};
use crate::error::{Error, Result};
use crate::kafka::acks::{AckEvent, AckReader, EdgeAck, SaidAt, Volume};
use crate::kafka::admin::{Admin, TopicId};
use crate::log;
use crate::names::{EdgeName, ACKS_TOPIC};
use crate::onboarding::EDGE_HEARD_WITHIN;
use crate::store::{Ack, Lines, Millis, Position};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Between two attempts to follow the topic.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a question to Kafka may take: it is asked again.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a word of an edge is waited for before it is looked whether all this is to end.
const WAIT: Duration = Duration::from_millis(500);
/// How often it is looked whether the topic was made anew.
const CHECK: Duration = Duration::from_secs(10);
/// Pages look again at most so often for volumes.
const ANNOUNCED: Duration = Duration::from_secs(1);
/// An edge's usage is written at most so often.
const WRITTEN: Duration = Duration::from_secs(8);
/// Writing usage takes at most one part in so many of the time.
const SHARE: u32 = 4;
/// Of which so much can be saved up, for edges that speak all at once.
const SAVED: Duration = Duration::from_secs(2);
/// Edges that are told apart; whoever may write to the topic can make up names.
const MOST_EDGES: usize = 10_000;
/// Characters of why an edge refuses the list: it may say anything.
const LONGEST_REASON: usize = 500;
/// Lines spread over the history go back no further than this: longer ago the edge was not heard of.
const LONGEST_SPREAD: Millis = 3600 * 1000;

/// Follows until `stop` is true.
pub(super) fn follow(app: &App, stop: &watch::Receiver<bool>) {
    let mut edges = Edges { clock: Clock::new(), ..Edges::default() };
    let mut said = String::new();
    // Counters are told apart by client: without the clients, all of them would look new a moment later.
    while !app.seen().volumes().is_ready() && !is_over(stop) {
        rest(Duration::from_millis(20), stop);
    }
    while !is_over(stop) {
        let result = follow_topic(app, stop, &mut edges, &mut said);
        if let Err(error) = result {
            if error.text != said {
                log::warning(format_args!("what edges say cannot be read; it is tried again: {error}"));
                said = error.text;
            }
            rest(AGAIN, stop);
        }
    }
}

fn follow_topic(app: &App, stop: &watch::Receiver<bool>, edges: &mut Edges, said: &mut String) -> Result<()> {
    let mut admin = Admin::new(app.connection())?;
    admin.set_timeout(ANSWER);
    let topic_id = topic_id(&admin)?;
    let mut reader = AckReader::open(app.connection())?;
    let mut checked = Instant::now();
    let mut bad = 0;
    while !is_over(stop) {
        // What was there before is old, whenever it is read.
        let is_live = reader.is_current();
        let events = reader.poll(WAIT)?;
        if reader.is_current() && !std::mem::take(said).is_empty() {
            log::notice("what edges say is read again");
        }
        if reader.bad_records() > bad {
            if bad == 0 {
                log::warning(format_args!("topic {ACKS_TOPIC}: a record is no acknowledgement; such are passed over"));
            }
            bad = reader.bad_records();
        }
        edges.take(app, &topic_id, events, is_live)?;
        if checked.elapsed() >= CHECK {
            checked = Instant::now();
            match self::topic_id(&admin) {
                Ok(id) if id != topic_id => {
                    return Err(Error::unavailable(format!("topic {ACKS_TOPIC} was made anew")))
                }
                // Without Kafka the reader waits as well.
                _ => {}
            }
        }
    }
    Ok(())
}

fn topic_id(admin: &Admin) -> Result<TopicId> {
    let topic = admin.describe_topics(&[ACKS_TOPIC.to_owned()])?.into_iter().next();
    Ok(topic.unwrap_or_else(|| Err(Error::unavailable(format!("topic {ACKS_TOPIC}: no answer"))))?.id)
}

/// What is known of edges.
#[derive(Default)]
struct Edges {
    edges: HashMap<EdgeName, Edge>,
    clock: Clock,
    /// How long writing an edge's usage takes, on average.
    cost: Duration,
    /// What writing usage may take now.
    left: Duration,
    /// As of when.
    saved: Option<Instant>,
    announced: Option<Instant>,
    has_news: bool,
    is_full: bool,
}

/// What an edge said last.
struct Edge {
    since_ms: Millis,
    heard_at: Millis,
    applied: Option<Position>,
    rejected: Vec<String>,
    refused: String,
    /// Its counters by the client's number, in their order.
    counters: Vec<(u32, Lines)>,
    /// Some of them are not in the usage yet.
    is_unwritten: bool,
    written: Instant,
}

impl Edges {
    fn take(&mut self, app: &App, topic: &TopicId, events: Vec<AckEvent>, is_live: bool) -> Result<()> {
        // Of what an edge said several times at once the last counts, and the last before each of its starts.
        let mut last: HashMap<(EdgeName, u64), (EdgeAck, SaidAt)> = HashMap::new();
        for event in events {
            match event {
                AckEvent::Said(ack, at) => {
                    last.insert((ack.edge.clone(), ack.since_ms), (ack, at));
                }
                // Everybody who may write here could retire others so, and retired edges lose their rights: only an operator's word to
                // tel-control itself counts.
                AckEvent::Retired(_) => {}
            }
        }
        let mut last: Vec<(EdgeAck, SaidAt)> = last.into_values().collect();
        last.sort_by_key(|(_, at)| at.offset);
        for (ack, at) in last {
            self.said(app, topic, ack, at, is_live)?;
        }
        if self.has_news && self.announced.is_none_or(|at| at.elapsed() >= ANNOUNCED) {
            self.announced = Some(Instant::now());
            self.has_news = false;
            app.announce();
        }
        Ok(())
    }

    fn said(&mut self, app: &App, topic: &TopicId, ack: EdgeAck, said: SaidAt, is_live: bool) -> Result<()> {
        if !self.edges.contains_key(&ack.edge) && self.edges.len() >= MOST_EDGES {
            if !std::mem::replace(&mut self.is_full, true) {
                log::error(format_args!("topic {ACKS_TOPIC}: more than {MOST_EDGES} edges; others are passed over"));
            }
            return Ok(());
        }
        let heard_at = self.clock.heard(said.taken_ms, is_live, now());
        let since_ms = Millis::try_from(ack.since_ms).unwrap_or(Millis::MAX);
        let EdgeAck { edge: name, position, rejected, refused, clients, .. } = ack;
        let applied = is_id(position.topic_id.as_str())
            .then(|| Position { topic_id: position.topic_id.as_str().to_owned(), offset: position.offset });
        let rejected = shortened(rejected);
        let refused: String = refused.chars().take(LONGEST_REASON).collect();
        let counters = numbered(app, &clients);
        let mut record = Ack {
            edge: name.clone(),
            read_at: Position { topic_id: topic.as_str().to_owned(), offset: said.offset },
            applied: applied.clone(),
            rejected: rejected.clone(),
            refused: refused.clone(),
            at: heard_at,
            started_at: since_ms,
            lines: BTreeMap::new(),
        };
        let count = u32::try_from(self.edges.len()).unwrap_or(u32::MAX);
        let mut is_change = true;
        let mut is_write = false;
        // An edge that is new here was most likely written by the process before this one.
        let (mut is_unwritten, mut written) = (true, Instant::now());
        let last_written = self.edges.get(&name).map(|before| before.written);
        let may_write = last_written.is_some_and(|written| self.may_write(written, count));
        if let Some(before) = self.edges.get(&name) {
            is_change = before.applied != applied || before.rejected != rejected || before.refused != refused;
            written = before.written;
            if before.since_ms != since_ms && before.is_unwritten {
                // It was started anew: what it had counted before is written now, as if it had said that again. What it counts now
                // follows with its next word.
                record.started_at = before.since_ms;
                record.lines = named(app, &before.counters);
                is_write = true;
            } else {
                is_unwritten = before.is_unwritten || before.since_ms != since_ms || before.counters != counters;
                if is_unwritten && may_write {
                    record.lines = lines(clients);
                    is_write = true;
                    is_unwritten = false;
                }
            }
        }
        let begun = Instant::now();
        let is_new = Handle::current().block_on(app.store().record_ack(&record))?;
        if is_write && is_new {
            written = Instant::now();
            self.wrote(begun.elapsed());
        }
        // Another replica has noted this word before, perhaps without the counters.
        is_unwritten |= is_write && !is_new;
        if is_live {
            self.draw(app, &name, heard_at, since_ms, &counters);
        }
        self.has_news |= is_live;
        let edge = Edge { since_ms, heard_at, applied, rejected, refused, counters, is_unwritten, written };
        self.edges.insert(name, edge);
        // Also if another replica was quicker: this one may be the one that reconciles.
        if is_change {
            app.wake();
        }
        Ok(())
    }

    /// Whether the usage of an edge that was last written at `written` may be written now.
    fn may_write(&mut self, written: Instant, edges: u32) -> bool {
        // Of those that wait, those that have waited longest: half the time in which all have their turn.
        let turn = (self.cost * SHARE * edges) / 2;
        if written.elapsed() < WRITTEN.max(turn) {
            return false;
        }
        let now = Instant::now();
        let since = self.saved.map_or(SAVED * SHARE, |saved| now.saturating_duration_since(saved));
        self.left = (self.left + since / SHARE).min(SAVED);
        self.saved = Some(now);
        self.left >= self.cost.min(SAVED)
    }

    fn wrote(&mut self, took: Duration) {
        self.cost = if self.cost.is_zero() { took } else { (self.cost * 7 + took) / 8 };
        self.left = self.left.saturating_sub(took);
    }

    /// Adds what an edge has counted since its last word to the history.
    fn draw(&self, app: &App, name: &EdgeName, at: Millis, since_ms: Millis, counters: &[(u32, Lines)]) {
        let mut volumes = app.seen().volumes();
        volumes.heard(at);
        // Without a word before, it is not known when its lines were.
        let Some(before) = self.edges.get(name) else { return };
        let from = before.heard_at.max(at.saturating_sub(LONGEST_SPREAD)).min(at);
        let mut old = before.counters.iter().peekable();
        for (number, lines) in counters {
            while old.next_if(|(other, _)| other < number).is_some() {}
            let last = old.next_if(|(other, _)| other == number).map(|(_, lines)| *lines).unwrap_or_default();
            let has_shrunk = lines.delivered < last.delivered || lines.dropped < last.dropped;
            let last = if before.since_ms != since_ms || has_shrunk { Lines::default() } else { last };
            let grown = Lines { delivered: lines.delivered - last.delivered, dropped: lines.dropped - last.dropped };
            volumes.add(*number, from, at, grown);
        }
    }
}

/// Whether it may be a topic's id; an edge without a list has none.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Ids as many and as long as they can be: an edge may say anything.
fn shortened(mut ids: Vec<String>) -> Vec<String> {
    const MOST: usize = 1000;
    const LONGEST: usize = 128;
    ids.truncate(MOST);
    for id in &mut ids {
        if id.len() > LONGEST {
            *id = id.chars().take(LONGEST).collect();
        }
    }
    ids
}

/// The counters of known clients, by the client's number. What is not known is nobody's.
fn numbered(app: &App, clients: &BTreeMap<String, Volume>) -> Vec<(u32, Lines)> {
    let mut volumes = app.seen().volumes();
    let mut counters: Vec<(u32, Lines)> = clients
        .iter()
        .filter_map(|(id, volume)| Some((volumes.number(id)?, volume)))
        .map(|(number, volume)| (number, Lines { delivered: volume.delivered, dropped: volume.dropped }))
        .collect();
    counters.sort_unstable_by_key(|(number, _)| *number);
    for (number, lines) in &counters {
        if *lines != Lines::default() {
            volumes.counted(*number);
        }
    }
    counters
}

fn named(app: &App, counters: &[(u32, Lines)]) -> BTreeMap<String, Lines> {
    let volumes = app.seen().volumes();
    counters.iter().filter_map(|(number, lines)| Some((volumes.id(*number)?.to_string(), *lines))).collect()
}

fn lines(clients: BTreeMap<String, Volume>) -> BTreeMap<String, Lines> {
    let lines = |volume: Volume| Lines { delivered: volume.delivered, dropped: volume.dropped };
    clients.into_iter().map(|(id, volume)| (id, lines(volume))).collect()
}

/// When an edge was heard of, by the clock here: that of edges may be wrong, and that of a broker differ.
#[derive(Default)]
struct Clock {
    /// The least that this clock was ahead of the broker's, in this minute and the one before: the difference of the clocks, and
    /// the shortest way of a record.
    ahead: [Option<Millis>; 2],
    began: Millis,
}

impl Clock {
    const MINUTE: Millis = 60_000;

    fn new() -> Clock {
        Clock::default()
    }

    /// `taken_ms` is when the broker took the record, by its clock; `is_live` if it was written since this reader started.
    fn heard(&mut self, taken_ms: Option<Millis>, is_live: bool, now: Millis) -> Millis {
        let Some(taken) = taken_ms else {
            // By whose clock the record's time is, is not known: one that is read now was said now, an old one at some time before.
            let within = Millis::try_from(EDGE_HEARD_WITHIN.as_millis()).unwrap_or(Millis::MAX);
            return if is_live { now } else { now.saturating_sub(within).saturating_sub(1) };
        };
        if is_live {
            if !(0..Clock::MINUTE).contains(&(now - self.began)) {
                self.ahead = [self.ahead[1], None];
                self.began = now;
            }
            let ahead = now.saturating_sub(taken);
            self.ahead[1] = Some(self.ahead[1].map_or(ahead, |least| least.min(ahead)));
        }
        let ahead = self.ahead.into_iter().flatten().min().unwrap_or(0);
        taken.saturating_add(ahead).min(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_700_000_000_000;

    #[test]
    fn old_words_make_no_edge_alive() {
        let mut clock = Clock::new();
        assert_eq!(clock.heard(Some(NOW - 3_600_000), false, NOW), NOW - 3_600_000);
        assert_eq!(clock.heard(Some(NOW + 3_600_000), false, NOW), NOW);
        assert!(clock.heard(None, false, NOW) < NOW - 30_000);
        assert_eq!(clock.heard(None, true, NOW), NOW);
    }

    #[test]
    fn the_broker_s_clock_may_differ_and_what_is_late_is_known_to_be() {
        for skew in [-3_600_000, 0, 3_600_000] {
            let mut clock = Clock::new();
            assert_eq!(clock.heard(Some(NOW + skew), true, NOW), NOW);
            assert_eq!(clock.heard(Some(NOW + skew + 10_000), true, NOW + 10_005), NOW + 10_000);
            // Half a minute without Kafka, then all at once.
            assert_eq!(clock.heard(Some(NOW + skew + 12_000), true, NOW + 42_000), NOW + 12_000);
            assert_eq!(clock.heard(Some(NOW + skew + 41_990), true, NOW + 42_000), NOW + 41_990);
        }
    }

    #[test]
    fn writing_usage_takes_its_share_and_no_more() {
        let mut edges = Edges::default();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        assert!(edges.may_write(long_ago, 200));
        assert!(!edges.may_write(Instant::now(), 1));
        edges.wrote(Duration::from_millis(300));
        // All 200 would take a minute, a quarter of four minutes.
        assert!(!edges.may_write(long_ago, 200));
        // Those that speak at once may take what was saved up, and no more.
        let mut count = 1;
        while edges.may_write(long_ago, 100) {
            edges.wrote(Duration::from_millis(300));
            count += 1;
        }
        assert_eq!(count, 6);
        edges.saved = edges.saved.and_then(|at| at.checked_sub(Duration::from_secs(1)));
        assert!(edges.may_write(long_ago, 100));
    }
}

//! One reading of the topic from its beginning on: what has come, and what is to be done about it. Knows no Kafka.

use super::good::Good;
use super::list::List;
use super::reader::Event;
use std::time::{Duration, Instant};
use tel::{Level, Log};

/// Changes belong together if so little time lies between them.
const QUIET: Duration = Duration::from_millis(40);
/// The first of them waits no longer than this.
const GATHER: Duration = Duration::from_millis(400);
/// How often the topic's id is looked at, if nothing changes: one that was made anew may have grown past the place where
/// the old one was read, and then nothing else tells.
const CHECK: Duration = Duration::from_secs(10);
/// It is asked for again so long after it was not told.
const AGAIN: Duration = Duration::from_secs(1);
/// Without Kafka for so long, removals may have been removed themselves (`delete.retention.ms`).
pub const GAP_MS: u64 = 24 * 3600 * 1000;

/// The look at the topic's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Asked,
    /// It was the same at this time.
    Same(Instant),
    /// It was not told at this time.
    Failed(Instant),
}

/// See the module's text.
pub struct Reading {
    pub list: List,
    /// The topic's, once it is known.
    pub topic_id: Option<String>,
    /// The next record's offset, or less.
    pub next: i64,
    /// The end that was seen at the start, and is to be reached before anything is written.
    end: Option<i64>,
    has_ended: bool,
    /// The first and the last change that were not judged.
    unjudged: Option<(Instant, Instant)>,
    check: Check,
    /// Kafka has said something since it was last looked.
    pub heard: bool,
    /// Why the topic cannot be followed now; empty if it can.
    pub trouble: String,
    /// Records that were no clients.
    pub bad: u64,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Wait,
    /// The topic's id is known now: the reading can begin.
    Begin,
    /// The topic's id is to be asked for.
    Check,
    /// The list is to be judged.
    Judge,
}

impl Reading {
    pub fn new() -> Reading {
        Reading {
            list: List::default(),
            topic_id: None,
            next: 0,
            end: None,
            has_ended: false,
            unjudged: None,
            // Asked for by whoever begins.
            check: Check::Asked,
            heard: false,
            trouble: String::new(),
            bad: 0,
        }
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// Why the topic has to be read anew.
    pub fn take(&mut self, event: Event<'_>, now: Instant, good: &Good, log: &Log) -> Result<(), String> {
        match event {
            Event::Record { offset, key, value } => {
                if let Err(why) = self.list.apply(offset, key, value, good) {
                    self.bad += 1;
                    let why = format_args!("sync: the record {offset} is skipped: {why}");
                    log.say(Level::Warning, "sync record", why);
                }
                self.next = offset + 1;
                self.unjudged = Some((self.unjudged.map_or(now, |(first, _)| first), now));
            }
            Event::End(offset) => {
                self.has_ended = true;
                self.next = self.next.max(offset);
            }
            Event::TopicId(Ok(id)) => {
                let before = self.topic_id.get_or_insert_with(|| id.clone());
                if *before != id {
                    return Err(format!("the topic was made anew, with the id {id}"));
                }
                self.check = Check::Same(now);
            }
            Event::TopicId(Err(why)) => {
                // Of what was never known nothing can be read; the other may pass. That no broker is there says more.
                if self.topic_id.is_none() {
                    return Err(if self.trouble.is_empty() { why } else { std::mem::take(&mut self.trouble) });
                }
                self.check = Check::Failed(now);
                if self.trouble.is_empty() {
                    self.trouble = why;
                }
                return Ok(());
            }
            Event::Lost(why) => return Err(why),
            Event::Unreachable(why) => {
                self.trouble = format!("no broker can be reached: {why}");
                return Ok(());
            }
        }
        self.trouble.clear();
        self.heard = true;
        Ok(())
    }

    /// The reading begins at `low`, and the end is now `high`.
    pub fn begins(&mut self, (low, high): (i64, i64), now: Instant) {
        self.end = Some(high);
        self.next = low;
        // A list without a record is one, too.
        let past = now.checked_sub(GATHER).unwrap_or(now);
        self.unjudged = Some((past, past));
    }

    /// Records are read.
    pub fn has_begun(&self) -> bool {
        self.end.is_some()
    }

    /// The end that was seen at the start is reached.
    pub fn is_at_end(&self) -> bool {
        self.has_ended || self.end.is_some_and(|end| self.next >= end)
    }

    /// All that was read is judged.
    pub fn is_judged(&self) -> bool {
        self.unjudged.is_none() && self.is_at_end()
    }

    /// What was read is judged, or as good as that: it is to be judged at `again` at the latest.
    pub fn judged(&mut self, again: Option<Instant>) {
        self.unjudged = again.map(|again| (again, again));
    }

    /// What is to be done now, and otherwise until when it can wait.
    pub fn step(&mut self, now: Instant) -> (Step, Instant) {
        let far = now + CHECK;
        if self.topic_id.is_some() && self.end.is_none() {
            return (Step::Begin, now);
        }
        let checked = match self.check {
            Check::Asked => return (Step::Wait, far),
            Check::Failed(at) if now < at + AGAIN => return (Step::Wait, at + AGAIN),
            Check::Failed(_) => {
                self.check = Check::Asked;
                return (Step::Check, now);
            }
            Check::Same(checked) => checked,
        };
        if let (true, Some((first, last))) = (self.is_at_end(), self.unjudged) {
            let due = (last + QUIET).min(first + GATHER);
            if now < due {
                return (Step::Wait, due);
            }
            // What is written is of the topic that it began with, as far as that can be known.
            if checked >= last && now - checked <= GATHER {
                return (Step::Judge, now);
            }
        } else if now < checked + CHECK {
            return (Step::Wait, checked + CHECK);
        }
        self.check = Check::Asked;
        (Step::Check, now)
    }
}

/// Whether so much time has gone by since Kafka was last heard of, both since 1970, that the topic must be read anew.
pub fn is_gap(last_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(last_ms) >= GAP_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] = br#"{"id": "a", "topic": "logs.a"}"#;

    struct Bench {
        reading: Reading,
        now: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { reading: Reading::new(), now: Instant::now() + CHECK * 2 }
        }

        fn take(&mut self, event: Event<'_>) -> Result<(), String> {
            self.reading.take(event, self.now, &Good::default(), &Log::new(Box::new(|_, _| {})))
        }

        fn id(&mut self, id: &str) -> Result<(), String> {
            self.take(Event::TopicId(Ok(id.into())))
        }

        fn record(&mut self, offset: i64) {
            self.take(Event::Record { offset, key: b"a", value: Some(RECORD) }).unwrap();
        }

        fn step(&mut self) -> Step {
            self.reading.step(self.now).0
        }

        /// Up to the first judgement of a topic with so many records.
        fn begun(end: i64) -> Bench {
            let mut bench = Bench::new();
            assert_eq!(bench.step(), Step::Wait);
            bench.id("one").unwrap();
            assert_eq!(bench.step(), Step::Begin);
            bench.reading.begins((0, end), bench.now);
            bench
        }

        fn judged(&mut self) {
            self.now += QUIET;
            if self.step() == Step::Check {
                self.id("one").unwrap();
            }
            assert_eq!(self.step(), Step::Judge);
            self.reading.judged(None);
        }
    }

    #[test]
    fn nothing_is_judged_before_the_end_that_was_seen_at_the_start() {
        let mut bench = Bench::begun(3);
        bench.record(0);
        bench.now += Duration::from_secs(5);
        assert_eq!(bench.step(), Step::Wait);
        bench.record(2);
        bench.judged();
        // What a transaction ends with is no record: the end is told.
        let mut bench = Bench::begun(3);
        bench.record(0);
        bench.take(Event::End(3)).unwrap();
        bench.judged();
        assert_eq!(bench.reading.next, 3);
        Bench::begun(0).judged();
    }

    #[test]
    fn a_burst_is_judged_at_once_but_not_for_ever_later() {
        let mut bench = Bench::begun(0);
        bench.judged();
        let start = bench.now;
        let mut offset = 0;
        loop {
            bench.record(offset);
            match bench.step() {
                Step::Wait => {}
                Step::Check => break,
                step => panic!("{step:?}"),
            }
            offset += 1;
            bench.now += QUIET / 2;
        }
        assert!(offset > 5 && bench.now - start <= GATHER + QUIET, "{offset} records");
        assert_eq!(bench.step(), Step::Wait, "for the answer");
        bench.id("one").unwrap();
        assert_eq!(bench.step(), Step::Judge);
    }

    #[test]
    fn another_id_and_a_lost_place_mean_reading_anew() {
        let mut bench = Bench::begun(0);
        bench.judged();
        assert_eq!(bench.step(), Step::Wait);
        bench.now += CHECK;
        assert_eq!(bench.step(), Step::Check, "also if nothing changes");
        assert!(bench.id("two").is_err());
        assert!(bench.take(Event::Lost("gone".into())).is_err());
        assert!(Bench::new().take(Event::TopicId(Err("unknown".into()))).is_err());
        let mut bench = Bench::begun(0);
        bench.take(Event::TopicId(Err("timed out".into()))).unwrap();
        assert_eq!((bench.step(), bench.reading.trouble.as_str()), (Step::Wait, "timed out"));
        bench.now += AGAIN;
        assert_eq!(bench.step(), Step::Check);
        bench.id("one").unwrap();
        assert!(bench.reading.trouble.is_empty());
    }

    #[test]
    fn a_day_is_a_gap() {
        assert!(!is_gap(1000, 1000 + GAP_MS - 1) && is_gap(1000, 1000 + GAP_MS) && !is_gap(2000, 1000));
    }
}

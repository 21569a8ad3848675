//! The thread that follows the list: it reads the topic, has the list judged, writes it, and acknowledges it.

use super::acks::{Acks, Told};
use super::good::{Good, Source};
use super::list::{Origin, Verdict};
use super::reader::{Event, Reader};
use super::reading::{is_gap, Reading, Step};
use super::topic_id::Asker;
use super::view::View;
use super::{unix_ms, Place};
use crate::config::SyncConfig;
use crate::inputs::Backoff;
use crate::wait::Stop;
use rustix::event::{eventfd, EventfdFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tel::{Level, Log};

/// Events read before it is looked at anything else.
const EVENTS: usize = 10_000;
/// How long the brokers may take to say where the topic ends.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two writes there is so many times what the last one took: of a long list each is work for every host, too.
const REST: u32 = 4;
/// That is bounded by this; after a write that has failed it is the whole wait.
const MOST_REST: Duration = Duration::from_secs(5);

/// What the thread has.
pub struct Follower {
    sync: SyncConfig,
    place: Place,
    log: Log,
    stop: Arc<Stop>,
    wake: Arc<OwnedFd>,
    view: Arc<Mutex<View>>,
    good: Good,
    acks: Acks,
    /// Why the list that was read is not written; empty if it is.
    refused: String,
    /// What was said of the topic last, so that it is said once.
    said: String,
    /// No write before.
    rested: Instant,
}

impl Follower {
    /// # Errors
    /// Those of eventfd(2).
    pub fn new(
        sync: SyncConfig,
        place: Place,
        log: Log,
        stop: Arc<Stop>,
        view: Arc<Mutex<View>>,
    ) -> io::Result<Follower> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let good = Good::read(&place.file).unwrap_or_else(|error| {
            let file = place.file.display();
            log.say(Level::Warning, "sync file", format_args!("sync: {file}: {error}: it will be written anew"));
            Good::default()
        });
        let acks = Acks::new(&sync.edge, &sync.acks, &place.kafka, place.producer.clone(), &log);
        let (refused, said, rested) = (String::new(), String::new(), Instant::now());
        let follower = Follower { sync, place, log, stop, wake, view, good, acks, refused, said, rested };
        // The list of before is there already.
        follower.show(|_| ());
        Ok(follower)
    }

    /// Follows the list until it is to stop. What goes wrong is said, and tried again.
    pub fn run(mut self) {
        let mut backoff = Backoff::new();
        while !self.stop.is_asked() {
            let started = Instant::now();
            let Err(why) = self.read_topic() else { return };
            let wait = backoff.after(started.elapsed());
            self.complain(&why);
            self.show(|view| {
                view.trouble = why;
                view.is_at_end = false;
            });
            self.stop.sleep(wait);
        }
    }

    /// Reads the topic from its beginning on, until it is to stop.
    ///
    /// # Errors
    /// Why it has to be read anew.
    fn read_topic(&mut self) -> Result<(), String> {
        let mut reader = Reader::new(&self.place.kafka, &self.sync.topic, &self.wake, &self.log)?;
        let mut reading = Reading::new();
        let asker = Asker::new(self.acks.sender()?, &self.sync.topic, &self.wake)?;
        let mut heard_ms = unix_ms();
        asker.ask();
        let mut until = Instant::now();
        let mut is_more = false;
        while !self.stop.is_asked() {
            if !is_more {
                self.wait(until)?;
            }
            let mut failed = None;
            let (good, log, now) = (&self.good, &self.log, Instant::now());
            is_more = reader.poll(EVENTS, |event| {
                let failure = reading.take(event, now, good, log).err();
                failed = failed.take().or(failure);
            });
            while let Some(answer) = asker.answer() {
                failed = failed.or(reading.take(Event::TopicId(answer), now, good, log).err());
            }
            if let Some(why) = failed {
                return Err(why);
            }
            let is_news = std::mem::take(&mut reading.heard);
            if is_news {
                let now_ms = unix_ms();
                // Before it has begun there is nothing that could have been missed.
                if reading.has_begun() && is_gap(heard_ms, now_ms) {
                    return Err("a day or more has gone by without it".into());
                }
                heard_ms = now_ms;
                if !std::mem::take(&mut self.said).is_empty() {
                    let topic = &self.sync.topic;
                    self.log.say(Level::Notice, "sync", format_args!("sync: topic {topic}: it is followed again"));
                }
            }
            if !reading.trouble.is_empty() {
                self.complain(&reading.trouble);
            }
            until = self.act(&mut reader, &asker, &mut reading)?;
            self.send_ack(&reading);
            if is_news || !reading.trouble.is_empty() {
                self.show_reading(&reading, heard_ms);
            }
        }
        Ok(())
    }

    /// Says why the topic cannot be followed, once: what stands behind the colon differs from one attempt to the next.
    fn complain(&mut self, why: &str) {
        let kind = |text: &str| text.split(": ").next().unwrap_or_default().to_owned();
        if kind(why) != kind(&self.said) {
            self.log.say(Level::Warning, "sync", format_args!("sync: topic {}: {why}", self.sync.topic));
            why.clone_into(&mut self.said);
        }
    }

    /// Does what is to be done, and says until when it can be waited then.
    fn act(&mut self, reader: &mut Reader, asker: &Asker, reading: &mut Reading) -> Result<Instant, String> {
        loop {
            let now = Instant::now();
            let (step, until) = reading.step(now);
            match step {
                Step::Wait => return Ok(until),
                Step::Begin => {
                    let ends = reader.ask_ends(ANSWER)?;
                    reader.begin()?;
                    reading.begins(ends, Instant::now());
                }
                Step::Check => asker.ask(),
                Step::Judge if now < self.rested => {
                    reading.judged(Some(self.rested));
                    return Ok(self.rested);
                }
                Step::Judge => {
                    let again = self.judge(reading);
                    reading.judged(again);
                }
            }
        }
    }

    /// Writes the list that was read, if it may be. When that is to be tried again, if it is.
    fn judge(&mut self, reading: &Reading) -> Option<Instant> {
        let topic_id = reading.topic_id.clone().unwrap_or_default();
        let verdict = reading.list.judge(Origin { topic: &self.sync.topic, topic_id: &topic_id }, &self.good);
        let source = Source { topic: self.sync.topic.clone(), topic_id, offset: reading.next };
        self.acks.soon();
        match verdict {
            Verdict::Refused(why) => {
                if why != self.refused {
                    self.log.say(Level::Error, "sync refused", format_args!("sync: {why}"));
                }
                self.refused = why;
            }
            Verdict::Same => {
                self.refused.clear();
                self.good.source = Some(source);
            }
            Verdict::Write => {
                self.refused.clear();
                return self.write(reading, source);
            }
        }
        None
    }

    fn write(&mut self, reading: &Reading, source: Source) -> Option<Instant> {
        let started = Instant::now();
        let next = Good {
            is_there: true,
            revision: self.good.next_revision(source.offset),
            source: Some(source),
            clients: reading.list.clients().clone(),
        };
        let file = self.place.file.display();
        if let Err(error) = next.write(&self.place.file) {
            let text = format!("the list cannot be written: {file}: {error}");
            self.log.say(Level::Error, "sync file", format_args!("sync: {text}"));
            self.show(|view| view.unwritten = text);
            self.rested = started + MOST_REST;
            return Some(self.rested);
        }
        let (clients, revision) = (next.clients.len(), next.revision);
        self.log.say(Level::Info, "sync written", format_args!("sync: {file}: {clients} clients, revision {revision}"));
        self.good = next;
        self.show(|view| {
            view.unwritten.clear();
            view.writes += 1;
            view.written_unix_ms = unix_ms();
        });
        if let Some(producer) = &self.place.producer {
            // What is wrong with it the producer says itself.
            let _ = producer.reload_clients(None);
        }
        self.rested = Instant::now() + (REST * started.elapsed()).min(MOST_REST);
        None
    }

    fn send_ack(&mut self, reading: &Reading) {
        // Up to here the list is written. What stands behind it changes nothing.
        if reading.is_judged() && self.refused.is_empty() {
            if let Some(source) = &mut self.good.source {
                source.offset = reading.next;
            }
        }
        let rejected = reading.list.rejected().map(String::as_str).collect();
        let told = Told { source: self.good.source.as_ref(), rejected, refused: &self.refused };
        self.acks.send_if_due(&told);
    }

    /// Waits for events, until then.
    fn wait(&self, until: Instant) -> Result<(), String> {
        let until = until.min(self.acks.due()).saturating_duration_since(Instant::now());
        let failed = |error: io::Error| format!("it cannot be waited for: {error}");
        let found = self.stop.wait(&[self.wake.as_fd()], Some(until)).map_err(failed)?;
        if found.first().is_some_and(|found| found.readable) {
            // Only to wait anew: what has come is looked for in any case.
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        Ok(())
    }

    fn show_reading(&self, reading: &Reading, heard_ms: u64) {
        self.show(|view| {
            view.topic_id = reading.topic_id.clone().unwrap_or_default();
            view.read_offset = reading.next;
            view.is_at_end = reading.is_at_end();
            view.rejected = reading.list.rejected().len() as u64;
            view.rejected_keys = reading.list.rejected().take(View::MOST_KEYS).cloned().collect();
            view.skipped = reading.bad;
            view.heard_unix_ms = heard_ms;
            view.trouble.clone_from(&reading.trouble);
        });
    }

    /// Changes what is seen from outside; what is written always is.
    fn show(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut view);
        view.clients = self.good.clients.len() as u64;
        view.revision = self.good.revision;
        view.offset = self.good.source.as_ref().map_or(0, |source| source.offset);
        view.refused.clone_from(&self.refused);
        view.acks = self.acks.counters().acknowledged.load(Ordering::Relaxed);
        view.acks_failed = self.acks.counters().failed.load(Ordering::Relaxed);
    }
}

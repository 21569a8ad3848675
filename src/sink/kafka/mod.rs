//! The Kafka sink: batches in the engine's hands, what it reported of them, and a new engine when one has failed for
//! good.
//!
//! One sink has one engine at a time; several stand beside each other behind [`Shards`](super::shards::Shards), with what
//! is `Common` to them.
//!
//! A batch is numbered when it is handed over, and the number travels with each of its lines. When all lines are
//! reported, the batch has come to its end. An engine that reports a *fatal* error (an idempotent producer whose order
//! can no longer be guaranteed) is emptied: the lines it had not yet seen acknowledged are noted in their batches, a new
//! engine is started, and they are sent again before anything else, in their old order. Of those that were on their way
//! some may have arrived: such lines are delivered twice rather than not at all.

mod engine;
mod hands;
mod reach;

use super::embedded::EmbeddedBroker;
use super::{Ended, Sink};
use crate::batch::{Batch, BatchLine};
use crate::config::{Config, KafkaConfig};
use crate::error::{Error, Result};
use crate::log::{say, Log};
use engine::{Engine, Event, LineReport, Refusal, Written};
use hands::{Handed, InHands};
use rdkafka::types::RDKafkaErrorCode;
use reach::Reach;
use std::collections::VecDeque;
use std::sync::{mpsc, Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What one line costs the engine beside its bytes: sizeof rd_kafka_msg_t, 176 in librdkafka 2.12, as glibc allocates it.
pub const ENGINE_BYTES_PER_LINE: usize = 192;

/// librdkafka's work grows with the square of an instance's topics (it looks each topic of a metadata reply up among all
/// of them, and passes over all partitions at each wake-up), its threads and connections with the number of instances.
/// benches/many_clients shows both.
pub const CLIENTS_PER_ENGINE: usize = 500;

/// Reports of purged lines come within milliseconds; what has none by then ends without.
const PURGED: Duration = Duration::from_millis(20);

/// Between attempts to start an engine: doubled up to the second.
const START_AGAIN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];

/// The engine, or why there is none.
enum State {
    Running(Engine),
    /// It has failed for good and is being emptied.
    Emptying(Engine),
    /// None: start one at this time; the delay after the next failure; what became of the last one.
    Down {
        at: Instant,
        delay: Duration,
        why: String,
    },
    /// It is being ended; what comes through here says that it has.
    Closing(mpsc::Receiver<()>),
    Closed,
}

/// What the sinks beside each other share.
struct Common {
    config: Arc<KafkaConfig>,
    broker: Mutex<Option<EmbeddedBroker>>,
    log: Log,
    reach: Mutex<Reach>,
    most_bytes: usize,
}

/// See the module's text.
pub struct KafkaSink {
    common: Arc<Common>,
    state: State,
    hands: InHands,
    /// Batches with lines to be sent again, in order.
    again: VecDeque<Handed>,
    /// Batches that ended outside of `poll`.
    ended: Vec<Ended>,
    sequence: u64,
    /// Until when `give_up` waits, once it has begun.
    give_up_until: Option<Instant>,
    /// The engine that runs has got a line acknowledged.
    acknowledged: bool,
    /// How long the next engine waits, should this one fail for good without that.
    pause: Duration,
}

/// Asks the engine whether it takes this configuration. It starts no connection, and its threads are gone when this
/// returns. TLS files that cannot be used (yet) are no error here: they are a state of a running producer.
///
/// # Errors
/// `TEL_ERR_CONFIG`, naming the key where the engine does.
pub fn check(config: &Config) -> Result<()> {
    let quiet = Log::new(Box::new(|_, _| {}));
    match Engine::new(&Arc::new(config.kafka.clone()), None, &quiet)
        .map_err(|refusal| judge(&config.kafka, refusal, &quiet))
    {
        Ok(_) | Err(Verdict::NotYet(_)) => Ok(()),
        Err(Verdict::Never(error)) => Err(error),
    }
}

/// What a refusal to start means.
enum Verdict {
    /// The configuration is wrong.
    Never(Error),
    /// Only the TLS material is to blame, which may become usable.
    NotYet(String),
}

fn judge(config: &KafkaConfig, refusal: Refusal, log: &Log) -> Verdict {
    let text = match refusal {
        Refusal::Setting(error) => return Verdict::Never(error),
        Refusal::Start(text) => text,
    };
    // The same without TLS: if that starts, the keys and values are right, and what is missing is usable material.
    let mut plain = config.clone();
    plain.properties.retain(|name, _| !name.starts_with("ssl."));
    if let Some(protocol) = plain.properties.get_mut("security.protocol") {
        *protocol = protocol.to_ascii_lowercase().replace("ssl", "plaintext");
    }
    if plain.properties == config.properties || Engine::new(&Arc::new(plain), None, log).is_err() {
        return Verdict::Never(Error::config(format!("kafka: the engine does not start: {text}")));
    }
    Verdict::NotYet(text)
}

impl KafkaSink {
    /// Starts the engine. Brokers need not be reachable, and TLS files need not be usable yet.
    ///
    /// # Errors
    /// `TEL_ERR_CONFIG` for what the engine never takes, `TEL_ERR_IO` if the embedded broker does not start.
    pub fn new(config: &Config, log: Log) -> Result<KafkaSink> {
        let broker = if config.embedded_broker { Some(EmbeddedBroker::start()?) } else { None };
        let most = config.kafka.properties.get("queue.buffering.max.kbytes").and_then(|kbytes| kbytes.parse().ok());
        let common = Common {
            config: Arc::new(config.kafka.clone()),
            broker: Mutex::new(broker),
            reach: Mutex::new(Reach::new(log.clone())),
            log,
            most_bytes: most.map_or(usize::MAX, |kbytes: usize| kbytes.saturating_mul(1024)),
        };
        let mut sink = KafkaSink::of(Arc::new(common));
        sink.state = match sink.common.start() {
            Ok(engine) => State::Running(engine),
            Err(refusal) => match judge(&sink.common.config, refusal, &sink.common.log) {
                Verdict::Never(error) => return Err(error),
                Verdict::NotYet(why) => sink.common.down(START_AGAIN[0], why),
            },
        };
        Ok(sink)
    }

    /// Makes further sinks beside this one, with engines of their own and the same embedded broker. One whose engine does
    /// not start tries again, as this does.
    pub fn beside(&self) -> impl FnMut() -> KafkaSink + Send {
        let common = Arc::clone(&self.common);
        move || {
            let mut sink = KafkaSink::of(Arc::clone(&common));
            sink.state = common.start_or_wait(START_AGAIN[0]);
            sink
        }
    }

    fn of(common: Arc<Common>) -> KafkaSink {
        KafkaSink {
            common,
            state: State::Closed,
            hands: InHands::default(),
            again: VecDeque::new(),
            ended: Vec::new(),
            sequence: 0,
            give_up_until: None,
            acknowledged: false,
            pause: START_AGAIN[0],
        }
    }

    /// Where the brokers are.
    pub fn bootstrap_servers(&self) -> String {
        self.common.bootstrap_servers()
    }

    /// What follows an engine that failed for good: a new one, at once if the old one got anything through. An error
    /// that meets every engine, such as a certificate with no rights yet, is met less and less often.
    fn after_fatal(&mut self, why: &str) -> State {
        if std::mem::take(&mut self.acknowledged) {
            self.pause = START_AGAIN[0];
            return self.replace_or_wait(START_AGAIN[0]);
        }
        let pause = self.pause;
        self.pause = (2 * pause).min(START_AGAIN[1]);
        State::Down {
            at: Instant::now() + pause,
            delay: START_AGAIN[0],
            why: format!("the engine failed for good: {why}"),
        }
    }

    fn replace_or_wait(&self, delay: Duration) -> State {
        let state = self.common.start_or_wait(delay);
        if matches!(state, State::Running(_)) {
            say!(self.common.log, Notice, "engine-start", "a new engine has started");
        }
        state
    }

    /// Hands `handed` over: its lines marked to be sent again, or all of them the first time.
    fn hand_over(&mut self, mut handed: Handed) {
        let State::Running(engine) = &mut self.state else {
            self.again.push_front(handed);
            return;
        };
        if let Some(broker) = &*self.common.broker() {
            if !engine.knows(&handed.batch.topic) {
                broker.ensure_topic(&handed.batch.topic);
            }
        }
        let repeated = handed.again > 0;
        let mut again: Vec<BatchLine> = Vec::new();
        if repeated {
            again.extend(handed.batch.iter().filter(|line| line.again));
            again.iter().for_each(|line| handed.batch.set_again(*line, false));
        }
        handed.open = if repeated { handed.again } else { handed.batch.lines() };
        handed.again = 0;
        let (topic, turn, number) = (Arc::clone(&handed.batch.topic), handed.batch.turn, self.hands.next_number());
        let batch = &handed.batch;
        let all = if repeated { None } else { Some(batch.iter()) };
        let lines = all.into_iter().flatten().chain(again).map(|line| batch.value(line));
        let mut refused = Vec::new();
        // SAFETY: the batch goes into `hands` below and stays there until all its lines are reported, or the engine is
        // gone; its lines are not changed meanwhile, only what stands behind them.
        unsafe {
            engine.hand_over(&topic, number, turn, lines, |report| refused.push(report));
        }
        self.hands.put(number, handed);
        for report in refused {
            self.fail(report);
        }
    }

    /// Books lines that were written.
    fn acknowledge(&mut self, written: Written) {
        let Some(handed) = self.hands.report(written.batch, written.lines) else { return };
        self.acknowledged = true;
        handed.delivered += written.lines;
        handed.delivered_bytes += written.bytes;
        self.end_if_reported(written.batch);
    }

    /// Books a line that was not written.
    fn fail(&mut self, report: LineReport) {
        let fatal = match &self.state {
            State::Emptying(_) => true,
            State::Running(engine) => engine.fatal_error().is_some(),
            _ => false,
        };
        let Some(handed) = self.hands.report(report.batch, 1) else { return };
        // The engine's own queue is full, or it failed for good: the line was not tried. A line whose time has run out is
        // given up even so.
        let untried =
            report.error == RDKafkaErrorCode::QueueFull || (fatal && report.error != RDKafkaErrorCode::MessageTimedOut);
        if untried {
            match handed.batch.find(report.value, report.bytes) {
                Some(line) => {
                    handed.batch.set_again(line, true);
                    handed.again += 1;
                    self.hands.owed += 1;
                }
                None => handed.failed += 1,
            }
        } else {
            handed.failed += 1;
            handed.error = Some(report.error);
        }
        self.end_if_reported(report.batch);
    }

    /// The batch ends, or waits to be sent again, with the last report of its lines.
    fn end_if_reported(&mut self, number: u32) {
        if self.hands.is_open(number) {
            return;
        }
        if let Some(handed) = self.hands.take(number) {
            if let State::Running(engine) = &mut self.state {
                engine.is_reported(&handed.batch.topic, handed.batch.turn);
            }
            if handed.again > 0 {
                let place = self.again.partition_point(|other| other.sequence < handed.sequence);
                self.again.insert(place, handed);
            } else {
                self.end(handed);
            }
        }
    }

    /// The batch has come to its end.
    fn end(&mut self, handed: Handed) {
        if handed.failed > 0 {
            let why = handed.error.map_or("no time is left".to_owned(), |error| error.to_string());
            let (failed, topic) = (handed.failed, &handed.batch.topic);
            say!(self.common.log, Error, "failed", "topic {topic}: {failed} lines were given up: {why}");
        }
        self.ended.push(Ended {
            delivered: handed.delivered,
            delivered_bytes: handed.delivered_bytes,
            failed: handed.failed,
            batch: handed.batch,
        });
    }

    /// Sends again what must be, in order, as far as the engine takes it.
    fn send_again(&mut self) {
        while let (State::Running(_), Some(handed)) = (&self.state, self.again.front()) {
            if handed.batch.account.is_withdrawn() {
                if let Some(handed) = self.again.pop_front() {
                    self.end(handed.given_up());
                }
                continue;
            }
            if !self.hands.have_room(
                handed.again as usize,
                handed.batch.value_bytes(),
                self.common.config.max_messages,
                self.common.most_bytes,
            ) {
                break;
            }
            if let Some(handed) = self.again.pop_front() {
                let full = self.hands.lines;
                self.hand_over(handed);
                if self.hands.lines == full {
                    break; // Refused at once, and back in front: not again before the next poll.
                }
            }
        }
    }

    /// Reads what the engine has to say.
    fn listen(&mut self) {
        let mut events = Vec::new();
        if let State::Running(engine) | State::Emptying(engine) = &mut self.state {
            engine.poll(|event| events.push(event));
        }
        let (mut any_written, mut unreachable) = (false, None);
        for event in events {
            match event {
                Event::Written(written) => {
                    any_written = true;
                    self.acknowledge(written);
                }
                Event::Failed(report) => self.fail(report),
                Event::Unreachable(why) => unreachable = Some(why),
            }
        }
        self.common.reach().heard(any_written, unreachable, Instant::now());
    }

    /// Listens, and moves on from an engine that failed.
    fn turn_engine(&mut self) {
        self.listen();
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Running(engine) => match engine.fatal_error() {
                Some(why) => {
                    say!(self.common.log, Error, "fatal", "the engine failed for good, a new one takes over: {why}");
                    engine.purge();
                    State::Emptying(engine)
                }
                None => State::Running(engine),
            },
            State::Emptying(engine) if self.hands.lines == 0 => {
                let why = engine.fatal_error().unwrap_or_default();
                drop_aside(engine, || {});
                self.after_fatal(&why)
            }
            State::Down { at, delay, .. } if at <= Instant::now() => self.replace_or_wait(delay),
            state => state,
        };
    }
}

impl Common {
    fn bootstrap_servers(&self) -> String {
        match &*self.broker() {
            Some(broker) => broker.bootstrap_servers(),
            None => self.config.properties.get("bootstrap.servers").cloned().unwrap_or_default(),
        }
    }

    fn start(&self) -> Result<Engine, Refusal> {
        Engine::new(&self.config, Some(&self.bootstrap_servers()), &self.log)
    }

    fn start_or_wait(&self, delay: Duration) -> State {
        match self.start() {
            Ok(engine) => State::Running(engine),
            Err(Refusal::Setting(error)) => self.down(delay, error.to_string()),
            Err(Refusal::Start(text)) => self.down(delay, text),
        }
    }

    fn down(&self, delay: Duration, why: String) -> State {
        say!(self.log, Error, "engine-start", "the engine does not start, lines wait, trying again: {why}");
        let why = format!("the engine does not start: {why}");
        State::Down { at: Instant::now() + delay, delay: (2 * delay).min(START_AGAIN[1]), why }
    }

    fn broker(&self) -> MutexGuard<'_, Option<EmbeddedBroker>> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self) -> MutexGuard<'_, Reach> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, batch: Batch) -> Result<(), Batch> {
        let lines = batch.lines() as usize;
        let ready = matches!(&self.state, State::Running(engine) if engine.is_free(&batch.topic, batch.turn))
            && self.again.is_empty()
            && self.hands.owed == 0 // What comes after a batch that was partly refused waits until that is whole.
            && self.hands.have_room(lines, batch.value_bytes(), self.common.config.max_messages, self.common.most_bytes);
        if !ready {
            return Err(batch);
        }
        self.sequence += 1;
        let sequence = self.sequence;
        self.hand_over(Handed {
            batch,
            sequence,
            open: 0,
            delivered: 0,
            delivered_bytes: 0,
            failed: 0,
            error: None,
            again: 0,
        });
        Ok(())
    }

    fn poll(&mut self, ended: &mut Vec<Ended>) {
        self.turn_engine();
        self.send_again();
        ended.append(&mut self.ended);
    }

    fn begin_give_up(&mut self) {
        if self.give_up_until.is_none() {
            if let State::Running(engine) | State::Emptying(engine) = &self.state {
                engine.purge();
            }
            self.give_up_until = Some(Instant::now() + PURGED);
        }
    }

    fn give_up(&mut self, ended: &mut Vec<Ended>) {
        self.begin_give_up();
        // Lines without a report end here, their memory still the engine's until that is gone.
        self.listen();
        while self.hands.lines > 0 && self.give_up_until.is_some_and(|until| Instant::now() < until) {
            std::thread::sleep(Duration::from_millis(1));
            self.listen();
        }
        let left: Vec<Handed> = self.again.drain(..).chain(self.hands.drain()).collect();
        for handed in left {
            self.end(handed.given_up());
        }
        ended.append(&mut self.ended);
    }

    fn begin_close(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            // Ending a client waits for its threads, which may hang in a name look-up or a handshake.
            State::Running(engine) | State::Emptying(engine) => {
                let (done, is_done) = mpsc::channel();
                // The embedded broker goes with the first of all engines: nothing is sent any more.
                let broker = self.common.broker().take();
                drop_aside(engine, move || {
                    drop(broker);
                    let _ = done.send(());
                });
                State::Closing(is_done)
            }
            State::Down { .. } | State::Closed => State::Closed,
            closing => closing,
        };
    }

    fn close(&mut self, timeout: Duration) -> bool {
        self.begin_close();
        let State::Closing(is_done) = std::mem::replace(&mut self.state, State::Closed) else { return true };
        let ended = is_done.recv_timeout(timeout).is_ok();
        if !ended {
            say!(
                self.common.log,
                Warning,
                "close",
                "the engine did not end in time: its threads and memory are abandoned"
            );
        }
        ended
    }

    fn retire(mut self) {
        if let State::Running(engine) | State::Emptying(engine) = std::mem::replace(&mut self.state, State::Closed) {
            drop_aside(engine, || {});
        }
    }

    fn trouble(&self) -> String {
        match &self.state {
            State::Running(_) => self.common.reach().trouble().to_owned(),
            State::Emptying(_) => "the engine failed for good and is being replaced".into(),
            State::Down { why, .. } => why.clone(),
            State::Closing(_) | State::Closed => "closed".into(),
        }
    }
}

/// Ends an engine without waiting for its threads, and then does `afterwards`.
fn drop_aside(engine: Engine, afterwards: impl FnOnce() + Send + 'static) {
    let aside = std::thread::Builder::new().name("tel-close".into());
    // If no thread is to be had, the engine is dropped here, with the closure: slower, and nothing worse.
    let _ = aside.spawn(move || {
        drop(engine);
        afterwards();
    });
}

#[cfg(test)]
mod tests;

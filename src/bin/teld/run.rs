//! `teld run`: the producer, its inputs, the list that is followed, and what an operator and the system ask of them.

use crate::config::Config;
use crate::inputs::InputCounters;
use crate::observe::{Http, Observed, StatusSocket};
use crate::service::journal;
use crate::service::notify::Manager;
use crate::service::signals::{self, Signal};
use crate::status;
use crate::supervisor::Supervisor;
use crate::sync::{Following, Place};
use crate::wait::Stop;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tel::{Level, Log, Producer};

/// How often the position of followed files is kept.
const KEEP_POSITIONS: Duration = Duration::from_secs(10);
/// How often it is looked for servers, if the inputs are "auto" and none was found.
const DETECT_AGAIN: Duration = Duration::from_secs(30);
/// Of the time that the end may take, so much is for delivering, if there is so much.
const LEAST_DRAIN: Duration = Duration::from_secs(1);

enum Event {
    Asked(Signal),
    InputEnded { name: String, counters: Arc<InputCounters>, result: io::Result<()> },
    Drained { complete: bool },
}

impl From<Signal> for Event {
    fn from(signal: Signal) -> Event {
        Event::Asked(signal)
    }
}

/// Delivers the lines of all inputs, to their end or until a signal.
pub fn run(file: &Path) -> ExitCode {
    let (events, inbox) = channel();
    // Before any thread: threads inherit what is blocked.
    if let Err(error) = signals::watch(events.clone()) {
        eprintln!("teld: cannot wait for signals: {error}");
        return ExitCode::from(status::SYSTEM);
    }
    let config = match Config::read(file) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("teld: {error}");
            return ExitCode::from(status::CONFIG);
        }
    };
    match Daemon::start(file, config, events) {
        Ok(daemon) => daemon.serve(&inbox),
        Err(error) => {
            eprintln!("teld: {error}");
            ExitCode::from(status::SYSTEM)
        }
    }
}

/// All that runs.
struct Daemon<'a> {
    file: &'a Path,
    config: Config,
    log: Log,
    events: Sender<Event>,
    manager: Manager,
    /// `None` if only the list is followed.
    producer: Option<Arc<Producer>>,
    supervisor: Arc<Supervisor>,
    following: Arc<Following>,
    observed: Arc<Observed>,
    /// Stops what runs beside the inputs: positions, status, metrics.
    stop: Arc<Stop>,
    /// What answers to others.
    answering: Vec<JoinHandle<()>>,
    /// Inputs that end of their own and have not.
    unended: usize,
    failed: bool,
}

impl<'a> Daemon<'a> {
    fn start(file: &'a Path, config: Config, events: Sender<Event>) -> Result<Daemon<'a>, String> {
        // A log of its own: the producer's is silent once it is closed.
        let log = journal::log();
        let producer = match config.is_alone() {
            true => None,
            false => {
                Some(Producer::new(&config.producer, journal::log()).map_err(|error| format!("producer: {error}"))?)
            }
        };
        let producer = producer.map(Arc::new);
        let stop = Arc::new(Stop::new().map_err(|error| format!("cannot make a descriptor: {error}"))?);
        let ended = {
            let events = events.clone();
            move |name: &str, counters, result| {
                // Nobody listens any more: it ends.
                let _ = events.send(Event::InputEnded { name: name.to_owned(), counters, result });
            }
        };
        let supervisor = Arc::new(Supervisor::new(producer.clone(), log.clone(), config.max_line, Arc::new(ended)));
        let following = Arc::new(Following::new(place(&config, producer.clone())?, log.clone()));
        let observed = Arc::new(Observed::new(producer.clone(), Arc::clone(&supervisor), Arc::clone(&following)));
        let manager = Manager::from_environment();
        let mut daemon = Daemon {
            file,
            config,
            log,
            events,
            manager,
            producer,
            supervisor,
            following,
            observed,
            stop,
            answering: Vec::new(),
            unended: 0,
            failed: false,
        };
        daemon.start_beside()?;
        daemon.apply_sync()?;
        daemon.apply_inputs();
        Ok(daemon)
    }

    /// What runs beside the inputs.
    fn start_beside(&mut self) -> Result<(), String> {
        // Not to be looked at is no reason not to deliver.
        match StatusSocket::bind(&self.config.status) {
            Ok(socket) => {
                let (observed, stop, log) = (Arc::clone(&self.observed), Arc::clone(&self.stop), self.log.clone());
                self.answering.push(thread("teld-status", move || socket.serve(&observed, &stop, &log))?);
            }
            Err(error) => self.log.say(
                Level::Warning,
                "status",
                format_args!(
                    "status.socket: {}: {error}: `teld status` cannot be answered",
                    self.config.status.display()
                ),
            ),
        }
        if let Some(metrics) = &self.config.metrics {
            match Http::bind(metrics) {
                Ok(http) => {
                    let (observed, stop, log) = (Arc::clone(&self.observed), Arc::clone(&self.stop), self.log.clone());
                    self.answering.push(thread("teld-metrics", move || http.serve(&observed, &stop, &log))?);
                }
                Err(error) => {
                    self.log.say(
                        Level::Error,
                        "metrics",
                        format_args!("metrics.listen: {}: {error}: no metrics are served", metrics.listen),
                    );
                }
            }
        }
        let (supervisor, stop) = (Arc::clone(&self.supervisor), Arc::clone(&self.stop));
        thread("teld-positions", move || {
            while !stop.is_asked() {
                stop.sleep(KEEP_POSITIONS);
                supervisor.keep_positions();
            }
        })?;
        Ok(())
    }

    /// Follows the list that the configuration has.
    fn apply_sync(&self) -> Result<(), String> {
        self.following.apply(self.config.sync.as_ref())
    }

    /// Starts and stops inputs as the configuration has them.
    fn apply_inputs(&mut self) {
        for (name, error) in self.supervisor.apply(&self.config) {
            self.log.say(Level::Error, "input", format_args!("inputs.{name}: {error}"));
            self.failed = true;
        }
        // Those that have ended stay: they are not to be read again.
        self.unended = self.supervisor.unended();
        if self.config.is_auto && self.unended == 0 {
            self.log.say(
                Level::Warning,
                "auto",
                format_args!("inputs: auto has found nothing: it looks again every {} s", DETECT_AGAIN.as_secs()),
            );
        }
        match &self.config.sync {
            Some(sync) => self.manager.ready(&format!("{} inputs, and the list of {}", self.unended, sync.topic)),
            None => self.manager.ready(&format!("{} inputs", self.unended)),
        }
    }

    fn serve(mut self, inbox: &Receiver<Event>) -> ExitCode {
        let mut detected = Instant::now();
        let looks_again = |daemon: &Daemon| daemon.config.is_auto && daemon.unended == 0;
        while self.unended > 0 || looks_again(&self) || self.only_follows() {
            let detection = looks_again(&self).then_some(DETECT_AGAIN);
            // Twice within the manager's patience.
            let life = self.manager.watchdog.map(|watchdog| watchdog / 2);
            let wait = detection.into_iter().chain(life).min();
            let event = match wait {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => inbox.recv_timeout(wait),
            };
            match event {
                Ok(Event::Asked(Signal::Reload)) => self.reload(),
                Ok(Event::Asked(Signal::End)) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Event::InputEnded { name, counters, result }) => self.input_ended(&name, &counters, result),
                Ok(Event::Drained { .. }) | Err(RecvTimeoutError::Timeout) => {}
            }
            self.manager.alive();
            if looks_again(&self) && detected.elapsed() >= DETECT_AGAIN {
                detected = Instant::now();
                self.reload();
            }
        }
        self.end(inbox)
    }

    /// There is nothing to be read, but a list to be followed: until a signal.
    fn only_follows(&self) -> bool {
        self.producer.is_none() || (self.config.is_alone() && self.config.sync.is_some())
    }

    /// Reads the configuration and the client list again. What is wrong is said, and what was before stays.
    fn reload(&mut self) {
        self.manager.reloading();
        // Without a file there is nothing to be read again.
        match self.producer.as_ref().map(|producer| producer.reload_clients(None)) {
            Some(Err(error)) if error.kind() != tel::tel_error::TEL_ERR_INVALID => {
                self.log.say(Level::Error, "reload", format_args!("the client list before stays: {error}"));
            }
            _ => {}
        }
        // Last: with it the manager is told that all is done.
        match Config::read(self.file) {
            Ok(config) => {
                let fixed = |config: &Config| (config.producer.clone(), config.metrics.clone(), config.status.clone());
                if fixed(&config) != fixed(&self.config) {
                    self.log.say(
                        Level::Warning,
                        "reload",
                        format_args!("producer, metrics and status take effect when teld is started again"),
                    );
                }
                let before = std::mem::replace(&mut self.config, config);
                (self.config.producer, self.config.max_line) = (before.producer, before.max_line);
                (self.config.metrics, self.config.status) = (before.metrics, before.status);
                self.config.clients_file = before.clients_file;
                if let Err(error) = self.apply_sync() {
                    self.log.say(Level::Error, "reload", format_args!("{error}"));
                }
                self.apply_inputs();
            }
            Err(error) => {
                self.log.say(Level::Error, "reload", format_args!("{error}: the configuration before stays"));
                self.manager.ready("the configuration is wrong: the one before stays");
            }
        }
    }

    fn input_ended(&mut self, name: &str, counters: &InputCounters, result: io::Result<()>) {
        counters.has_ended.store(true, Ordering::Relaxed);
        self.unended = self.supervisor.unended();
        match result {
            Ok(()) => {
                let (lines, bytes) = (counters.lines.load(Ordering::Relaxed), counters.bytes.load(Ordering::Relaxed));
                self.log.say(
                    Level::Info,
                    "input ended",
                    format_args!("inputs.{name}: ended, {lines} lines, {bytes} bytes"),
                );
            }
            Err(error) => {
                self.log.say(Level::Error, "input", format_args!("inputs.{name}: {error}"));
                self.failed = true;
            }
        }
    }

    /// Stops the inputs and delivers what was read. Asked a second time, it leaves at once.
    fn end(mut self, inbox: &Receiver<Event>) -> ExitCode {
        self.manager.stopping();
        self.following.ask_to_stop();
        let (supervisor, producer, events) = (Arc::clone(&self.supervisor), self.producer.clone(), self.events.clone());
        let following = Arc::clone(&self.following);
        let patience = self.config.drain;
        let drain = move || {
            let start = Instant::now();
            supervisor.stop_all(patience);
            // A child that took its time takes none of what the brokers need at least.
            let left = patience.saturating_sub(start.elapsed()).max(patience.min(LEAST_DRAIN));
            let complete = producer.is_none_or(|producer| producer.close(Some(left)).is_ok());
            if complete {
                supervisor.keep_last_positions();
            }
            following.stop(patience.saturating_sub(start.elapsed()));
            // Nobody listens any more: it has left.
            let _ = events.send(Event::Drained { complete });
        };
        if thread("teld-drain", drain).is_err() {
            return ExitCode::from(status::SYSTEM);
        }
        let complete = loop {
            match inbox.recv() {
                Ok(Event::Drained { complete }) => break complete,
                Ok(Event::Asked(Signal::End)) => {
                    self.log.say(Level::Warning, "end", format_args!("asked to end a second time: leaves at once"));
                    crate::process::leave(status::GIVEN_UP);
                }
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        self.stop.ask();
        for answering in self.answering.drain(..) {
            // One that has panicked has ended, too.
            let _ = answering.join();
        }
        self.say_the_account();
        match (complete, self.failed) {
            (false, _) => ExitCode::from(status::GIVEN_UP),
            (true, true) => ExitCode::from(status::INPUT),
            (true, false) => ExitCode::SUCCESS,
        }
    }

    fn say_the_account(&self) {
        if let Some(Ok(stats)) = self.producer.as_ref().map(|producer| producer.stats()) {
            self.log.say(
                Level::Notice,
                "account",
                format_args!(
                    "submitted {} = delivered {} + failed {} + dropped {} + left out {} + unknown client {} + malformed {}",
                    stats.submitted,
                    stats.delivered,
                    stats.failed,
                    stats.dropped_full + stats.dropped_too_long + stats.dropped_rate + stats.dropped_spool,
                    stats.sampled_out,
                    stats.unknown_client,
                    stats.malformed,
                ),
            );
        }
    }
}

/// Where a list that is followed is put; it is known from the start, as the producer is.
fn place(config: &Config, producer: Option<Arc<Producer>>) -> Result<Option<Place>, String> {
    let kafka = tel::Config::from_json(&config.producer).map_err(|error| format!("producer: {error}"))?;
    let file = config.clients_file.clone();
    Ok(file.map(|file| Place { file, kafka: Arc::new(kafka), producer }))
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(|error| format!("cannot start a thread: {error}"))
}

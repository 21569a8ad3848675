//! The inputs at work: started, stopped, and brought in line with a changed configuration.

use crate::config::Config;
use crate::inputs::{Input, InputCounters, Position, Progress, RunningInput};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tel::{Level, Log, Producer};

/// How long a flush for the sake of a position may take.
const FLUSH: Duration = Duration::from_secs(60);

/// How long lines of an input that is taken out may wait for room in the queue: everything else waits for that.
const CHANGE: Duration = Duration::from_millis(500);

/// What an input reports when it has come to its end of its own.
pub type Ended = Arc<dyn Fn(&str, Arc<InputCounters>, io::Result<()>) + Send + Sync>;

/// All inputs of one producer.
pub struct Supervisor {
    /// `None` in a teld that was started without inputs.
    producer: Option<Arc<Producer>>,
    log: Log,
    max_line: usize,
    ended: Ended,
    running: Mutex<Vec<RunningInput>>,
    /// How far stopped ones have read, until that is kept.
    stopped: Mutex<Vec<Arc<Progress>>>,
}

/// An input, for those who look.
pub struct InputView {
    pub input: Input,
    pub counters: Arc<InputCounters>,
}

impl Supervisor {
    pub fn new(producer: Option<Arc<Producer>>, log: Log, max_line: usize, ended: Ended) -> Supervisor {
        Supervisor { producer, log, max_line, ended, running: Mutex::default(), stopped: Mutex::default() }
    }

    /// Starts what is new, stops what is gone or comes from elsewhere now, and leaves the others alone, but for how their
    /// lines are read. Names of those that could not be started, and why.
    pub fn apply(&self, config: &Config) -> Vec<(String, io::Error)> {
        let same = |running: &RunningInput| {
            let is_same = |input: &&Input| (&input.name, &input.source) == (&running.input.name, &running.input.source);
            config.inputs.iter().find(is_same)
        };
        let (mut stay, go): (Vec<_>, Vec<_>) = self.running().drain(..).partition(|running| same(running).is_some());
        for running in &mut stay {
            if let Some(input) = same(running).filter(|input| input.reading != running.input.reading) {
                running.change(&input.reading);
                let what = input.reading.describe();
                self.log.say(Level::Info, "input changed", format_args!("inputs.{}: {what}", input.name));
            }
        }
        *self.running() = stay;
        // One that comes from elsewhere reads what is there and lets go of its place before the new one takes it.
        self.stop(go, CHANGE);
        let mut failed = Vec::new();
        for input in &config.inputs {
            if self.running().iter().any(|running| running.input.name == input.name) {
                continue;
            }
            let Some(producer) = &self.producer else {
                failed.push((input.name.clone(), io::Error::other("inputs take effect when teld is started again")));
                continue;
            };
            let ended = Arc::clone(&self.ended);
            let started = RunningInput::start(
                input.clone(),
                Arc::clone(producer),
                self.log.clone(),
                self.max_line,
                move |name, counters, result| ended(name, counters, result),
            );
            match started {
                Ok(running) => {
                    let what = input.source.describe();
                    self.log.say(Level::Info, "input started", format_args!("inputs.{}: {what}", input.name));
                    self.running().push(running);
                }
                Err(error) => failed.push((input.name.clone(), error)),
            }
        }
        failed
    }

    /// Stops all of them; each reads what is there, and may wait so long for room in the queue.
    pub fn stop_all(&self, patience: Duration) {
        let all = std::mem::take(&mut *self.running());
        self.stop(all, patience);
    }

    fn stop(&self, inputs: Vec<RunningInput>, patience: Duration) {
        inputs.iter().for_each(|input| input.ask_to_stop(patience));
        for input in inputs {
            // What was read last may still be on its way.
            let progress = input.progress.clone();
            let name = input.input.name.clone();
            input.join();
            self.log.say(Level::Info, "input stopped", format_args!("inputs.{name}: stopped"));
            lock(&self.stopped).extend(progress);
        }
    }

    /// Keeps how far followed files were read, once every line up to there has come to its end. Waits for that.
    pub fn keep_positions(&self) {
        let running: Vec<_> = self.running().iter().filter_map(|running| running.progress.clone()).collect();
        let stopped = std::mem::take(&mut *lock(&self.stopped));
        let unkept: Vec<_> = running
            .iter()
            .chain(&stopped)
            .filter_map(|progress| Some((Arc::clone(progress), progress.unkept()?)))
            .collect();
        if unkept.is_empty() {
            return;
        }
        if self.producer.as_ref().is_some_and(|producer| producer.flush(Some(FLUSH)).is_ok()) {
            self.keep(unkept);
        } else {
            lock(&self.stopped).extend(stopped);
        }
    }

    /// Keeps how far the stopped ones were read: every line has come to its end.
    pub fn keep_last_positions(&self) {
        let stopped = std::mem::take(&mut *lock(&self.stopped));
        self.keep(
            stopped.into_iter().filter_map(|progress| progress.unkept().map(|position| (progress, position))).collect(),
        );
    }

    fn keep(&self, positions: Vec<(Arc<Progress>, Position)>) {
        for (progress, position) in positions {
            if let Err(error) = progress.keep(position) {
                self.log.say(Level::Error, "position", format_args!("a position cannot be kept: {error}"));
            }
        }
    }

    /// Inputs now.
    pub fn views(&self) -> Vec<InputView> {
        let view = |running: &RunningInput| InputView {
            input: running.input.clone(),
            counters: Arc::clone(&running.counters),
        };
        self.running().iter().map(view).collect()
    }

    /// Inputs that have not come to their end.
    pub fn unended(&self) -> usize {
        self.running().iter().filter(|running| !running.counters.has_ended.load(Ordering::Relaxed)).count()
    }

    fn running(&self) -> MutexGuard<'_, Vec<RunningInput>> {
        lock(&self.running)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

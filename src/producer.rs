//! The handle: everything a host can do with a producer. It owns the queue, the client list and the worker.

use crate::config::Config;
use crate::error::{tel_error, Error, Result};
use crate::front::Front;
use crate::log::{say, Log};
use crate::process::{close_at_exit, prepare_exit, with_signals_blocked, CloseAtExit, ForkGuard, Wiped};
use crate::queue::{Layout, PushError, Queue};
use crate::route::Routes;
use crate::sink::kafka::{self, KafkaSink};
use crate::sink::shards::Shards;
use crate::split::without_newline;
use crate::stats::{tel_stats, ClientStats, Published};
use crate::watch::Watch;
use crate::worker::{Control, Shared, Worker};
use serde::Serialize;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Of the queue's shards. There are at least as many as threads run at once, which move apart when they meet, and less than
/// twice as many: with more of them a push finds less of its own in the caches; inside Varnish it took twice as long with
/// four times as many. Two at the least, for a thread that stands still in the middle of a push keeps its whole ring from
/// being used again.
const FEWEST_SHARDS: usize = 2;

/// A thread that has said its last word is waited for so long.
const JOIN: Duration = Duration::from_millis(10);
/// The host's log function is waited for so long at a close, if it is in a call.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A producer. Every function may be called from any thread at any time.
///
/// In a process forked after it was made, nothing of it works, and nothing is touched: its functions return
/// `TEL_ERR_FORKED`. The child makes its own.
pub struct Producer {
    /// Not dropped in a forked child: it refers to memory and threads that are the parent's.
    inner: ManuallyDrop<Arc<Inner>>,
}

struct Inner {
    front: Arc<ForkGuard<Front>>,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    bootstrap_servers: String,
    exit_timeout: Duration,
}

/// Says what [`Producer::new`] would say of this configuration. Nothing is started that outlives the call, and no
/// connection is made.
///
/// # Errors
/// `TEL_ERR_CONFIG`, naming the key.
pub fn check_config(config: &str) -> Result<()> {
    let config = Config::from_json(config)?;
    prepare_exit();
    with_signals_blocked(|| kafka::check(&config))
}

impl Producer {
    /// Starts a producer. `config` is the JSON text of the configuration.
    ///
    /// It comes up whatever the state of the world: a client list that is missing or malformed, brokers that cannot be
    /// reached and certificates that cannot be used yet are said once in the log, and mended when they are.
    ///
    /// # Errors
    /// `TEL_ERR_CONFIG` for a wrong configuration, naming the key; `TEL_ERR_IO` if memory or threads are not to be had.
    pub fn new(config: &str, log: Log) -> Result<Producer> {
        let config = Config::from_json(config)?;
        prepare_exit();
        let inner = with_signals_blocked(|| Inner::start(&config, &log))?;
        let exit: Weak<dyn CloseAtExit> = Arc::downgrade(&inner) as Weak<Inner>;
        let producer = Producer { inner: ManuallyDrop::new(inner) };
        close_at_exit(exit).map_err(|error| Error::io("cannot register for the process's exit", &error))?;
        Ok(producer)
    }

    /// Whether this process was forked after the producer was made.
    #[inline]
    pub fn is_forked(&self) -> bool {
        self.inner.front.is_forked()
    }

    /// What threads look at first; nothing of it is there in a forked child.
    pub(crate) fn front(&self) -> &Wiped<Front> {
        self.inner.front.wiped()
    }

    fn inner(&self) -> Result<&Inner, tel_error> {
        if self.is_forked() {
            return Err(tel_error::TEL_ERR_FORKED);
        }
        Ok(&self.inner)
    }

    /// Submits `"<client id> <log line>"`, copying it. Never blocks, and after a thread's first call makes no
    /// allocation, lock or system call. One trailing newline is taken off.
    ///
    /// # Errors
    /// `TEL_ERR_FULL` and `TEL_ERR_TOO_LONG` lines are counted; `TEL_ERR_FORKED` and `TEL_ERR_CLOSED` calls submit nothing.
    pub fn submit(&self, line: &[u8]) -> Result<(), tel_error> {
        self.inner()?.push(None, line)
    }

    /// [`Producer::submit`] with the client's id given apart, so that no text can forge it.
    ///
    /// # Errors
    /// As [`Producer::submit`].
    pub fn submit_for(&self, client: &[u8], line: &[u8]) -> Result<(), tel_error> {
        self.inner()?.push(Some(client), line)
    }

    /// [`Producer::submit_for`], or [`Producer::submit`] without a client, for callers that wait and come back with the
    /// same line: `TEL_ERR_FULL` is not counted.
    ///
    /// # Errors
    /// As [`Producer::submit`].
    pub fn offer(&self, client: Option<&[u8]>, line: &[u8]) -> Result<(), tel_error> {
        self.inner()?.queue.offer(client, without_newline(line)).map_err(refusal)
    }

    /// Whether lines of `client` are wanted now. Wait-free.
    #[inline]
    pub fn wants(&self, client: &[u8]) -> bool {
        self.front()
            .get()
            .is_some_and(|front| front.wanted.has(client).unwrap_or_else(|| self.inner.shared.routes.lists(client)))
    }

    /// Reads the client list again, from `path` or the configured file, and swaps it whole.
    ///
    /// # Errors
    /// `TEL_ERR_INVALID` without any file, `TEL_ERR_IO`, `TEL_ERR_CLIENTS`; the list before stays.
    pub fn reload_clients(&self, path: Option<&Path>) -> Result<()> {
        self.inner().map_err(Error::plain)?.watch.reload(path)
    }

    /// Takes the client list from memory, and leaves the file alone until the next [`Producer::reload_clients`].
    ///
    /// # Errors
    /// `TEL_ERR_CLIENTS`; the list before stays.
    pub fn set_clients(&self, json: &[u8]) -> Result<()> {
        self.inner().map_err(Error::plain)?.watch.set(json)
    }

    /// Waits until all that was submitted before is delivered, failed or dropped. `None`: however long it takes.
    ///
    /// # Errors
    /// `TEL_ERR_TIMEOUT`.
    pub fn flush(&self, timeout: Option<Duration>) -> Result<(), tel_error> {
        self.inner()?.flush(timeout)
    }

    /// Takes no more lines, brings those there are to their end and stops the threads; returns by 100 ms after
    /// `timeout`. Statistics can still be read.
    ///
    /// # Errors
    /// `TEL_ERR_TIMEOUT` if lines had to be given up; they are counted `failed`.
    pub fn close(&self, timeout: Option<Duration>) -> Result<(), tel_error> {
        self.inner()?.close(timeout)
    }

    /// Where every line is.
    ///
    /// # Errors
    /// `TEL_ERR_FORKED`.
    pub fn stats(&self) -> Result<tel_stats, tel_error> {
        Ok(self.inner()?.stats())
    }

    /// The whole picture as JSON: `total`, `clients`, and what else an operator asks.
    ///
    /// # Errors
    /// `TEL_ERR_FORKED`.
    pub fn stats_json(&self) -> Result<String, tel_error> {
        self.inner()?.stats_json()
    }

    /// The brokers' addresses: as configured, or the embedded broker's.
    pub fn bootstrap_servers(&self) -> &str {
        &self.inner.bootstrap_servers
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if self.is_forked() {
            return;
        }
        // SAFETY: dropped once, here; nothing of `self` is used afterwards.
        let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        let _ = inner.close(Some(inner.exit_timeout));
    }
}

impl CloseAtExit for Inner {
    fn close_at_exit(&self) {
        let _ = self.close(Some(self.exit_timeout));
    }
}

impl Inner {
    fn start(config: &Config, log: &Log) -> Result<Arc<Inner>> {
        for warning in &config.warnings {
            say!(log, Warning, "config", "{warning}");
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let queue = Layout::new(config.queue_bytes, config.max_line_bytes, processors.max(FEWEST_SHARDS))
            .ok_or_else(|| Error::config("queue.bytes: too little for queue.max_line_bytes"))
            .and_then(|layout| {
                Queue::new(layout, config.max_line_bytes).map_err(|error| {
                    Error::io(format_args!("queue.bytes: cannot map {} bytes", config.queue_bytes), &error)
                })
            })?;
        let queue = Arc::new(queue);
        let front = Front::new(&queue).map_err(|error| Error::io("cannot set up the fork guard", &error))?;
        let front = Arc::new(front);
        let routes = Arc::new(Routes::new(Arc::clone(&front)));
        let first = KafkaSink::new(config, log.clone())?;
        let bootstrap_servers = first.bootstrap_servers();
        let another = first.beside();
        let sink = Shards::new(first, kafka::CLIENTS_PER_ENGINE, another);
        let shared = Arc::new(Shared {
            published: Published::new(queue.shards()),
            queue: Arc::clone(&queue),
            routes: Arc::clone(&routes),
            control: Control::default(),
            log: log.clone(),
        });
        let worker = Worker::new(config, Arc::clone(&shared), Box::new(sink))?;
        let file = config.clients_file.clone();
        let watch = Arc::new(Watch::new(file, routes, log.clone()));
        let mut threads = Vec::new();
        if config.clients_watch {
            threads.extend(watch.start()?);
        }
        match spawn(worker, Arc::clone(&shared)) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                watch.stop();
                return Err(error);
            }
        }
        let (threads, exit_timeout) = (Mutex::new(threads), config.exit_timeout);
        Ok(Arc::new(Inner { front, queue, shared, watch, threads, bootstrap_servers, exit_timeout }))
    }

    fn push(&self, client: Option<&[u8]>, line: &[u8]) -> Result<(), tel_error> {
        self.queue.push(client, without_newline(line)).map_err(refusal)
    }

    fn close(&self, timeout: Option<Duration>) -> Result<(), tel_error> {
        self.watch.stop();
        let result = self.shared.control.close(timeout);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // A thread that hangs beyond the deadline is left behind; the others are at their last instruction.
        let deadline = Instant::now() + JOIN;
        for thread in threads {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_micros(200));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
        self.shared.log.close(LAST_WORD);
        result
    }

    fn flush(&self, timeout: Option<Duration>) -> Result<(), tel_error> {
        // Nothing is on its way: not even a timeout of nothing is too short.
        if self.stats().in_flight == 0 {
            return Ok(());
        }
        self.shared.control.flush(timeout)
    }

    fn stats(&self) -> tel_stats {
        let table = self.shared.routes.table();
        self.shared.published.read(|ledger, taken| {
            let pushed = self.queue.pushed(taken);
            tel_stats {
                submitted: pushed.submitted,
                recovered: 0,
                delivered: ledger.delivered,
                failed: ledger.failed,
                dropped_full: pushed.full + ledger.dropped_full,
                dropped_too_long: pushed.too_long,
                dropped_rate: ledger.dropped_rate,
                dropped_spool: 0,
                sampled_out: ledger.sampled_out,
                unknown_client: ledger.unknown_client,
                malformed: ledger.malformed,
                spooled: 0,
                in_flight: pushed.waiting + ledger.in_flight,
                sanitized: ledger.sanitized,
                bytes_submitted: ledger.bytes_taken,
                bytes_delivered: ledger.bytes_delivered,
                oldest_undelivered_ms: ledger.oldest_undelivered_ms,
                last_delivery_unix_ms: ledger.last_delivery_unix_ms,
                clients: table.len() as u64,
                clients_rejected: table.rejected,
                clients_revision: table.revision.unwrap_or(0),
            }
        })
    }

    fn stats_json(&self) -> Result<String, tel_error> {
        #[derive(Serialize)]
        struct Picture<'a> {
            version: &'a str,
            bootstrap_servers: &'a str,
            closing: bool,
            kafka_trouble: String,
            clients_trouble: String,
            total: tel_stats,
            clients: BTreeMap<String, ClientStats>,
        }
        // Where lines end is read before where they come from, here as everywhere.
        let clients = self.shared.routes.accounts().into_iter().collect();
        let picture = Picture {
            version: env!("CARGO_PKG_VERSION"),
            bootstrap_servers: &self.bootstrap_servers,
            closing: self.shared.control.is_closing(),
            kafka_trouble: self.shared.control.trouble(),
            clients_trouble: self.watch.trouble(),
            total: self.stats(),
            clients,
        };
        serde_json::to_string(&picture).map_err(|_| tel_error::TEL_ERR_INTERNAL)
    }
}

fn refusal(refused: PushError) -> tel_error {
    match refused {
        PushError::Full => tel_error::TEL_ERR_FULL,
        PushError::TooLong => tel_error::TEL_ERR_TOO_LONG,
        PushError::Closed => tel_error::TEL_ERR_CLOSED,
    }
}

fn spawn(worker: Worker, shared: Arc<Shared>) -> Result<JoinHandle<()>> {
    let desk = Arc::clone(&shared);
    let run = move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker.run())).is_err() {
            // A defect of ours must not take the host with it: it goes on without its log.
            desk.take_no_more();
            desk.control.broken();
            say!(desk.log, Error, "broken", "the worker has failed by a defect: no more lines are taken");
        }
    };
    let thread = std::thread::Builder::new().name("tel-worker".into()).spawn(run);
    let thread = thread.map_err(|error| Error::io("cannot start the worker's thread", &error))?;
    shared.control.set_worker(thread.thread().clone());
    Ok(thread)
}

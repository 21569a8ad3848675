//! The client list, followed from its topic: written to `clients.file` whenever it changes, for this teld and for every
//! other host on the machine, and acknowledged.
//!
//! ```text
//!  topic ──▶ reader ──▶ reading ──▶ list: judged ──▶ good: clients.file ──▶ hosts
//!                                     │                       │
//!                                     └──▶ refused            └──▶ acks ──▶ topic
//! ```
//! All of it is one thread's ([`follow`]), which lines know nothing of.

mod acks;
mod follow;
mod good;
mod kafka;
mod list;
#[allow(unsafe_code)] // librdkafka's own calls: a consumer without a group
mod reader;
mod reading;
#[allow(unsafe_code)] // librdkafka's own calls: topic ids
mod topic_id;
mod view;

pub use view::View;

use crate::config::SyncConfig;
use crate::wait::Stop;
use follow::Follower;
use std::path::PathBuf;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tel::{Level, Log, Producer};

/// How long the thread may take to end: connections are closed meanwhile.
const END: Duration = Duration::from_secs(2);

/// Where the list is put, and how Kafka is reached.
#[derive(Clone)]
pub struct Place {
    pub file: PathBuf,
    pub kafka: Arc<tel::Config>,
    /// Delivers by the list, if there is one here; its lines are told of in acknowledgements.
    pub producer: Option<Arc<Producer>>,
}

/// Follows the list that the configuration names.
pub struct Following {
    place: Option<Place>,
    log: Log,
    running: Mutex<Option<Running>>,
}

struct Running {
    sync: SyncConfig,
    stop: Arc<Stop>,
    view: Arc<Mutex<View>>,
    /// Says that the thread has ended.
    ended: Receiver<()>,
}

impl Following {
    /// Follows nothing yet. Without a place it never does.
    pub fn new(place: Option<Place>, log: Log) -> Following {
        Following { place, log, running: Mutex::default() }
    }

    /// Starts, stops or changes what is followed, if it is another list now, or under another name.
    ///
    /// # Errors
    /// Threads or descriptors are not to be had; there was no place for a list when teld was started.
    pub fn apply(&self, sync: Option<&SyncConfig>) -> Result<(), String> {
        let mut running = self.running();
        if running.as_ref().map(|running| &running.sync) == sync {
            return Ok(());
        }
        if let Some(before) = running.take() {
            self.end(before, END);
        }
        let Some(sync) = sync else { return Ok(()) };
        let place = self.place.as_ref().ok_or("sync takes effect when teld is started again: so does clients.file")?;
        *running = Some(self.start(sync.clone(), place.clone()).map_err(|error| format!("sync: {error}"))?);
        Ok(())
    }

    fn start(&self, sync: SyncConfig, place: Place) -> std::io::Result<Running> {
        let stop = Arc::new(Stop::new()?);
        let first = View { edge: sync.edge.clone(), topic: sync.topic.clone(), ..View::default() };
        let view = Arc::new(Mutex::new(first));
        let (file, topic) = (place.file.display().to_string(), sync.topic.clone());
        let follower = Follower::new(sync.clone(), place, self.log.clone(), Arc::clone(&stop), Arc::clone(&view))?;
        let (has_ended, ended) = channel();
        Builder::new().name("teld-sync".into()).spawn(move || {
            follower.run();
            // Nobody waits any more: it has taken too long.
            let _ = has_ended.send(());
        })?;
        self.log.say(Level::Info, "sync started", format_args!("sync: {file} follows the topic {topic}"));
        Ok(Running { sync, stop, view, ended })
    }

    /// Asks it to end, and does not wait.
    pub fn ask_to_stop(&self) {
        if let Some(running) = &*self.running() {
            running.stop.ask();
        }
    }

    /// Stops following; a thread that does not end in time is left behind.
    pub fn stop(&self, patience: Duration) {
        if let Some(running) = self.running().take() {
            self.end(running, patience.min(END));
        }
    }

    fn end(&self, running: Running, patience: Duration) {
        running.stop.ask();
        if running.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            self.log.say(Level::Warning, "sync end", format_args!("sync: does not end in time, and is left behind"));
        }
    }

    /// What it does now; `None` if nothing is followed.
    pub fn view(&self) -> Option<View> {
        let running = self.running();
        running.as_ref().map(|running| running.view.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

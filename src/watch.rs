//! Where the client list comes from: the file, read when told to or when it changes, or the host's own memory.

use crate::clients::ClientList;
use crate::error::{tel_error, Error, Result};
use crate::log::{say, Log};
use crate::process::with_signals_blocked;
use crate::route::Routes;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks at the file: within a second of a change it is read, also when a look comes too early for it.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// A list of a hundred thousand clients has about ten megabytes.
const MOST_BYTES: u64 = 1 << 30;

/// The list's file as it was last seen: a change of any of these is a change of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Seen {
    fn of(metadata: &Metadata) -> Seen {
        Seen {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What is known of the list.
#[derive(Default)]
struct State {
    /// The file as it was last read, whatever was in it; `None` if it was not there.
    seen: Option<Seen>,
    /// The list came from the host's memory: the file is left alone.
    from_memory: bool,
    /// Why the last list was not taken; empty if it was.
    trouble: String,
}

/// The client list's keeper.
pub struct Watch {
    file: Option<PathBuf>,
    routes: Arc<Routes>,
    log: Log,
    state: Mutex<State>,
    stopping: Mutex<bool>,
    stop: Condvar,
}

impl Watch {
    /// Reads the file for the first time. That it is missing or malformed is a state, not an error.
    pub fn new(file: Option<PathBuf>, routes: Arc<Routes>, log: Log) -> Watch {
        let watch = Watch {
            file,
            routes,
            log,
            state: Mutex::new(State::default()),
            stopping: Mutex::new(false),
            stop: Condvar::new(),
        };
        watch.look(true);
        watch
    }

    /// Looks at the file until [`Watch::stop`], in a thread of its own.
    ///
    /// # Errors
    /// `TEL_ERR_IO` if there is no thread to be had.
    pub fn start(self: &Arc<Self>) -> Result<Option<JoinHandle<()>>> {
        if self.file.is_none() {
            return Ok(None);
        }
        let watch = Arc::clone(self);
        let run = move || {
            let is_stopping = |stopping: &mut bool| !*stopping;
            loop {
                let stopping = watch.stopping.lock().unwrap_or_else(PoisonError::into_inner);
                let wait = watch.stop.wait_timeout_while(stopping, LOOK_EVERY, is_stopping);
                if *wait.unwrap_or_else(PoisonError::into_inner).0 {
                    return;
                }
                watch.look(false);
            }
        };
        let thread = with_signals_blocked(|| std::thread::Builder::new().name("tel-watch".into()).spawn(run));
        thread.map(Some).map_err(|error| Error::io("cannot start the thread that watches clients.file", &error))
    }

    /// Ends the thread.
    pub fn stop(&self) {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.notify_all();
    }

    /// Why the last list was not taken; empty if it was.
    pub fn trouble(&self) -> String {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }

    /// Reads the file if it has changed since it was last read.
    fn look(&self, first: bool) {
        let Some(file) = &self.file else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.from_memory {
            return;
        }
        // Before it is read: a change in between is then found by the next look.
        let seen = fs::metadata(file).ok().as_ref().map(Seen::of);
        if seen == state.seen && !first {
            return;
        }
        state.seen = seen;
        if seen.is_none() && !first {
            say!(self.log, Warning, "clients", "{}: gone; the client list before stays", file.display());
            return;
        }
        let current = self.routes.table().revision;
        let result = read(file).and_then(|list| match (current, list.revision) {
            (Some(current), Some(revision)) if revision < current => Err(Error::clients(format!(
                "{}: revision {revision} is older than the current {current}",
                file.display()
            ))),
            _ => {
                self.take(list);
                Ok(())
            }
        });
        state.trouble = match result {
            Ok(()) => String::new(),
            Err(error) => {
                say!(self.log, Warning, "clients", "the client list was not taken, the one before stays: {error}");
                error.to_string()
            }
        };
    }

    /// Reads `path`, or the configured file, now, whatever its revision; the file is watched again from here on.
    ///
    /// # Errors
    /// `TEL_ERR_INVALID` without any file, `TEL_ERR_IO` if it cannot be read, `TEL_ERR_CLIENTS` if it is no list.
    pub fn reload(&self, path: Option<&Path>) -> Result<()> {
        let Some(path) = path.or(self.file.as_deref()) else {
            return Err(Error::new(tel_error::TEL_ERR_INVALID, "no path given, and clients.file is not configured"));
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The configured file as it is now is no change to come: it is what is read here, or is passed over.
        let seen = self.file.as_ref().and_then(|file| fs::metadata(file).ok()).as_ref().map(Seen::of);
        let result = read(path).map(|list| {
            self.take(list);
            state.seen = seen;
            state.from_memory = false;
        });
        state.trouble = result.as_ref().err().map(Error::to_string).unwrap_or_default();
        result
    }

    /// Takes the list from memory; the file is left alone until the next [`Watch::reload`].
    ///
    /// # Errors
    /// `TEL_ERR_CLIENTS` if it is no list.
    pub fn set(&self, json: &[u8]) -> Result<()> {
        let list = ClientList::from_json(json)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.take(list);
        state.from_memory = true;
        state.trouble.clear();
        Ok(())
    }

    /// Swaps the table. Called with the state locked, so that lists are taken one after the other.
    fn take(&self, list: ClientList) {
        for reason in &list.reasons {
            say!(self.log, Warning, "clients-entry", "client list: left out: {reason}");
        }
        let more = list.rejected - list.reasons.len() as u64;
        if more > 0 {
            say!(self.log, Warning, "clients-entries", "client list: {more} more entries left out");
        }
        let (clients, revision) = (list.clients.len(), list.revision);
        self.routes.replace(list);
        match revision {
            Some(revision) => {
                say!(self.log, Info, "clients-taken", "client list: {clients} clients, revision {revision}")
            }
            None => say!(self.log, Info, "clients-taken", "client list: {clients} clients"),
        }
    }
}

fn read(path: &Path) -> Result<ClientList> {
    let failed = |error: io::Error| Error::io(path.display(), &error);
    // Without waiting: opening a named pipe would wait for its writer.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::clients(format!("{}: not a regular file", path.display())));
    }
    if metadata.len() > MOST_BYTES {
        return Err(Error::clients(format!("{}: too large for a client list", path.display())));
    }
    let mut text = Vec::with_capacity(metadata.len() as usize);
    file.take(MOST_BYTES).read_to_end(&mut text).map_err(failed)?;
    ClientList::from_json(&text).map_err(|error| Error::clients(format!("{}: {error}", path.display())))
}

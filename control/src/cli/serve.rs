//! `serve`: the API, the panel, the reconciler and what is seen of edges and consumers, in one process.

use super::{service, Done, Failure};
use crate::app::App;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::{http, log, observe, reconcile};
use std::future::Future;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Requests and calls to Kafka that are under way may take so long when it ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT; a second one ends it at once.
pub fn run(config: Config) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::unavailable(format!("the system refuses threads: {error}")))?;
    let done = runtime.block_on(serve(config));
    // A call to Kafka that does not come back holds up the end no longer.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn serve(config: Config) -> Done {
    let mut signals = Signals::new()?;
    let app = open(config).await?;
    let mut parts = [
        // First to end: nothing more is asked for.
        Part::start("http", |stop| http::serve(app.clone(), stop)),
        Part::start("observing", |stop| observe::run(app.clone(), stop)),
        Part::start("reconciling", |stop| reconcile::run(app.clone(), stop)),
    ];
    let mut ended = None;
    tokio::select! {
        which = any_ends(&mut parts) => ended = Some(which),
        () = async { ready(&app).await; signals.next().await } => {}
    }
    service::stopping();
    log::notice("stopping");
    let done = tokio::select! {
        done = stop(&mut parts, ended) => done,
        () = signals.next() => Err(Error::unavailable("ended at once, as asked")),
    };
    app.store().close().await;
    done.map_err(Failure::Failed)
}

/// Opens all that the configuration names.
pub(super) async fn open(config: Config) -> std::result::Result<App, Failure> {
    App::open(config).await.map_err(|error| match error.kind {
        Kind::Invalid => Failure::Config(error),
        // The authority, which `init` makes.
        Kind::NotFound => Failure::Config(Error { text: format!("{error}; run tel-control init first"), ..error }),
        _ => Failure::Failed(error),
    })
}

/// Waits until the command line's socket answers, and says so.
async fn ready(app: &App) {
    let config = app.config();
    while UnixStream::connect(&config.control_socket).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = format!("serving {}, database {}", config.panel(), app.store().place());
    log::notice(&status);
    service::ready(&status);
}

/// A part of what is served.
struct Part {
    name: &'static str,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<()>>,
}

impl Part {
    fn start<W>(name: &'static str, work: impl FnOnce(watch::Receiver<bool>) -> W) -> Part
    where
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        Part { name, stop, task: tokio::spawn(work(stopped)) }
    }

    /// How it ended.
    async fn end(&mut self) -> Result<()> {
        let done = (&mut self.task).await;
        let done = done.unwrap_or_else(|error| Err(Error::unavailable(format!("broke off: {error}"))));
        done.map_err(|error| Error { text: format!("{}: {}", self.name, error.text), ..error })
    }
}

/// Waits for the first part that ends of its own accord, which none should; its place, and how it ended.
async fn any_ends(parts: &mut [Part; 3]) -> (usize, Result<()>) {
    let [http, observing, reconciling] = parts;
    tokio::select! {
        done = http.end() => (0, done),
        done = observing.end() => (1, done),
        done = reconciling.end() => (2, done),
    }
}

/// Ends the parts, one after the other; what went wrong first.
async fn stop(parts: &mut [Part; 3], ended: Option<(usize, Result<()>)>) -> Result<()> {
    let (over, mut done) = match ended {
        Some((which, Ok(()))) => (Some(which), Err(Error::unavailable(format!("{}: ended", parts[which].name)))),
        Some((which, failed)) => (Some(which), failed),
        None => (None, Ok(())),
    };
    for (which, part) in parts.iter_mut().enumerate() {
        let _ = part.stop.send(true);
        if over == Some(which) {
            continue;
        }
        let end = match tokio::time::timeout(PATIENCE, part.end()).await {
            Ok(end) => end,
            Err(_) => {
                part.task.abort();
                Err(Error::unavailable(format!("{}: did not end within {} s", part.name, PATIENCE.as_secs())))
            }
        };
        done = done.and(end);
    }
    done
}

/// The signals that ask to end.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let refused = |error| Error::unavailable(format!("signals: {error}"));
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

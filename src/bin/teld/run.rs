//! `teld run` and `teld check`.

use crate::config::Config;
use crate::inputs::Totals;
use crate::signals::{self, Signal};
use crate::status;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{mpsc, Arc};
use std::time::Duration;
use tel::{Log, Producer};

/// How long the lines under way may take once the inputs have ended, or an end was asked for.
const DRAIN: Duration = Duration::from_secs(30);
/// The library's own limit decides what is too long; this one only bounds the memory of reading.
const MOST_LINE: usize = (1 << 20) + 2;

enum Event {
    Asked(Signal),
    InputEnded { name: String, result: io::Result<Totals> },
}

impl From<Signal> for Event {
    fn from(signal: Signal) -> Event {
        Event::Asked(signal)
    }
}

/// Says whether the configuration is right.
pub fn check(file: &Path) -> ExitCode {
    match Config::read(file) {
        Ok(config) => {
            let names: Vec<&str> = config.inputs.iter().map(|input| input.name.as_str()).collect();
            println!("{}: right; inputs: {}", file.display(), names.join(", "));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("teld: {error}");
            ExitCode::from(status::CONFIG)
        }
    }
}

/// Delivers the lines of all inputs, to their end or until a signal.
pub fn run(file: &Path) -> ExitCode {
    let (events, inbox) = mpsc::channel();
    if let Err(error) = signals::watch(events.clone()) {
        eprintln!("teld: cannot wait for signals: {error}");
        return ExitCode::from(status::INPUT);
    }
    let started = Config::read(file).and_then(|config| {
        let producer = Producer::new(&config.producer, Log::stderr()).map_err(|error| format!("producer: {error}"))?;
        Ok((config, Arc::new(producer)))
    });
    let (config, producer) = match started {
        Ok(started) => started,
        Err(error) => {
            eprintln!("teld: {error}");
            return ExitCode::from(status::CONFIG);
        }
    };

    let mut running = config.inputs.len();
    let mut failed = false;
    for input in config.inputs {
        let (events, producer) = (events.clone(), Arc::clone(&producer));
        let name = input.name.clone();
        let read = move || {
            let result = input.source.submit_all(&producer, MOST_LINE);
            let _ = events.send(Event::InputEnded { name: input.name, result });
        };
        if let Err(error) = std::thread::Builder::new().name(format!("teld-{name}")).spawn(read) {
            eprintln!("teld: inputs.{name}: cannot start its thread: {error}");
            failed = true;
            running -= 1;
        }
    }
    while running > 0 {
        match inbox.recv() {
            Ok(Event::Asked(Signal::Reload)) => {
                if let Err(error) = producer.reload_clients(None) {
                    eprintln!("teld: the client list was not read again: {error}");
                }
            }
            Ok(Event::Asked(Signal::End)) | Err(_) => break,
            Ok(Event::InputEnded { name, result }) => {
                running -= 1;
                match result {
                    Ok(totals) => {
                        eprintln!("teld: inputs.{name}: ended, {} lines, {} bytes", totals.lines, totals.bytes)
                    }
                    Err(error) => {
                        eprintln!("teld: inputs.{name}: {error}");
                        failed = true;
                    }
                }
            }
        }
    }
    end(&producer, failed)
}

fn end(producer: &Producer, failed: bool) -> ExitCode {
    let closed = producer.close(Some(DRAIN));
    if let Ok(stats) = producer.stats() {
        eprintln!(
            "teld: submitted {} = delivered {} + failed {} + dropped {} + left out {} + unknown client {} + malformed {}",
            stats.submitted,
            stats.delivered,
            stats.failed,
            stats.dropped_full + stats.dropped_too_long + stats.dropped_rate + stats.dropped_spool,
            stats.sampled_out,
            stats.unknown_client,
            stats.malformed,
        );
    }
    match (closed, failed) {
        (Ok(()), false) => ExitCode::SUCCESS,
        (Ok(()), true) => ExitCode::from(status::INPUT),
        (Err(_), _) => ExitCode::from(status::GIVEN_UP),
    }
}

//! `teld demo`: the main job on the embedded broker. Real access lines go in for clients with the service, and for some
//! without; what each client's topic received is read back from the broker; and every line is accounted for.

mod screen;
mod traffic;

use screen::Screen;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tel::{tel_error, Log, Producer, Reader};
use traffic::Traffic;

/// How long lines are submitted.
const DURATION: Duration = Duration::from_secs(5);
/// How many a second, about.
const RATE: u32 = 20_000;
/// Between two pictures.
const PICTURE: Duration = Duration::from_millis(500);

/// Short batching, so that something is to be seen at once; otherwise the defaults.
const CONFIG: &str = r#"{"embedded_broker": true, "kafka": {"linger.ms": 200}}"#;

/// What was read back of a topic.
#[derive(Clone, Default)]
pub struct Received {
    /// Lines.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The newest.
    pub last: String,
}

/// Runs the demo with the access lines of `file`, or its own.
pub fn demo(file: Option<&Path>) -> ExitCode {
    match try_demo(file) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("teld demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Submits, waiting for room.
fn submit_patiently(producer: &Producer, line: &[u8]) {
    while producer.submit(line) == Err(tel_error::TEL_ERR_FULL) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether everything was accounted for.
fn try_demo(file: Option<&Path>) -> Result<bool, String> {
    let mut traffic = Traffic::new(file)?;
    let producer = Producer::new(CONFIG, Log::stderr()).map_err(|error| error.to_string())?;
    producer.set_clients(traffic::CLIENTS.as_bytes()).map_err(|error| error.to_string())?;
    println!(
        "An embedded Kafka broker listens on {}; {} real access lines go round for {} clients with the service.\n",
        producer.bootstrap_servers(),
        traffic.lines(),
        traffic::TOPICS.len()
    );

    let received = Arc::new(Mutex::new(BTreeMap::new()));
    let reading = Arc::new(AtomicBool::new(true));
    let reader = read_back(producer.bootstrap_servers(), Arc::clone(&received), Arc::clone(&reading))?;

    let mut screen = Screen::new();
    let start = Instant::now();
    let (mut sent, mut next_picture) = (0, start + PICTURE);
    while start.elapsed() < DURATION {
        while f64::from(sent) < start.elapsed().as_secs_f64() * f64::from(RATE) {
            submit_patiently(&producer, traffic.next());
            sent += 1;
        }
        if Instant::now() >= next_picture {
            next_picture += PICTURE;
            screen.draw(&producer, &snapshot(&received), start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    producer.flush(Some(Duration::from_secs(10))).map_err(|error| format!("the last lines: {error:?}"))?;
    let stats = producer.stats().map_err(|error| format!("{error:?}"))?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let read = || snapshot(&received).values().map(|topic| topic.lines).sum::<u64>();
    while read() < stats.delivered && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    reading.store(false, Ordering::Relaxed);
    let _ = reader.join();
    let received = snapshot(&received);
    screen.draw(&producer, &received, start.elapsed());
    Ok(screen.conclude(&stats, &received))
}

fn snapshot(received: &Mutex<BTreeMap<String, Received>>) -> BTreeMap<String, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Reads the clients' topics back, in a thread of its own.
fn read_back(
    servers: &str,
    received: Arc<Mutex<BTreeMap<String, Received>>>,
    reading: Arc<AtomicBool>,
) -> Result<std::thread::JoinHandle<()>, String> {
    let topics: Vec<String> = traffic::TOPICS.iter().map(|topic| (*topic).to_owned()).collect();
    let reader = Reader::new(servers, &topics).map_err(|error| error.to_string())?;
    let read = move || {
        while reading.load(Ordering::Relaxed) {
            let Some((topic, line)) = reader.next(Duration::from_millis(100)) else { continue };
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            let topic = received.entry(topic).or_default();
            topic.lines += 1;
            topic.bytes += line.len() as u64;
            topic.last = String::from_utf8_lossy(&line).into_owned();
        }
    };
    std::thread::Builder::new().name("demo-reader".into()).spawn(read).map_err(|error| error.to_string())
}

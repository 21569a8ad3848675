//! The client list changes under four threads that submit into a real Kafka.

mod common;

use common::account::Account;
use common::kafka::shared;
use common::stream::{Arrivals, Stream, Worst};
use common::{client_list, replace_file, Folder};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tel::{tel_error, Log, Producer};

const THREADS: usize = 4;
const RELOADS: u64 = 1000;
/// After a removal is made known, no line of the client may be handed over later than this.
const REMOVED: Duration = Duration::from_secs(1);

/// Microseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64
}

fn quiet() -> Log {
    Log::new(Box::new(|_, _| {}))
}

/// Spans of time. Of a submitted line: just before the call, and just after.
type Moments = Vec<(u64, u64)>;

/// Threads that submit `count` lines at a time for `client`, each naming its thread and number, and note when.
struct Noted {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Moments>>,
}

impl Noted {
    fn start(producer: &Arc<Producer>, client: &'static str) -> Noted {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..THREADS)
            .map(|thread| {
                let (producer, stop) = (Arc::clone(producer), Arc::clone(&stop));
                std::thread::spawn(move || {
                    let mut moments = Moments::new();
                    while !stop.load(Ordering::Relaxed) {
                        let line = format!("{client} {thread} {}", moments.len());
                        let before = now();
                        producer.submit(line.as_bytes()).expect("accepted");
                        moments.push((before, now()));
                        std::thread::sleep(Duration::from_micros(500));
                    }
                    moments
                })
            })
            .collect();
        Noted { stop, threads }
    }

    fn end(self) -> Vec<Moments> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a submitting thread")).collect()
    }
}

#[test]
fn a_thousand_reloads_a_third_malformed_lose_nothing_and_send_nothing_for_a_client_not_listed() {
    let kafka = shared();
    let folder = Folder::new("reload");
    let list = folder.file("clients.json");
    // The never-listed client has a topic, so that its lines could be sent.
    let always = ["a0", "a1", "a2", "a3", "a4"];
    kafka.admin(&always.iter().chain(&["toggled", "never"]).map(|id| format!("topic logs.{id}\n")).collect::<String>());
    let with: Vec<&str> = always.iter().copied().chain(["toggled"]).collect();
    replace_file(&list, &client_list(1, "logs.", always));
    let config = kafka.config("edge", Some(&list), json!({"linger.ms": 100}));
    let producer = Arc::new(Producer::new(&config, quiet()).expect("a producer"));

    let stream = Stream::start(&producer, THREADS, 1, &always);
    let toggled = Noted::start(&producer, "toggled");
    let never = Noted::start(&producer, "never");

    let malformed = [
        "",
        "{",
        "[]",
        "null",
        r#"{"clients": 5}"#,
        r#"{"clients": [{"id": "toggled"}"#,
        "\u{0}",
        r#"{"revision": -1, "clients": []}"#,
    ];
    // The times in which the client was certainly off, and on: from after a change to before the flush ahead of the
    // next one. What is submitted then is routed by the list of that time; otherwise it may be by the next.
    let (mut off, mut on) = (Moments::new(), Moments::new());
    let mut is_on = false;
    let mut since = 0;
    let start = Instant::now();
    for reload in 0..RELOADS {
        if reload % 3 == 1 {
            replace_file(&list, malformed[(reload / 3) as usize % malformed.len()]);
            let error = producer.reload_clients(None).expect_err("a malformed list is refused");
            assert_eq!(error.kind(), tel_error::TEL_ERR_CLIENTS);
        } else {
            // Seldom enough in the first half that there is time in between; with every list in the second.
            let toggles = if reload < RELOADS / 2 { reload % 30 == 0 } else { true };
            if toggles && reload <= RELOADS / 2 {
                if is_on { &mut on } else { &mut off }.push((since, now()));
                producer.flush(Some(Duration::from_secs(30))).expect("delivered");
            }
            is_on ^= toggles;
            replace_file(&list, &client_list(2 + reload, "logs.", if is_on { &with[..] } else { &always[..] }));
            producer.reload_clients(None).expect("a good list is taken");
            if toggles {
                since = now();
            }
        }
        let stats = producer.stats().expect("statistics");
        assert_eq!(stats.clients, if is_on { 6 } else { 5 }, "reload {reload}");
        assert_eq!((producer.wants(b"toggled"), producer.wants(b"a0"), producer.wants(b"never")), (is_on, true, false));
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = start.elapsed();

    // On for long enough that lines are on their way, and then off for good.
    replace_file(&list, &client_list(9000, "logs.", &with));
    producer.reload_clients(None).expect("taken");
    std::thread::sleep(Duration::from_millis(500));
    replace_file(&list, &client_list(9001, "logs.", always));
    producer.reload_clients(None).expect("taken");
    let removed = now();
    std::thread::sleep(REMOVED + Duration::from_millis(500));
    off.push((removed, u64::MAX));

    let (submitted, toggled, never) = (stream.end(), toggled.end(), never.end());
    producer.flush(Some(Duration::from_secs(60))).expect("all delivered");
    let account = Account::read(&producer);
    account.assert_exact();

    let mut arrivals = Arrivals::default();
    let always_topics: Vec<String> = always.iter().map(|id| format!("logs.{id}")).collect();
    let read = kafka.read("admin", always_topics.iter().map(String::as_str), |record| {
        arrivals.note(record.topic, record.partition, record.value);
    });
    let delivered_always = read.expect("readable");
    for (thread, submitted) in submitted.iter().enumerate() {
        assert_eq!(submitted.refused, [0; 0]);
        assert_eq!(arrivals.missing(thread, submitted), [0; 0], "an always-listed client's lines of thread {thread}");
    }
    assert_eq!(arrivals.duplicates, 0);

    let mut arrived: HashSet<(usize, usize)> = HashSet::new();
    let mut next: HashMap<usize, usize> = HashMap::new();
    let mut latest = 0;
    let read = kafka.read("admin", ["logs.toggled"], |record| {
        let text = std::str::from_utf8(record.value).expect("text");
        let (thread, number) = text.split_once(' ').expect("two words");
        let (thread, number) = (thread.parse().expect("a thread"), number.parse().expect("a number"));
        assert!(arrived.insert((thread, number)), "{text} came twice");
        let next = next.entry(thread).or_default();
        assert!(number >= *next, "thread {thread}: {number} came after {next}");
        *next = number + 1;
        latest = latest.max(record.timestamp_ms as u64 * 1000);
    });
    let delivered_toggled = read.expect("readable");
    let (mut sent_on, mut kept_off) = (0, 0);
    for (thread, moments) in toggled.iter().enumerate() {
        for (number, (before, after)) in moments.iter().enumerate() {
            let within = |times: &[(u64, u64)]| times.iter().any(|(from, to)| before > from && after < to);
            let has_arrived = arrived.contains(&(thread, number));
            if within(&off) {
                assert!(
                    !has_arrived,
                    "thread {thread}'s line {number}, submitted while its client was not listed, was sent"
                );
                kept_off += 1;
            }
            if within(&on) {
                assert!(has_arrived, "thread {thread}'s line {number}, submitted while its client was listed, is lost");
                sent_on += 1;
            }
        }
    }
    assert!(
        latest <= removed + REMOVED.as_micros() as u64,
        "a line was handed over {} us after the removal",
        latest - removed
    );
    assert_eq!(kafka.read("admin", ["logs.never"], |_| ()), Ok(0));

    let count = |of: &[Moments]| of.iter().map(|moments| moments.len() as u64).sum::<u64>();
    let (toggled, never) = (count(&toggled), count(&never));
    let stream: u64 = submitted.iter().map(|thread| u64::from(thread.lines)).sum();
    assert_eq!(account.total("submitted"), stream + toggled + never);
    assert_eq!(account.total("delivered"), delivered_always + delivered_toggled);
    assert_eq!(account.total("unknown_client") + account.total("failed"), never + toggled - delivered_toggled);
    assert_eq!(account.client("toggled", "failed"), account.total("failed"));
    assert!(sent_on > 1000 && kept_off > 1000, "too few to show anything: {sent_on} while on, {kept_off} while off");
    println!(
        "{RELOADS} reloads in {took:.1?} under {stream} lines of listed clients; of the toggled client's {toggled} lines \
         {kept_off} were submitted while it was certainly off and {sent_on} while on; {delivered_toggled} were delivered, \
         {} given up when it went",
        account.total("failed"),
    );
}

/// The longest time in which the number of delivered lines stood still while `work` ran.
fn longest_gap(producer: &Arc<Producer>, work: impl FnOnce()) -> Duration {
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (producer, stop) = (Arc::clone(producer), Arc::clone(&stop));
        std::thread::spawn(move || {
            let delivered = || producer.stats().expect("statistics").delivered;
            let (mut last, mut since, mut longest) = (delivered(), Instant::now(), Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                let now = delivered();
                if now != last {
                    (last, since) = (now, Instant::now());
                }
                longest = longest.max(since.elapsed());
            }
            longest
        })
    };
    work();
    stop.store(true, Ordering::Relaxed);
    watcher.join().expect("the watching thread")
}

#[test]
fn a_hundred_thousand_clients_load_without_a_pause_of_the_stream() {
    const MANY: usize = 100_000;
    let kafka = shared();
    let folder = Folder::new("many");
    kafka.admin("topic logs.m0\ntopic logs.m1\ntopic logs.m2");
    let always = ["m0", "m1", "m2"];
    let (few, many) = (folder.file("few.json"), folder.file("many.json"));
    replace_file(&few, &client_list(1, "logs.", always));
    let ids: Vec<String> =
        always.iter().map(|id| (*id).to_owned()).chain((0..MANY).map(|n| format!("many-{n}"))).collect();
    replace_file(&many, &client_list(2, "logs.", &ids));
    let config = kafka.config("edge", Some(&few), json!({"linger.ms": 20}));
    let producer = Arc::new(Producer::new(&config, quiet()).expect("a producer"));
    let stream = Stream::start(&producer, THREADS, 2, &always);
    common::wait_until("deliveries", Duration::from_secs(30), || {
        producer.stats().expect("statistics").delivered > 1000
    });

    let without = longest_gap(&producer, || std::thread::sleep(Duration::from_secs(2)));
    let mut loads = Vec::new();
    let during = longest_gap(&producer, || {
        for _ in 0..5 {
            let start = Instant::now();
            producer.reload_clients(Some(&many)).expect("taken");
            loads.push(start.elapsed());
            assert_eq!(producer.stats().expect("statistics").clients, (MANY + always.len()) as u64);
            assert!(producer.wants(b"many-99999"));
            std::thread::sleep(Duration::from_millis(200));
            producer.reload_clients(Some(&few)).expect("taken");
            assert_eq!(producer.stats().expect("statistics").clients, always.len() as u64);
        }
    });
    let submitted = stream.end();
    producer.flush(Some(Duration::from_secs(60))).expect("all delivered");
    let account = Account::read(&producer);
    account.assert_exact();
    let worst = submitted.iter().map(|thread| thread.worst).fold(Worst::default(), Worst::or);
    println!(
        "loading {MANY} clients took {:?} to {:?}; longest time without a delivery {during:?}, without loading {without:?}; \
         slowest submit {:?}, {:?} of its own",
        loads.iter().min().expect("loads"),
        loads.iter().max().expect("loads"),
        worst.wall,
        worst.own,
    );
    assert_eq!(account.total("delivered"), submitted.iter().map(|thread| u64::from(thread.lines)).sum::<u64>());
    assert!(during < Duration::from_secs(1), "the stream paused for {during:?}");
    assert!(worst.own < Duration::from_millis(50), "{worst:?}");
}

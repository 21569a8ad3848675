//! The main job on a real Kafka over mutual TLS: every line of every enabled client arrives in its own topic.

mod common;

use common::account::Account;
use common::kafka::shared;
use common::lines::{number_of, real_lines, Generator};
use common::stream::{Arrivals, Stream};
use common::{client_list, replace_file, root, Folder};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tel::{Log, Producer};

const THREADS: usize = 4;
const GENERATED: usize = 1_000_000;
const CLIENTS: usize = 100;
/// One real line comes behind so many generated ones.
const REAL_EVERY: usize = 100;
/// Real lines go round so many ids. As the threads' number divides it, and one more than [`REAL_EVERY`] lines is one
/// more than a multiple of it, all real lines of one id are submitted by one thread: their topic has one right content,
/// although the same line occurs more than once.
const REAL_IDS: usize = 12;

/// Builds the C example as any program would be built, against the staged library.
fn c_example(name: &str, out: &Path) -> PathBuf {
    let stage = root().join("target/stage/lib/pkgconfig");
    assert!(stage.join("tel.pc").exists(), "{}: no tel.pc: run `make stage` first", stage.display());
    let built = Command::new("make")
        .arg("-s")
        .arg("-C")
        .arg(root().join("examples/c"))
        .arg(format!("OUT={}", out.display()))
        .arg(format!("{}/{name}", out.display()))
        .env("PKG_CONFIG_PATH", stage)
        .output()
        .expect("make is needed to build the C example");
    assert!(built.status.success(), "make: {}", String::from_utf8_lossy(&built.stderr));
    out.join(name)
}

/// What was submitted, and what must come of it.
struct Input {
    text: String,
    /// Of each generated line: its client, and where its value is.
    generated: Vec<(usize, std::ops::Range<usize>)>,
    /// By topic: the real lines, in order.
    real: BTreeMap<String, Vec<String>>,
    lines: u64,
    unknown: u64,
    malformed: u64,
}

/// Clients `c0` to `c99` have the generated lines, `real0` to `real7` real ones; the ids of the other real lines are
/// not listed, or none.
fn input() -> Input {
    let mut made = Input {
        text: String::with_capacity(270 * GENERATED),
        generated: Vec::with_capacity(GENERATED),
        real: BTreeMap::new(),
        lines: 0,
        unknown: 0,
        malformed: 0,
    };
    let mut generator = Generator::new(CLIENTS);
    let mut real = real_lines().into_iter().enumerate();
    for number in 0..GENERATED {
        let start = made.text.len();
        let client = generator.line(number, &mut made.text);
        let value = start + format!("c{client} ").len();
        made.generated.push((client, value..made.text.len() - 1));
        made.lines += 1;
        if (number + 1) % REAL_EVERY == 0 {
            let Some((index, line)) = real.next() else { continue };
            let id = match index % REAL_IDS {
                known @ 0..=7 => {
                    let id = format!("real{known}");
                    made.real.entry(format!("logs.{id}")).or_default().push(line.clone());
                    id
                }
                unlisted @ 8..=9 => {
                    made.unknown += 1;
                    format!("unlisted{unlisted}")
                }
                10 => {
                    made.malformed += 1;
                    "no/id".into()
                }
                _ => {
                    made.malformed += 1;
                    String::new()
                }
            };
            made.text.push_str(&format!("{id} {line}\n"));
            made.lines += 1;
        }
    }
    assert!(real.next().is_none(), "all real lines are used");
    made
}

/// Every fourth client's topic has three partitions.
fn partitions(client: usize) -> usize {
    if client % 4 == 0 {
        3
    } else {
        1
    }
}

#[test]
fn a_million_lines_from_four_threads_arrive_whole_in_order_and_only_in_their_own_topics() {
    let kafka = shared();
    let folder = Folder::new("delivery");
    let example = c_example("threads", folder.path());
    let input = input();
    let ids: Vec<String> =
        (0..CLIENTS).map(|client| format!("c{client}")).chain((0..8).map(|real| format!("real{real}"))).collect();
    let before: HashSet<String> = kafka.topics().into_iter().collect();
    kafka.admin(
        &ids.iter()
            .map(|id| {
                let partitions = id[1..].parse().map_or(1, partitions);
                format!("topic logs.{id} {partitions}\n")
            })
            .collect::<String>(),
    );
    replace_file(&folder.file("clients.json"), &client_list(1, "logs.", &ids));
    let config = kafka.config("edge", Some(&folder.file("clients.json")), json!({}));
    replace_file(&folder.file("tel.json"), &config);
    replace_file(&folder.file("input"), &input.text);

    let start = Instant::now();
    let output = Command::new(example)
        .args([folder.file("tel.json"), folder.file("input")])
        .arg(THREADS.to_string())
        .output()
        .expect("the example runs");
    let took = start.elapsed();
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {says}", output.status);

    let account = Account::of(&String::from_utf8_lossy(&output.stdout));
    account.assert_exact();
    let listed = GENERATED as u64 + input.real.values().map(|lines| lines.len() as u64).sum::<u64>();
    assert_eq!(account.total("delivered"), listed);
    assert_eq!(account.total("unknown_client"), input.unknown);
    assert_eq!(account.total("malformed"), input.malformed);
    // A line that meets a full queue is counted, and submitted again.
    assert_eq!(account.total("submitted") - account.total("dropped_full"), input.lines);
    assert_eq!(account.total("in_flight") + account.total("failed") + account.total("sanitized"), 0);
    assert_eq!(account.total("clients"), ids.len() as u64);

    // No topic has come into being, and those there are hold exactly what was delivered.
    let topics: Vec<String> = kafka.topics().into_iter().filter(|topic| !before.contains(topic)).collect();
    let mut expected: Vec<String> = ids.iter().map(|id| format!("logs.{id}")).collect();
    expected.sort();
    assert_eq!(topics, expected);

    let text = input.text.as_bytes();
    let mut seen = vec![false; GENERATED];
    let mut last: HashMap<(usize, i32, usize), usize> = HashMap::new();
    let mut used: HashMap<usize, HashSet<i32>> = HashMap::new();
    let mut real: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut bytes = 0;
    let start = Instant::now();
    let read = kafka.read("admin", topics.iter().map(String::as_str), |record| {
        assert!(!record.has_key);
        bytes += record.value.len() as u64;
        if record.topic.starts_with("logs.real") {
            let line = String::from_utf8(record.value.to_vec()).expect("text");
            return real.entry(record.topic.to_owned()).or_default().push(line);
        }
        let number = number_of(record.value).expect("the number of a generated line");
        let (client, ref value) = input.generated[number];
        assert_eq!(record.value, &text[value.clone()], "every byte");
        assert_eq!(record.topic, format!("logs.c{client}"));
        assert!(!std::mem::replace(&mut seen[number], true), "line {number} came twice");
        // The place among all lines says which thread submitted it.
        let thread = (number + number / REAL_EVERY) % THREADS;
        if let Some(before) = last.insert((client, record.partition, thread), number) {
            assert!(before < number, "client c{client}, thread {thread}: {number} came after {before}");
        }
        used.entry(client).or_default().insert(record.partition);
    });
    assert_eq!(read.expect("the admin may read"), account.total("delivered"));
    assert!(seen.iter().all(|seen| *seen), "every generated line came");
    assert!(real == input.real, "the real lines came, in order");
    assert_eq!(bytes, account.total("bytes_delivered"));
    for (client, partitions_used) in used {
        // The quiet clients have too few batches to be sure of.
        if client < 40 {
            assert_eq!(partitions_used.len(), partitions(client), "partitions used of logs.c{client}");
        }
    }
    println!(
        "{} lines of {} bytes in {took:.1?}, {:.0} lines/s; read back in {:.1?}; {} retries on a full queue",
        input.lines,
        input.text.len(),
        input.lines as f64 / took.as_secs_f64(),
        start.elapsed(),
        account.total("dropped_full"),
    );
}

#[test]
fn batches_are_spread_over_three_partitions_and_each_keeps_the_order_of_every_thread() {
    let kafka = shared();
    kafka.admin("topic logs.spread 3");
    let config = kafka.config("edge", None, json!({"linger.ms": 20, "batch.num.messages": 50}));
    let producer = Arc::new(Producer::new(&config, Log::stderr()).expect("a producer"));
    producer.set_clients(client_list(1, "logs.", ["spread"]).as_bytes()).expect("a list");
    let stream = Stream::start(&producer, THREADS, 5, &["spread"]);
    std::thread::sleep(Duration::from_secs(2));
    let submitted = stream.end();
    producer.flush(Some(Duration::from_secs(30))).expect("all delivered");
    let account = Account::read(&producer);
    account.assert_exact();

    let mut arrivals = Arrivals::default();
    let mut partitions: BTreeMap<i32, u64> = BTreeMap::new();
    let read = kafka.read("admin", ["logs.spread"], |record| {
        arrivals.note(record.topic, record.partition, record.value);
        *partitions.entry(record.partition).or_default() += 1;
    });
    assert_eq!(read.expect("readable"), account.total("delivered"));
    for (thread, submitted) in submitted.iter().enumerate() {
        assert_eq!(arrivals.missing(thread, submitted), [0; 0], "thread {thread}");
    }
    assert_eq!(arrivals.duplicates, 0);
    let fewest = partitions.values().min().copied().unwrap_or(0);
    assert!(partitions.len() == 3 && fewest > arrivals.lines() / 6, "unevenly spread: {partitions:?}");
    println!("{} lines over partitions {partitions:?}", arrivals.lines());
}

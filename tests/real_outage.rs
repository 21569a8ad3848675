//! Kafka is away at the start, in the middle and at the end: submit returns at once, lines arrive when it is back, and
//! a close keeps its deadline.

mod common;

use common::account::Account;
use common::kafka::{shared, Kafka};
use common::stream::{Arrivals, Stream, Submitted, Worst};
use common::{client_list, wait_until};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tel::{tel_error, Log, Producer};

const THREADS: usize = 4;
const PER_MS: u32 = 2;
/// What a call of submit may take at the very worst, however busy two processors are with a broker's start.
const AT_ONCE: Duration = Duration::from_millis(50);

/// A producer for clients `c0` to `c2` of topics `logs.<name>.c0` ..., and the topics' names.
fn producer(kafka: &Kafka, name: &str, topics: &[String]) -> Arc<Producer> {
    // Quicker than the preset to try again, so that the test is.
    let quick = json!({
        "linger.ms": 100, "retry.backoff.ms": 200, "reconnect.backoff.max.ms": 500, "socket.timeout.ms": 3000,
    });
    let producer = Producer::new(&kafka.config("edge", None, quick), Log::stderr()).expect("a host always comes up");
    let ids: Vec<String> = (0..topics.len()).map(|client| format!("c{client}")).collect();
    producer.set_clients(client_list(1, &format!("logs.{name}."), ids).as_bytes()).expect("a list");
    Arc::new(producer)
}

fn topics(name: &str) -> Vec<String> {
    (0..3).map(|client| format!("logs.{name}.c{client}")).collect()
}

fn create(kafka: &Kafka, topics: &[String]) {
    kafka.admin(&topics.iter().map(|topic| format!("topic {topic}\n")).collect::<String>());
}

/// Every accepted line is in its topic, once and in order.
fn assert_all_arrived(kafka: &Kafka, what: &str, producer: &Producer, topics: &[String], submitted: &[Submitted]) {
    let account = Account::read(producer);
    account.assert_exact();
    let mut arrivals = Arrivals::default();
    let read = kafka.read("admin", topics.iter().map(String::as_str), |record| {
        arrivals.note(record.topic, record.partition, record.value);
    });
    read.expect("readable");
    let worst = submitted.iter().map(|thread| thread.worst).fold(Worst::default(), Worst::or);
    let refused: usize = submitted.iter().map(|thread| thread.refused.len()).sum();
    println!(
        "{what}: {} lines submitted, {refused} refused, {} delivered, {} came twice; slowest submit {:?}, {:?} of its own",
        account.total("submitted"),
        account.total("delivered"),
        arrivals.duplicates,
        worst.wall,
        worst.own,
    );
    for (thread, submitted) in submitted.iter().enumerate() {
        println!("  thread {thread}: {} lines, slowest submit {:?}", submitted.lines, submitted.worst);
        assert_eq!(arrivals.missing(thread, submitted), [0; 0], "lines of thread {thread} are lost");
        assert!(submitted.worst.own < AT_ONCE, "thread {thread}: a submit took {:?}", submitted.worst);
    }
    assert_eq!((account.total("failed"), account.total("dropped_full")), (0, refused as u64));
    assert_eq!(account.total("delivered"), arrivals.lines());
    assert_eq!(arrivals.duplicates, 0, "idempotence allows none");
}

#[test]
fn lines_submitted_before_kafka_is_there_arrive_when_it_comes() {
    let kafka = shared();
    let topics = topics("start");
    create(&kafka, &topics);
    kafka.stop();
    let producer = producer(&kafka, "start", &topics);
    let stream = Stream::start(&producer, THREADS, PER_MS, &["c0", "c1", "c2"]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(producer.flush(Some(Duration::from_millis(50))), Err(tel_error::TEL_ERR_TIMEOUT));
    assert_eq!(producer.stats().expect("statistics").delivered, 0);
    kafka.restart();
    let submitted = stream.end();
    producer.flush(Some(Duration::from_secs(60))).expect("all delivered");
    assert_all_arrived(&kafka, "down at the start", &producer, &topics, &submitted);
}

#[test]
fn nothing_is_lost_or_doubled_when_kafka_is_killed_and_comes_back() {
    let kafka = shared();
    let topics = topics("kill");
    create(&kafka, &topics);
    let producer = producer(&kafka, "kill", &topics);
    let stream = Stream::start(&producer, THREADS, PER_MS, &["c0", "c1", "c2"]);
    let delivered = || producer.stats().expect("statistics").delivered;
    wait_until("deliveries", Duration::from_secs(30), || delivered() > 1000);
    kafka.kill();
    kafka.restart();
    let before = delivered();
    let recovered = wait_until("deliveries again", Duration::from_secs(60), || delivered() > before + 1000);
    let submitted = stream.end();
    producer.flush(Some(Duration::from_secs(60))).expect("all delivered");
    println!("deliveries again {recovered:?} after the broker answered");
    assert_all_arrived(&kafka, "kill -9", &producer, &topics, &submitted);
}

#[test]
fn nothing_is_lost_or_doubled_when_kafka_hangs_for_longer_than_requests_wait() {
    let kafka = shared();
    let topics = topics("hang");
    create(&kafka, &topics);
    let producer = producer(&kafka, "hang", &topics);
    let stream = Stream::start(&producer, THREADS, PER_MS, &["c0", "c1", "c2"]);
    let delivered = || producer.stats().expect("statistics").delivered;
    wait_until("deliveries", Duration::from_secs(30), || delivered() > 1000);
    kafka.pause();
    // Beyond socket.timeout.ms: requests are given up and made again, which the broker finds both when it wakes.
    std::thread::sleep(Duration::from_secs(5));
    kafka.resume();
    let before = delivered();
    wait_until("deliveries again", Duration::from_secs(60), || delivered() > before + 1000);
    let submitted = stream.end();
    producer.flush(Some(Duration::from_secs(60))).expect("all delivered");
    assert_all_arrived(&kafka, "SIGSTOP for 5 s", &producer, &topics, &submitted);
}

/// Processor time of the engine's threads.
fn engine_worked() -> Duration {
    let mut sum = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").expect("this process").flatten() {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").starts_with("rdk") {
            let nanoseconds = read("schedstat").split(' ').next().and_then(|text| text.parse().ok());
            sum += Duration::from_nanos(nanoseconds.unwrap_or(0));
        }
    }
    sum
}

#[test]
fn the_engine_sleeps_while_kafka_takes_requests_and_does_not_answer() {
    /// Within socket.timeout.ms: a broker that lets connections stand is the one that is waited for.
    const SILENCE: Duration = Duration::from_millis(2500);
    let kafka = shared();
    let topics = topics("silent");
    create(&kafka, &topics);
    let producer = producer(&kafka, "silent", &topics);
    let stream = Stream::start(&producer, THREADS, PER_MS, &["c0", "c1", "c2"]);
    let delivered = || producer.stats().expect("statistics").delivered;
    wait_until("deliveries", Duration::from_secs(30), || delivered() > 1000);
    kafka.pause();
    let before = engine_worked();
    std::thread::sleep(SILENCE);
    let worked = engine_worked() - before;
    kafka.resume();
    let submitted = stream.end();
    producer.flush(Some(Duration::from_secs(60))).expect("all delivered");
    println!("the engine's threads worked {worked:?} of {SILENCE:?}");
    assert!(worked < SILENCE / 10, "the engine's threads worked {worked:?} of {SILENCE:?}");
    assert_all_arrived(&kafka, "silence", &producer, &topics, &submitted);
}

#[test]
fn lines_that_wait_for_room_during_an_outage_are_not_dropped_when_it_ends() {
    let kafka = shared();
    let topics = topics("room");
    create(&kafka, &topics);
    // The memory for batches is full after a moment; all other lines wait in the queue, which has room for them.
    let mut config: serde_json::Value =
        serde_json::from_str(&kafka.config("edge", None, json!({"linger.ms": 100}))).expect("JSON");
    config["batches.bytes"] = json!(1 << 20);
    let producer = Arc::new(Producer::new(&config.to_string(), Log::stderr()).expect("a producer"));
    producer.set_clients(client_list(1, "logs.room.", ["c0", "c1", "c2"]).as_bytes()).expect("a list");
    let stream = Stream::start(&producer, THREADS, 1, &["c0", "c1", "c2"]);
    let delivered = || producer.stats().expect("statistics").delivered;
    wait_until("deliveries", Duration::from_secs(30), || delivered() > 1000);
    kafka.pause();
    std::thread::sleep(Duration::from_secs(8));
    kafka.resume();
    let before = delivered();
    wait_until("deliveries again", Duration::from_secs(60), || delivered() > before + 1000);
    let submitted = stream.end();
    producer.flush(Some(Duration::from_secs(60))).expect("all delivered");
    assert_all_arrived(&kafka, "SIGSTOP for 8 s with full batches", &producer, &topics, &submitted);
}

/// Closes with one second's time while `outage` lasts, with threads that submit until they are told it is closed.
fn close_during(kafka: &Kafka, name: &str, outage: impl FnOnce(&Kafka)) {
    let topics = topics(name);
    create(kafka, &topics);
    let producer = producer(kafka, name, &topics);
    let submit = |lines: u32, worst: &mut Worst| {
        for number in 0..lines {
            let line = format!("c{} {number} {}", number % 3, "x".repeat(200));
            worst.time(|| producer.submit(line.as_bytes())).expect("accepted");
        }
    };
    let mut worst = Worst::default();
    submit(1000, &mut worst);
    producer.flush(Some(Duration::from_secs(60))).expect("all delivered");
    outage(kafka);
    submit(5000, &mut worst);
    // Some of them are on their way when it closes.
    std::thread::sleep(Duration::from_millis(500));
    submit(5000, &mut worst);
    let start = Instant::now();
    let closed = producer.close(Some(Duration::from_millis(1000)));
    let took = start.elapsed();
    println!("{name}: close(1000) took {took:?}; slowest submit {worst:?}");
    assert_eq!(closed, Err(tel_error::TEL_ERR_TIMEOUT), "lines had to be given up");
    assert!(took < Duration::from_millis(1100), "close took {took:?}");
    assert!(worst.own < AT_ONCE, "{worst:?}");
    assert_eq!(producer.submit(b"c0 late"), Err(tel_error::TEL_ERR_CLOSED));
    let account = Account::read(&producer);
    account.assert_exact();
    let total = |name| account.total(name);
    assert_eq!((total("submitted"), total("delivered"), total("failed")), (11_000, 1000, 10_000));
    assert_eq!(total("in_flight"), 0);
    let start = Instant::now();
    drop(producer);
    assert!(start.elapsed() < Duration::from_secs(1), "drop after close took {:?}", start.elapsed());
}

#[test]
fn a_close_keeps_its_deadline_while_kafka_hangs() {
    let kafka = shared();
    close_during(&kafka, "end-hang", Kafka::pause);
    kafka.resume();
}

#[test]
fn a_close_keeps_its_deadline_while_kafka_is_gone() {
    let kafka = shared();
    close_during(&kafka, "end-gone", Kafka::kill);
    kafka.restart();
}

#[test]
fn a_close_keeps_its_deadline_when_no_connection_was_ever_finished() {
    let kafka = shared();
    let topics = topics("end-never");
    kafka.pause();
    let producer = producer(&kafka, "end-never", &topics);
    for number in 0..1000 {
        producer.submit(format!("c0 {number}").as_bytes()).expect("accepted");
    }
    // The system accepts the connection; the handshake never comes to its end.
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    let closed = producer.close(Some(Duration::from_millis(1000)));
    let took = start.elapsed();
    kafka.resume();
    println!("no handshake: close(1000) took {took:?}");
    assert_eq!(closed, Err(tel_error::TEL_ERR_TIMEOUT));
    assert!(took < Duration::from_millis(1100), "close took {took:?}");
    let account = Account::read(&producer);
    account.assert_exact();
    assert_eq!((account.total("failed"), account.total("delivered")), (1000, 0));
}

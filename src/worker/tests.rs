//! The worker between a real queue and a sink that keeps what it is sent: routing, order, limits, isolation, flush,
//! removal, and the account of every line.

use super::*;
use crate::clients::ClientList;
use crate::queue::Layout;
use crate::sink::memory::{Desk, MemorySink};
use std::sync::Mutex;
use std::thread::JoinHandle;

struct Bench {
    shared: Arc<Shared>,
    desk: Arc<Mutex<Desk>>,
    thread: Option<JoinHandle<()>>,
}

/// Waits for a state of things; fails if it does not come.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Bench {
    fn new(config: &str, clients: &str) -> Bench {
        let config = Config::from_json(&format!(r#"{{"embedded_broker": true{config}}}"#)).unwrap();
        let log = Log::new(Box::new(|_, _| {}));
        let layout = Layout::new(config.queue_bytes, config.max_line_bytes, 4).unwrap();
        let queue = Arc::new(Queue::new(layout, config.max_line_bytes).unwrap());
        let shared = Arc::new(Shared {
            published: Published::new(queue.shards()),
            queue,
            routes: Arc::new(Routes::new(crate::front::Front::of_nobody())),
            control: Control::default(),
            log,
        });
        let desk = Arc::new(Mutex::new(Desk::default()));
        let worker = Worker::new(&config, Arc::clone(&shared), Box::new(MemorySink(Arc::clone(&desk)))).unwrap();
        let bench = Bench { shared, desk, thread: Some(std::thread::spawn(move || worker.run())) };
        bench.shared.control.set_worker(bench.thread.as_ref().unwrap().thread().clone());
        bench.list(clients);
        bench
    }

    fn list(&self, clients: &str) {
        let list = ClientList::from_json(format!(r#"{{"clients": [{clients}]}}"#).as_bytes()).unwrap();
        self.shared.routes.replace(list);
    }

    fn submit(&self, line: &str) -> Result<(), crate::queue::PushError> {
        self.shared.queue.push(None, line.as_bytes())
    }

    fn flush(&self) {
        self.shared.control.flush(Some(Duration::from_secs(20))).unwrap();
    }

    /// How often the worker has asked the sink what has ended.
    fn looks_in_a_second(&self) -> usize {
        let polls = || self.desk.lock().unwrap().polls;
        let before = polls();
        std::thread::sleep(Duration::from_secs(1));
        polls() - before
    }

    fn delivered(&self, topic: &str) -> Vec<String> {
        let desk = self.desk.lock().unwrap();
        let lines = desk.delivered.iter().filter(|(to, _)| to == topic);
        lines.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect()
    }

    fn ledger(&self) -> Ledger {
        self.shared.published.read(|ledger, _| ledger)
    }

    /// submitted less every term: 0 when nothing moves.
    fn residual(&self) -> i128 {
        self.shared.published.read(|ledger, taken| {
            let pushed = self.shared.queue.pushed(taken);
            let terms = [
                ledger.delivered,
                ledger.failed,
                ledger.dropped_full,
                ledger.dropped_rate,
                ledger.sampled_out,
                ledger.unknown_client,
                ledger.malformed,
                ledger.in_flight,
                pushed.waiting,
                pushed.full,
                pushed.too_long,
            ];
            i128::from(pushed.submitted) - terms.into_iter().map(i128::from).sum::<i128>()
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.shared.control.close(Some(Duration::from_secs(1)));
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
            assert_eq!((self.residual(), self.ledger().in_flight), (0, 0));
        }
    }
}

#[test]
fn lines_go_to_their_client_s_topic_in_order_and_the_rest_is_counted() {
    let bench = Bench::new("", r#"{"id": "c1"}, {"id": "acme", "topic": "logs.acme"}"#);
    for number in 0..1000 {
        bench.submit(&format!("c1 first {number}")).unwrap();
        bench.submit(&format!("acme second {number}")).unwrap();
        bench.submit(&format!("ghost third {number}")).unwrap();
    }
    for malformed in ["", "nospace", " leading", "a/b x"] {
        bench.submit(malformed).unwrap();
    }
    bench.submit("c1 two\nlines").unwrap();
    bench.flush();
    let expected = |word: &str| (0..1000).map(|number| format!("{word} {number}")).collect::<Vec<_>>();
    assert_eq!(bench.delivered("logs.acme"), expected("second"));
    let mut first = expected("first");
    first.push("two\\nlines".into());
    assert_eq!(bench.delivered("c1"), first);
    assert!(bench.delivered("ghost").is_empty() && bench.delivered("acme").is_empty());
    let ledger = bench.ledger();
    assert_eq!((ledger.delivered, ledger.unknown_client, ledger.malformed, ledger.sanitized), (2001, 1000, 4, 1));
    assert_eq!((bench.residual(), ledger.in_flight), (0, 0));
}

#[test]
fn a_line_waits_for_the_batching_time_and_no_longer() {
    let bench = Bench::new(r#", "kafka": {"linger.ms": 300}"#, r#"{"id": "c1"}"#);
    let start = Instant::now();
    bench.submit("c1 x").unwrap();
    eventually("delivery", || !bench.delivered("c1").is_empty());
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(150), "handed over after {waited:?}: nothing was batched");
    assert_eq!(bench.desk.lock().unwrap().batches, 1);
}

#[test]
fn samples_and_rates_are_kept_and_counted() {
    let bench = Bench::new(
        "",
        r#"{"id": "s", "sample": 0.25}, {"id": "r", "max_lines_per_second": 10}, {"id": "n", "sample": 0}"#,
    );
    for _ in 0..400 {
        for id in ["s", "r", "n"] {
            bench.submit(&format!("{id} x")).unwrap();
        }
    }
    bench.flush();
    assert_eq!((bench.delivered("s").len(), bench.delivered("n").len()), (100, 0));
    let metered = bench.delivered("r").len();
    assert!((10..100).contains(&metered), "{metered} lines passed");
    let ledger = bench.ledger();
    assert_eq!((ledger.sampled_out, ledger.dropped_rate), (300 + 400, 400 - metered as u64));
}

#[test]
fn a_removed_client_s_lines_do_not_leave_a_second_later() {
    let bench = Bench::new(r#", "kafka": {"linger.ms": 60000}"#, r#"{"id": "c1"}, {"id": "c2"}"#);
    bench.desk.lock().unwrap().busy = true;
    bench.submit("c1 old").unwrap();
    bench.submit("c2 old").unwrap();
    eventually("routing", || bench.ledger().in_flight == 2);
    bench.list(r#"{"id": "c2"}"#);
    bench.submit("c1 new").unwrap();
    eventually("the end of the removed client's line", || bench.ledger().failed == 1);
    bench.desk.lock().unwrap().busy = false;
    bench.flush();
    assert_eq!((bench.delivered("c1").len(), bench.delivered("c2")), (0, vec!["old".to_owned()]));
    assert_eq!(bench.ledger().unknown_client, 1);
}

#[test]
fn while_nothing_can_be_sent_the_queue_fills_and_nothing_taken_is_lost() {
    let config = r#", "queue.bytes": 200000, "queue.max_line_bytes": 1000, "batches.bytes": 200000"#;
    let bench = Bench::new(config, r#"{"id": "c1"}"#);
    bench.desk.lock().unwrap().busy = true;
    let mut accepted = Vec::new();
    let mut refused = 0;
    for number in 0..10_000 {
        match bench.submit(&format!("c1 {number} {}", "x".repeat(200))) {
            Ok(()) => accepted.push(number),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 1000 && accepted.len() > 500, "{} accepted, {refused} refused", accepted.len());
    bench.desk.lock().unwrap().busy = false;
    bench.flush();
    let numbers: Vec<i32> =
        bench.delivered("c1").iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, accepted);
    assert_eq!(bench.residual(), 0);
}

#[test]
fn while_nothing_makes_room_a_full_queue_is_looked_at_ever_more_seldom() {
    let config = r#", "queue.bytes": 200000, "queue.max_line_bytes": 1000, "batches.bytes": 200000"#;
    let bench = Bench::new(config, r#"{"id": "c1"}"#);
    bench.desk.lock().unwrap().busy = true;
    let line = format!("c1 {}", "x".repeat(200));
    eventually("batches and queue are full", || {
        let found = bench.ledger().in_flight;
        while bench.submit(&line).is_ok() {}
        found > 0 && bench.ledger().in_flight == found
    });
    let found = bench.looks_in_a_second();
    assert!(found <= 100, "{found} looks in a second");
    bench.desk.lock().unwrap().busy = false;
    bench.flush();
    assert_eq!(bench.residual(), 0);
}

#[test]
fn a_flush_that_has_timed_out_keeps_the_worker_awake_no_longer() {
    let bench = Bench::new("", r#"{"id": "c1"}"#);
    bench.desk.lock().unwrap().stuck = vec!["c1".into()];
    bench.submit("c1 a line").unwrap();
    let timeout = bench.shared.control.flush(Some(Duration::from_millis(200))).unwrap_err();
    assert_eq!(timeout, crate::error::tel_error::TEL_ERR_TIMEOUT);
    let found = bench.looks_in_a_second();
    assert!(found <= 100, "{found} looks in a second");
    bench.desk.lock().unwrap().stuck.clear();
    bench.flush();
    assert_eq!(bench.delivered("c1"), ["a line"]);
}

#[test]
fn a_stuck_client_pins_its_own_share_and_the_others_flow() {
    let config =
        r#", "queue.bytes": 500000, "queue.max_line_bytes": 1000, "batches.bytes": 500000, "kafka": {"linger.ms": 10}"#;
    let bench = Bench::new(config, r#"{"id": "stuck"}, {"id": "fine"}"#);
    bench.desk.lock().unwrap().stuck = vec!["stuck".into()];
    let filler = "x".repeat(200);
    let mut sent = 0;
    let start = Instant::now();
    // Long enough for the stuck client to be seen to be stuck, and for its share to be full.
    while bench.ledger().dropped_full == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "the stuck client was never noticed: {:?}", bench.ledger());
        let _ = bench.submit(&format!("stuck {filler}"));
        sent += u64::from(bench.submit(&format!("fine {filler}")).is_ok());
        std::thread::sleep(Duration::from_micros(200));
    }
    let before = bench.delivered("fine").len();
    for _ in 0..2000 {
        let _ = bench.submit(&format!("stuck {filler}"));
        while bench.submit(&format!("fine {filler}")).is_err() {
            std::thread::sleep(Duration::from_micros(200));
        }
        sent += 1;
    }
    eventually("the other client's lines", || bench.delivered("fine").len() as u64 == sent);
    assert!(bench.delivered("fine").len() >= before + 2000);
    let held: usize = bench.desk.lock().unwrap().held.iter().map(|batch| batch.chunk_bytes()).sum();
    assert!(held <= 500_000 / 2, "{held} bytes are pinned");
}

#[test]
fn what_the_sink_does_not_take_yet_is_gathered_and_goes_in_order() {
    let bench = Bench::new(r#", "kafka": {"linger.ms": 10}"#, r#"{"id": "slow"}, {"id": "fine"}"#);
    (bench.desk.lock().unwrap().one_turn, bench.desk.lock().unwrap().stuck) = (true, vec!["slow".into()]);
    let mut number = 0..;
    let mut submit = |times: usize| {
        for number in number.by_ref().take(times) {
            bench.submit(&format!("slow {number}")).unwrap();
        }
    };
    submit(1);
    eventually("the first is sent", || bench.desk.lock().unwrap().held.len() == 1);
    // The other client's lines show that the batching time is over again and again.
    for round in 1..=20 {
        submit(10);
        bench.submit(&format!("fine {round}")).unwrap();
        eventually("the other's line", || bench.delivered("fine").len() == round);
    }
    assert_eq!(bench.desk.lock().unwrap().held.len(), 1);
    let before = bench.desk.lock().unwrap().batches;
    bench.desk.lock().unwrap().stuck.clear();
    // Without a batching time to come or a flush: at once when the first has ended.
    eventually("the rest", || bench.delivered("slow").len() == 201);
    assert_eq!(bench.delivered("slow"), (0..201).map(|number| number.to_string()).collect::<Vec<_>>());
    let batches = bench.desk.lock().unwrap().batches - before;
    assert!(batches < 5, "{batches} batches of 20 batching times");
}

#[test]
fn what_is_sent_for_one_turn_fits_one_request() {
    let config = r#", "kafka": {"linger.ms": 200, "batch.num.messages": 50, "batch.size": 20000}"#;
    let bench = Bench::new(config, r#"{"id": "c1"}, {"id": "c2"}"#);
    (bench.desk.lock().unwrap().one_turn, bench.desk.lock().unwrap().stuck) = (true, vec!["c1".into(), "c2".into()]);
    for number in 0..300 {
        bench.submit(&format!("c1 {number}")).unwrap();
        bench.submit(&format!("c2 {number} {}", "x".repeat(1000))).unwrap();
    }
    eventually("some of both are sent", || {
        let desk = bench.desk.lock().unwrap();
        ["c1", "c2"].iter().all(|topic| desk.held.iter().any(|batch| *batch.topic == **topic))
    });
    bench.desk.lock().unwrap().stuck.clear();
    bench.flush();
    let desk = bench.desk.lock().unwrap();
    assert_eq!(desk.delivered.len(), 600);
    for (topic, sums) in &desk.turns {
        assert!(sums.lines <= 50 && sums.bytes <= 20_000, "{topic:?}: {sums:?}");
    }
}

#[test]
fn a_close_with_nowhere_to_send_ends_in_time_with_every_line_accounted_for() {
    let bench = Bench::new("", r#"{"id": "c1"}"#);
    bench.desk.lock().unwrap().busy = true;
    for _ in 0..1000 {
        bench.submit("c1 x").unwrap();
    }
    let start = Instant::now();
    assert_eq!(
        bench.shared.control.close(Some(Duration::from_millis(200))),
        Err(crate::error::tel_error::TEL_ERR_TIMEOUT)
    );
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let ledger = bench.ledger();
    assert_eq!((ledger.failed, ledger.in_flight, bench.residual()), (1000, 0, 0));
    assert_eq!(bench.submit("c1 x"), Err(crate::queue::PushError::Closed));
}

#[test]
fn the_account_never_says_more_than_was_submitted() {
    let bench = Bench::new(r#", "kafka": {"linger.ms": 2}"#, r#"{"id": "c1"}"#);
    let shared = Arc::clone(&bench.shared);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let submitter = std::thread::spawn(move || {
        let mut submitted = 0u64;
        while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
            submitted += u64::from(shared.queue.push(None, b"c1 some line of some length").is_ok());
            submitted += u64::from(shared.queue.push(None, b"other some line of some length").is_ok());
        }
        submitted
    });
    for _ in 0..5000 {
        let before = bench.shared.published.read(|_, taken| bench.shared.queue.pushed(taken).submitted);
        let residual = bench.residual();
        let after = bench.shared.published.read(|_, taken| bench.shared.queue.pushed(taken).submitted);
        assert!(residual >= 0 && residual <= i128::from(after - before), "residual {residual}");
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    submitter.join().unwrap();
    bench.flush();
    assert_eq!(bench.residual(), 0);
}

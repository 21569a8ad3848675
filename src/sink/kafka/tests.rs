//! The sink on librdkafka's mock cluster, which fails on command.

use super::*;
use crate::pool::Pool;
use crate::route::Routes;
use crate::sink::embedded::Reader;
use crate::sink::shards::Shards;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::collections::HashMap;
use std::sync::Mutex;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

struct Rig<S = KafkaSink> {
    broker: MockCluster<'static, DefaultProducerContext>,
    sink: S,
    pool: Pool,
    routes: Routes,
    heard: Arc<Mutex<Vec<String>>>,
    ended: Vec<Ended>,
    sent: usize,
    turn: u32,
}

/// What came of all batches: lines delivered and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    delivered: u32,
    failed: u32,
}

impl Rig {
    /// A sink with these properties over a quick variant of the preset, and a broker with these topics of one partition.
    fn new(properties: &str, topics: &[&str]) -> Rig {
        let broker = MockCluster::new(1).unwrap();
        for topic in topics {
            broker.create_topic(topic, 1, 1).unwrap();
        }
        let comma = if properties.is_empty() { "" } else { "," };
        let linger = if properties.contains("linger.ms") { "" } else { r#", "linger.ms": 0"# };
        let config = format!(
            r#"{{"kafka": {{"bootstrap.servers": "{}", "retry.backoff.ms": 50, "reconnect.backoff.max.ms": 200
                {linger}{comma} {properties}}}}}"#,
            broker.bootstrap_servers()
        );
        let config = Config::from_json(&config).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let log = Log::new(Box::new(move |level, text| ear.lock().unwrap().push(format!("{}: {text}", level.name()))));
        let routes = Routes::new(crate::front::Front::of_nobody());
        let ids: Vec<String> = topics.iter().map(|topic| format!(r#"{{"id": "{topic}"}}"#)).collect();
        let list = format!(r#"{{"clients": [{}, {{"id": "nowhere"}}]}}"#, ids.join(","));
        routes.replace(crate::clients::ClientList::from_json(list.as_bytes()).unwrap());
        Rig {
            sink: KafkaSink::new(&config, log).unwrap(),
            broker,
            pool: Pool::new(16 << 20, 0).unwrap(),
            routes,
            heard,
            ended: Vec::new(),
            sent: 0,
            turn: 0,
        }
    }

    /// The same with an engine for every so many clients.
    fn spread(self, clients_per_engine: usize) -> Rig<Shards<KafkaSink>> {
        let another = self.sink.beside();
        Rig {
            sink: Shards::new(self.sink, clients_per_engine, another),
            broker: self.broker,
            pool: self.pool,
            routes: self.routes,
            heard: self.heard,
            ended: self.ended,
            sent: self.sent,
            turn: self.turn,
        }
    }

    fn reported(&self) -> u32 {
        let open = self.sink.hands.iter();
        open.map(|handed| handed.delivered).sum::<u32>() + self.sums().delivered
    }

    fn engine(&self) -> &Engine {
        let State::Running(engine) = &self.sink.state else { panic!("no engine runs") };
        engine
    }
}

impl<S: Sink> Rig<S> {
    fn batch(&mut self, client: &str, lines: &[Vec<u8>]) -> Batch {
        let bytes = lines.iter().map(|line| Batch::room_for(line.len())).sum();
        let chunk = self.pool.take(bytes).expect("memory");
        let route = Arc::clone(self.routes.table().get(client.as_bytes()).expect("a client"));
        let mut batch = Batch::new(Arc::clone(&route.account), Arc::clone(&route.client.topic), chunk, 0);
        batch.turn = self.turn;
        self.turn += 1;
        for line in lines {
            assert!(batch.append(line, 0));
            route.account.counters.routed.add(1);
        }
        batch
    }

    /// Sends a batch as soon as the sink takes it.
    fn send(&mut self, client: &str, lines: &[Vec<u8>]) {
        let mut batch = self.batch(client, lines);
        let deadline = Instant::now() + PATIENCE;
        while let Err(back) = self.sink.send(batch) {
            assert!(Instant::now() < deadline, "the sink takes nothing: {}", self.sink.trouble());
            batch = back;
            self.poll();
        }
        self.sent += 1;
    }

    fn poll(&mut self) {
        self.sink.poll(&mut self.ended);
        std::thread::sleep(Duration::from_micros(500));
    }

    fn poll_until(&mut self, what: &str, mut is_done: impl FnMut(&Rig<S>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_done(self) {
            assert!(Instant::now() < deadline, "not in time: {what}; {}", self.sink.trouble());
            self.poll();
        }
    }

    /// Waits until all batches have ended, once each, with every line accounted for.
    fn finish(&mut self) -> Sums {
        let sent = self.sent;
        self.poll_until("all batches end", |rig| rig.ended.len() == sent);
        self.sums()
    }

    fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for ended in &self.ended {
            assert_eq!(ended.delivered + ended.failed, ended.batch.lines(), "a line of a batch is one or the other");
            sums.delivered += ended.delivered;
            sums.failed += ended.failed;
        }
        sums
    }

    /// Sends single lines for `client`, from `number` on, until one is delivered: the engine may need a moment to find
    /// out that what it failed for is over. The line.
    fn send_until_delivered(&mut self, client: &str, number: usize) -> Vec<Vec<u8>> {
        let before = self.sums().delivered;
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut attempt = 0;
        loop {
            let line = lines(number + attempt, number + attempt + 1);
            self.send(client, &line);
            if self.finish().delivered > before {
                return line;
            }
            assert!(
                Instant::now() < deadline,
                "{client}: nothing is delivered any more: {:?}",
                self.heard.lock().unwrap()
            );
            attempt += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn has_heard(&self, text: &str) -> bool {
        self.times_heard(text) > 0
    }

    fn times_heard(&self, text: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// The lines of `topic` that the broker holds, once there are at least `lines` different ones.
    fn read(&self, topic: &str, lines: usize) -> Vec<Vec<u8>> {
        let reader = Reader::new(&self.broker.bootstrap_servers(), &[topic.to_owned()]).unwrap();
        let mut read: Vec<Vec<u8>> = Vec::new();
        let mut different = std::collections::HashSet::new();
        let deadline = Instant::now() + PATIENCE;
        while different.len() < lines {
            assert!(Instant::now() < deadline, "{} of {lines} lines of {topic} came", different.len());
            if let Some((_, line)) = reader.next(Duration::from_millis(100)) {
                different.insert(line.clone());
                read.push(line);
            }
        }
        // Nothing more than that.
        while let Some((_, line)) = reader.next(Duration::from_millis(300)) {
            read.push(line);
        }
        read
    }

    /// `topic` holds exactly `lines`, in order.
    fn assert_holds(&self, topic: &str, lines: &[Vec<u8>]) {
        let read = self.read(topic, lines.len());
        let wrong = read.iter().zip(lines).position(|(read, sent)| read != sent);
        assert!(read == lines, "{topic}: {} lines of {}, the first wrong one is {wrong:?}", read.len(), lines.len());
    }

    /// `topic` holds `lines`, each first coming in order; some may have come again later. How many did.
    fn assert_holds_with_repetitions(&self, topic: &str, lines: &[Vec<u8>]) -> usize {
        let mut seen = HashMap::new();
        let mut first: Vec<Vec<u8>> = Vec::new();
        let read = self.read(topic, lines.len());
        for line in &read {
            let times = seen.entry(line.clone()).or_insert(0);
            *times += 1;
            if *times == 1 {
                first.push(line.clone());
            }
        }
        let wrong = first.iter().zip(lines).position(|(read, sent)| read != sent);
        assert!(first == lines, "{topic}: {} lines of {}, the first wrong one is {wrong:?}", first.len(), lines.len());
        read.len() - lines.len()
    }
}

/// Lines `from..to`, of lengths that differ.
fn lines(from: usize, to: usize) -> Vec<Vec<u8>> {
    (from..to).map(|number| format!("{number:06} {}", "x".repeat(number * 37 % 150)).into_bytes()).collect()
}

#[test]
fn batches_of_several_topics_arrive_in_order() {
    let mut rig = Rig::new("", &["a", "b"]);
    let all = lines(0, 2000);
    for part in all.chunks(100) {
        rig.send("a", part);
        rig.send("b", part);
    }
    assert_eq!(rig.finish(), Sums { delivered: 4000, failed: 0 });
    rig.assert_holds("a", &all);
    rig.assert_holds("b", &all);
    assert_eq!((rig.sink.hands.lines, rig.sink.hands.bytes, rig.sink.hands.owed), (0, 0, 0));
}

#[test]
fn after_a_fatal_error_a_new_engine_sends_every_unacknowledged_line_in_order() {
    let mut rig = Rig::new(r#""batch.num.messages": 50"#, &["a"]);
    let all = lines(0, 3000);
    for part in all[..1000].chunks(100) {
        rig.send("a", part);
    }
    rig.poll_until("some are acknowledged", |rig| rig.reported() > 0);
    // From here on the answers take so long that the error falls between a request and its answer.
    rig.broker.broker_round_trip_time(-1, Duration::from_millis(300)).unwrap();
    for part in all[1000..2000].chunks(100) {
        rig.send("a", part);
    }
    let reported = rig.reported();
    rig.engine().fail_fatally();
    rig.poll();
    assert!(rig.has_heard("failed for good"));
    rig.broker.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    for part in all[2000..].chunks(100) {
        rig.send("a", part);
    }
    assert!(reported < 2000, "the error came too late to show anything");
    assert_eq!(rig.finish(), Sums { delivered: 3000, failed: 0 });
    let repeated = rig.assert_holds_with_repetitions("a", &all);
    assert!(rig.engine().fatal_error().is_none() && rig.has_heard("a new engine has started"));
    assert_eq!((rig.sink.hands.lines, rig.sink.hands.bytes, rig.sink.hands.owed), (0, 0, 0));
    println!("{reported} of 2000 were acknowledged before the error, {repeated} came twice");
}

#[test]
fn fatal_errors_may_follow_one_another() {
    let mut rig = Rig::new("", &["a", "b"]);
    let all = lines(0, 1000);
    for (round, part) in all.chunks(100).enumerate() {
        rig.send("a", part);
        rig.send("b", part);
        if round % 4 == 0 {
            rig.engine().fail_fatally();
        }
    }
    assert_eq!(rig.finish(), Sums { delivered: 2000, failed: 0 });
    rig.assert_holds_with_repetitions("a", &all);
    rig.assert_holds_with_repetitions("b", &all);
}

#[test]
fn an_error_that_is_fatal_to_every_engine_is_met_less_and_less_often_until_it_is_over() {
    let mut rig = Rig::new("", &["a"]);
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    rig.broker.request_errors(RDKafkaApiKey::InitProducerId, &[refused; 3]);
    let start = Instant::now();
    rig.send("a", &lines(0, 10));
    rig.poll_until("a word on it", |rig| rig.sink.trouble().contains("failed for good: ClusterAuthorizationFailed"));
    assert_eq!(rig.finish(), Sums { delivered: 10, failed: 0 });
    let took = start.elapsed();
    assert!(took >= START_AGAIN[0] * (1 + 2 + 4), "four engines in {took:?}");
    rig.assert_holds("a", &lines(0, 10));
    // That is forgotten with the first line that gets through.
    rig.engine().fail_fatally();
    rig.send("a", &lines(10, 20));
    rig.finish();
    assert_eq!(rig.sink.pause, START_AGAIN[0]);
}

#[test]
fn a_broker_that_has_lost_the_order_is_survived() {
    // The embedded broker looks at the sequence numbers of transactions alone: a request made up before the error would be
    // written, as by no real one. So there is none: requests have 100 lines, and the 50 behind the refused one wait.
    let mut rig = Rig::new(r#""max.in.flight": 1, "batch.num.messages": 100, "linger.ms": 60000"#, &["a"]);
    let all = lines(0, 500);
    rig.send("a", &all[..100]);
    rig.finish();
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    rig.broker.request_errors(RDKafkaApiKey::Produce, &[error]);
    rig.send("a", &all[100..200]);
    rig.turn -= 1; // Of one turn, both are in the engine at once.
    rig.send("a", &all[200..250]);
    rig.poll_until("the error", |rig| rig.has_heard("failed for good"));
    for part in all[250..].chunks(50) {
        rig.send("a", part);
    }
    assert_eq!(rig.finish(), Sums { delivered: 500, failed: 0 });
    rig.assert_holds_with_repetitions("a", &all);
}

#[test]
fn a_batch_of_a_client_that_is_gone_is_not_sent_again() {
    let mut rig = Rig::new("", &["gone", "stays"]);
    rig.broker.broker_down(-1).unwrap();
    rig.send("gone", &lines(0, 100));
    rig.send("stays", &lines(0, 100));
    rig.routes.replace(crate::clients::ClientList::from_json(br#"{"clients": [{"id": "stays"}]}"#).unwrap());
    rig.engine().fail_fatally();
    rig.poll_until("a new engine", |rig| rig.has_heard("a new engine has started"));
    rig.broker.broker_up(-1).unwrap();
    assert_eq!(rig.finish(), Sums { delivered: 100, failed: 100 });
    for ended in &rig.ended {
        assert_eq!(ended.failed > 0, ended.batch.account.id == "gone");
    }
    rig.assert_holds("stays", &lines(0, 100));
    assert_eq!(rig.read("gone", 0), Vec::<Vec<u8>>::new());
}

#[test]
fn lines_whose_time_runs_out_have_failed_and_later_ones_arrive() {
    let mut rig = Rig::new(r#""message.timeout.ms": 1000, "socket.timeout.ms": 1000"#, &["a"]);
    let mut arrived = rig.send_until_delivered("a", 0);
    let before = rig.sums().failed;
    rig.broker.broker_down(-1).unwrap();
    rig.send("a", &lines(100, 200));
    let start = Instant::now();
    assert_eq!(rig.finish(), Sums { delivered: 1, failed: before + 100 });
    assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
    assert!(rig.has_heard("topic a: 100 lines were given up"), "{:?}", rig.heard.lock().unwrap());
    rig.broker.broker_up(-1).unwrap();
    arrived.extend(rig.send_until_delivered("a", 200));
    rig.assert_holds("a", &arrived);
}

#[test]
fn a_line_too_large_for_the_engine_fails_alone() {
    let mut rig = Rig::new(r#""message.max.bytes": 1000"#, &["a"]);
    let mut all = lines(0, 100);
    all[50] = vec![b'L'; 2000];
    all[99] = vec![b'M'; 2000];
    rig.send("a", &all);
    rig.send("a", &lines(100, 110));
    assert_eq!(rig.finish(), Sums { delivered: 108, failed: 2 });
    assert!(rig.has_heard("topic a: 2 lines were given up: MessageSizeTooLarge"), "{:?}", rig.heard.lock().unwrap());
    let arrive: Vec<Vec<u8>> = all.iter().filter(|line| line.len() < 1000).cloned().chain(lines(100, 110)).collect();
    rig.assert_holds("a", &arrive);
}

#[test]
fn a_topic_that_does_not_exist_fails_alone() {
    let mut rig =
        Rig::new(r#""topic.metadata.propagation.max.ms": 200, "topic.metadata.refresh.interval.ms": 1000"#, &["a"]);
    rig.send("nowhere", &lines(0, 50));
    rig.send("a", &lines(0, 50));
    rig.send("nowhere", &lines(50, 60));
    assert_eq!(rig.finish(), Sums { delivered: 50, failed: 60 });
    assert!(rig.ended.iter().all(|ended| (ended.failed > 0) == (&*ended.batch.topic == "nowhere")));
    rig.assert_holds("a", &lines(0, 50));
    // Made at last, it takes lines without a restart.
    rig.broker.create_topic("nowhere", 1, 1).unwrap();
    let later = rig.send_until_delivered("nowhere", 1000);
    rig.assert_holds("nowhere", &later);
}

#[test]
fn a_refusal_by_the_broker_is_a_failure_of_its_lines_only() {
    let mut rig = Rig::new("", &["a"]);
    rig.send("a", &lines(0, 10));
    rig.finish();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    rig.broker.request_errors(RDKafkaApiKey::Produce, &[refused]);
    // One line is one request, which takes the one error.
    rig.send("a", &lines(10, 11));
    assert_eq!(rig.finish(), Sums { delivered: 10, failed: 1 });
    let mut arrived = lines(0, 10);
    arrived.extend(rig.send_until_delivered("a", 20));
    rig.assert_holds("a", &arrived);
}

#[test]
fn an_engine_with_few_places_loses_nothing_and_keeps_the_order() {
    let mut rig = Rig::new(r#""queue.buffering.max.messages": 10"#, &["a", "b"]);
    let all = lines(0, 200);
    // Larger batches than the engine has places: it refuses the rest of each.
    for part in all.chunks(25) {
        rig.send("a", part);
        rig.send("b", part);
    }
    assert_eq!(rig.finish(), Sums { delivered: 400, failed: 0 });
    rig.assert_holds("a", &all);
    rig.assert_holds("b", &all);
    assert_eq!((rig.sink.hands.lines, rig.sink.hands.bytes, rig.sink.hands.owed), (0, 0, 0));
}

#[test]
fn an_engine_with_little_memory_loses_nothing_and_keeps_the_order() {
    let mut rig = Rig::new(r#""queue.buffering.max.kbytes": 1"#, &["a", "b"]);
    // Of very different lengths: a short line would still find room where a long one did not.
    let all: Vec<Vec<u8>> = (0..200usize)
        .map(|number| format!("{number:06} {}", "y".repeat([0, 10, 900, 300, 0, 600][number % 6])).into_bytes())
        .collect();
    for part in all.chunks(20) {
        rig.send("a", part);
        rig.send("b", part);
    }
    assert_eq!(rig.finish(), Sums { delivered: 400, failed: 0 });
    rig.assert_holds("a", &all);
    rig.assert_holds("b", &all);
    assert_eq!((rig.sink.hands.lines, rig.sink.hands.bytes, rig.sink.hands.owed), (0, 0, 0));
}

#[test]
fn a_full_engine_that_fails_for_good_loses_nothing() {
    let mut rig = Rig::new(r#""queue.buffering.max.messages": 30"#, &["a"]);
    let all = lines(0, 500);
    rig.broker.broker_round_trip_time(-1, Duration::from_millis(20)).unwrap();
    for (round, part) in all.chunks(50).enumerate() {
        rig.send("a", part);
        if round == 3 || round == 7 {
            if let State::Running(engine) = &rig.sink.state {
                engine.fail_fatally();
            }
        }
    }
    assert_eq!(rig.finish(), Sums { delivered: 500, failed: 0 });
    rig.assert_holds_with_repetitions("a", &all);
}

#[test]
fn a_partition_takes_one_turn_at_a_time() {
    let mut rig = Rig::new("", &["one"]);
    rig.broker.create_topic("three", 3, 1).unwrap();
    let list = br#"{"clients": [{"id": "one"}, {"id": "three"}]}"#;
    rig.routes.replace(crate::clients::ClientList::from_json(list).unwrap());
    for part in lines(0, 300).chunks(100) {
        rig.send("three", part);
    }
    rig.finish();
    rig.broker.broker_round_trip_time(-1, Duration::from_secs(60)).unwrap();
    // A turn of its own for each partition, more of a turn that is under way; and a topic whose partitions are not known.
    let taken = [("three", 3), ("three", 4), ("three", 5), ("three", 4), ("one", 7), ("one", 7)];
    let refused = [("three", 6), ("three", 7), ("three", 8), ("one", 8)];
    for (client, turn) in taken.into_iter().chain(refused) {
        rig.turn = turn;
        let batch = rig.batch(client, &lines(0, 10));
        let is_taken = rig.sink.send(batch).is_ok();
        assert_eq!(is_taken, !refused.contains(&(client, turn)), "{client}, turn {turn}");
    }
    // Every partition is free again once what it was sent is reported.
    rig.broker.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    rig.sent += taken.len();
    for (client, _) in refused {
        rig.send(client, &lines(0, 10));
    }
    assert_eq!(rig.finish(), Sums { delivered: 300 + 100, failed: 0 });
}

#[test]
fn giving_up_ends_every_batch_at_once_whatever_the_brokers_do() {
    let mut rig = Rig::new("", &["a"]);
    rig.send("a", &lines(0, 100));
    rig.finish();
    rig.broker.broker_round_trip_time(-1, Duration::from_secs(60)).unwrap();
    let turn = rig.turn;
    for part in lines(100, 1100).chunks(100) {
        rig.turn = turn;
        rig.send("a", part);
    }
    for _ in 0..100 {
        rig.poll();
    }
    let start = Instant::now();
    rig.sink.give_up(&mut rig.ended);
    let took = start.elapsed();
    assert_eq!(rig.sums(), Sums { delivered: 100, failed: 1000 });
    assert_eq!(rig.ended.len(), rig.sent);
    rig.sink.close(Duration::from_millis(200));
    assert!(took < Duration::from_secs(1), "giving up took {took:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "closing took {:?}", start.elapsed());
    assert_eq!(rig.sink.trouble(), "closed");
}

#[test]
fn a_fatal_error_is_its_own_engine_s_clients_only() {
    let mut rig = Rig::new("", &["a", "b", "c"]).spread(1);
    let all = lines(0, 600);
    for part in all[..300].chunks(100) {
        ["a", "b", "c"].iter().for_each(|client| rig.send(client, part));
    }
    rig.finish();
    rig.broker.broker_round_trip_time(-1, Duration::from_millis(200)).unwrap();
    for part in all[300..].chunks(100) {
        ["a", "b", "c"].iter().for_each(|client| rig.send(client, part));
    }
    match rig.sink.sinks().nth(1).map(|sink| &sink.state) {
        Some(State::Running(engine)) => engine.fail_fatally(),
        _ => panic!("no second engine runs"),
    }
    rig.poll();
    assert_eq!(rig.sink.trouble(), "1 of 3 engines: the engine failed for good and is being replaced");
    rig.broker.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    assert_eq!(rig.finish(), Sums { delivered: 1800, failed: 0 });
    rig.assert_holds("a", &all);
    rig.assert_holds_with_repetitions("b", &all);
    rig.assert_holds("c", &all);
    assert_eq!((rig.times_heard("failed for good"), rig.times_heard("a new engine has started")), (1, 1));
}

#[test]
fn an_outage_is_told_once_whatever_the_number_of_engines() {
    let mut rig = Rig::new("", &["a", "b", "c", "d"]).spread(1);
    let clients = ["a", "b", "c", "d"];
    clients.iter().for_each(|client| rig.send(client, &lines(0, 10)));
    rig.finish();
    rig.broker.broker_down(-1).unwrap();
    clients.iter().for_each(|client| rig.send(client, &lines(10, 20)));
    let heard = |rig: &Rig<_>| rig.has_heard("no broker can be reached");
    rig.poll_until("the outage is told", heard);
    let start = Instant::now();
    // Time enough for every engine to try again.
    rig.poll_until("more attempts", |_| start.elapsed() > Duration::from_secs(1));
    assert!(!rig.sink.trouble().is_empty() && !rig.sink.trouble().contains("engines"), "{}", rig.sink.trouble());
    rig.broker.broker_up(-1).unwrap();
    assert_eq!(rig.finish(), Sums { delivered: 80, failed: 0 });
    rig.poll_until("its end is told", |rig| rig.has_heard("can be reached again"));
    assert_eq!(rig.sink.trouble(), "");
    assert_eq!((rig.times_heard("no broker can be"), rig.times_heard("can be reached again")), (1, 1));
}

#[test]
fn many_engines_give_up_and_close_in_the_time_of_one() {
    let names: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = Rig::new("", &topics).spread(1);
    topics.iter().for_each(|topic| rig.send(topic, &lines(0, 10)));
    rig.finish();
    rig.broker.broker_round_trip_time(-1, Duration::from_secs(60)).unwrap();
    topics.iter().for_each(|topic| rig.send(topic, &lines(10, 110)));
    rig.poll();
    let start = Instant::now();
    rig.sink.give_up(&mut rig.ended);
    let gave_up = start.elapsed();
    assert_eq!(rig.sums(), Sums { delivered: 120, failed: 1200 });
    rig.sink.close(Duration::from_millis(200));
    let closed = start.elapsed();
    assert!(gave_up < 5 * PURGED, "giving up took {gave_up:?}");
    assert!(closed < gave_up + Duration::from_millis(300), "closing took {:?}", closed - gave_up);
    assert_eq!(rig.sink.trouble(), "closed");
}

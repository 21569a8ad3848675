//! Many edges, and many clients.

use crate::broker::Broker;
use crate::{client, eventually, id, Control, Voice};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tel_control::app::now;
use tel_control::kafka::list::{self, Change, ListWriter, Listed};
use tel_control::names::ClientId;
use tel_control::onboarding::EDGE_HEARD_WITHIN;

const EDGES: usize = 200;
const CHANGES: usize = 30;

/// An edge's reader of the list, with its certificate and its rights; true once it is at the end.
fn follower(broker: &Broker) -> BaseConsumer {
    let consumer: BaseConsumer = client(broker, "edge")
        .set("group.id", "nobody-joins-it")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "500")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset("tel.clients", 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    consumer
}

#[test]
fn a_change_reaches_two_hundred_edges_within_two_seconds() {
    let broker = Broker::start();
    let admin = broker.admin();
    list::ensure_topic(&admin, 1).unwrap();
    broker.admin_commands("acl edge:many READ topic tel.clients literal");
    broker.cert("edge", "edge:many");
    let connection = broker.connection("admin");
    let mut writer = ListWriter::open(&connection, &admin).unwrap();
    let change = |number: usize| {
        let id = format!("c{number}");
        Change::Set(Listed { topic: format!("logs.{id}"), id, sample: None, max_lines_per_second: None })
    };
    writer.publish(&admin, &[change(0)]).unwrap();

    let (sender, seen) = mpsc::channel::<(usize, Instant)>();
    std::thread::scope(|scope| {
        for _ in 0..EDGES {
            let (sender, broker) = (sender.clone(), &broker);
            scope.spawn(move || {
                let consumer = follower(broker);
                let mut last = 0;
                while last < CHANGES {
                    if let Some(Ok(message)) = consumer.poll(Duration::from_secs(1)) {
                        let key = std::str::from_utf8(message.key().unwrap()).unwrap();
                        last = key[1..].parse().unwrap();
                        if sender.send((last, Instant::now())).is_err() {
                            return;
                        }
                    }
                }
            });
        }
        // All have the list as it is.
        for _ in 0..EDGES {
            assert_eq!(seen.recv_timeout(Duration::from_secs(120)).unwrap().0, 0);
        }
        let mut took: Vec<Duration> = Vec::with_capacity(EDGES * CHANGES);
        for number in 1..=CHANGES {
            let begun = Instant::now();
            writer.publish(&admin, &[change(number)]).unwrap();
            for _ in 0..EDGES {
                let (which, at) = seen.recv_timeout(Duration::from_secs(60)).unwrap();
                assert_eq!(which, number);
                took.push(at - begun);
            }
        }
        took.sort();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        println!(
            "a change at {EDGES} edges, {CHANGES} of them: p50 {:?}, p99 {:?}, maximum {:?}",
            at(0.5),
            at(0.99),
            at(1.0)
        );
        assert!(at(0.99) < Duration::from_secs(2), "p99 {:?}", at(0.99));
    });
}

/// What so many edges and clients cost, printed; the machine's share is asserted nowhere. `TEL_OBSERVE_EDGES=200
/// TEL_OBSERVE_CLIENTS=10000` is the size that is to be carried, which takes minutes in a debug build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_are_known_to_be_alive_while_their_counters_are_many() {
    let size = |name: &str, usual: usize| std::env::var(name).map_or(usual, |value| value.parse().unwrap());
    let (edges, clients) = (size("TEL_OBSERVE_EDGES", 50), size("TEL_OBSERVE_CLIENTS", 1000));
    let broker = Broker::start();
    let voice = Voice::new(&broker);
    let mut control = Control::open(&broker).await;
    let ids: Vec<ClientId> = (0..clients).map(|number| id(&format!("c{number}"))).collect();
    let new: Vec<_> = ids
        .iter()
        .map(|id| tel_control::store::NewClient {
            id: id.clone(),
            topic: control.app.namespace().topic(id),
            settings: Default::default(),
        })
        .collect();
    control.app.store().add_clients(&tel_control::store::Actor::operator("test"), &new, now()).await.unwrap();
    control.watch();
    let say = |round: u64| {
        let clients: Vec<(&str, u64, u64)> = ids.iter().map(|id| (id.as_str(), 10 * round, round)).collect();
        let names = (0..edges).map(|edge| format!("many{edge}"));
        voice.acks(names, i64::try_from(round).unwrap(), 1, 0, &clients);
    };
    let cpu = processor_time();
    for round in 1..=4 {
        let begun = Instant::now();
        say(round);
        let offset = i64::try_from(round).unwrap();
        eventually("all heard", async || {
            let known = control.app.store().edges().await.unwrap();
            let have = |edge: &&tel_control::store::Edge| edge.applied.as_ref().is_some_and(|at| at.offset == offset);
            match known.iter().filter(have).count() {
                all if all == edges => Ok(()),
                others => Err(format!("{others} of {edges}")),
            }
        })
        .await;
        println!("{edges} edges with {clients} clients each, said and noted: {:?}", begun.elapsed());
        assert_eq!(alive(&control).await, edges);
    }
    let cpu = processor_time() - cpu;
    println!(
        "4 rounds took {cpu:?} of processor in a debug build, saying it included; {} MiB at most",
        most_memory() >> 20
    );
    if edges * clients > 100_000 {
        // So much usage is written over some time.
        return control.end().await;
    }
    // In the end all of it is in the usage, each line once.
    eventually("usage", async || {
        say(5);
        let day = tel_control::store::day_of(now());
        let usage = control.app.store().usage_by_client(day - 1, day).await.unwrap();
        let delivered: u64 = usage.iter().map(|usage| usage.lines.delivered).sum();
        // Also while usage is written.
        assert_eq!(alive(&control).await, edges);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let wanted = u64::try_from(edges * clients).unwrap() * 50;
        if delivered == wanted {
            Ok(())
        } else {
            Err(format!("{delivered} of {wanted}"))
        }
    })
    .await;
    control.end().await;
}

/// The edges that count: heard of within the time that clients are held up by them.
async fn alive(control: &Control) -> usize {
    let within = i64::try_from(EDGE_HEARD_WITHIN.as_millis()).unwrap();
    control.app.store().edges_heard(now(), within).await.unwrap().edges().len()
}

/// Bytes of this process's memory at its largest.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Of this process, so far.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the value that it is given.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

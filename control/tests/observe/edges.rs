//! Acknowledgements become edges and usage.

use crate::broker::shared;
use crate::{eventually, id, Control, Voice};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;
use tel_control::app::now;
use tel_control::kafka::acks;
use tel_control::names::EdgeName;
use tel_control::observe::history;
use tel_control::onboarding::edges;
use tel_control::store::{day_of, Actor, Edge, Lines};

/// Edges and clients of one test.
fn name(what: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("{what}{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

async fn edge(control: &Control, name: &str) -> Option<Edge> {
    control.app.store().edges().await.unwrap().into_iter().find(|edge| edge.name.as_str() == name)
}

async fn until_applied(control: &Control, name: &str, offset: i64) -> Edge {
    eventually(&format!("{name} at {offset}"), async || match edge(control, name).await {
        Some(edge) if edge.applied.as_ref().is_some_and(|applied| applied.offset == offset) => Ok(edge),
        other => Err(format!("{other:?}")),
    })
    .await
}

async fn usage(control: &Control, client: &str) -> Lines {
    let today = day_of(now());
    let days = control.app.store().usage_by_day(&id(client), today - 1, today).await.unwrap();
    days.iter().fold(Lines::default(), |sum, day| Lines {
        delivered: sum.delivered + day.lines.delivered,
        dropped: sum.dropped + day.lines.dropped,
    })
}

async fn until_used(control: &Control, client: &str, delivered: u64, dropped: u64) {
    let wanted = Lines { delivered, dropped };
    eventually(&format!("{client}: {wanted:?}"), async || match usage(control, client).await {
        used if used == wanted => Ok(()),
        used => Err(format!("{used:?}")),
    })
    .await;
}

fn is_heard(edge: &Edge) -> bool {
    edge.heard_at.is_some_and(|at| at > now() - 30_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_edges_say_is_noted_through_restarts_nonsense_and_wrong_clocks() {
    let broker = shared();
    let voice = Voice::new(broker);
    let mut control = Control::open(broker).await;
    let (client, one, two, none) = (name("c"), name("one"), name("two"), name("none"));
    control.add_active(&[id(&client)]).await;
    control.watch();
    // Their clocks are years off, and nobody's matter.
    let (behind, ahead) = (0, now() + 10_000_000_000);
    voice.ack(&one, 5, 1000, behind, &[(&client, 10, 1), ("stranger", 7, 0)]);
    voice.ack(&two, 6, 2000, ahead, &[(&client, 100, 0)]);
    for (key, value) in [
        (none.as_str(), "{"),
        (&none, "{}"),
        (&one, "\u{0}"),
        (&one, &format!(r#"{{"edge":"{none}"}}"#)),
        ("not a name", r#"{"edge":"not a name"}"#),
        (&none, r#"{"edge":"x","clients":{"c":{"delivered":-1}}}"#),
    ] {
        voice.say(key, Some(value));
    }
    for (edge, offset) in [(&one, 5), (&two, 6)] {
        let edge = until_applied(&control, edge, offset).await;
        assert!(is_heard(&edge) && edge.heard_at.unwrap() <= now(), "{edge:?}");
    }
    assert!(edge(&control, &none).await.is_none());
    // Every word is noted, and the usage with a later one.
    voice.ack(&one, 7, 1000, behind, &[(&client, 15, 1)]);
    until_applied(&control, &one, 7).await;
    let words = async |delivered: u64, dropped: u64, say: &dyn Fn()| {
        eventually("usage", async || {
            say();
            tokio::time::sleep(Duration::from_millis(500)).await;
            match usage(&control, &client).await {
                used if used == (Lines { delivered, dropped }) => Ok(()),
                used => Err(format!("{used:?}")),
            }
        })
        .await;
    };
    let both = || {
        voice.ack(&one, 7, 1000, behind, &[(&client, 20, 2)]);
        voice.ack(&two, 6, 2000, ahead, &[(&client, 100, 0)]);
    };
    words(120, 2, &both).await;
    // Started anew right after lines that were not written yet: those before and those since count, each once.
    voice.ack(&one, 8, 1000, behind, &[(&client, 27, 2)]);
    until_applied(&control, &one, 8).await;
    let anew = || voice.ack(&one, 9, 5000, behind, &[(&client, 3, 4)]);
    words(130, 6, &anew).await;
    anew();
    until_applied(&control, &one, 9).await;
    until_used(&control, &client, 130, 6).await;
    assert_eq!(usage(&control, "stranger").await, Lines::default());

    // Retired by an operator: it stays so, whatever it says. By anybody's tombstone it is not.
    acks::retire(&broker.connection("admin"), &EdgeName::new(&two).unwrap()).unwrap();
    edges::retire(&control.app, &Actor::operator("test"), &EdgeName::new(&one).unwrap()).await.unwrap();
    voice.ack(&one, 10, 5000, behind, &[]);
    let retired = until_applied(&control, &one, 10).await;
    assert!(retired.retired_at.is_some());
    assert!(edge(&control, &two).await.unwrap().retired_at.is_none());

    // What is counted from now on is in the history some seconds later.
    let mut delivered = 100;
    let points = eventually("a history", async || {
        delivered += 10;
        voice.ack(&two, 6, 2000, ahead, &[(&client, delivered, 0)]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        match history::of_client(&control.app, &id(&client)) {
            points if points.iter().map(|point| point.delivered).sum::<u64>() >= 15 => Ok(points),
            points => Err(format!("{points:?}")),
        }
    })
    .await;
    assert!(points.windows(2).all(|two| two[0].at_ms + 10_000 == two[1].at_ms));
    control.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_an_edge_refuses_the_list_is_known_until_it_takes_one() {
    let broker = shared();
    let voice = Voice::new(broker);
    let mut control = Control::open(broker).await;
    control.watch();
    let name = name("refusing");
    let view = async |control: &Control| {
        let views = edges::views(&control.app).await.unwrap();
        views.into_iter().find(|view| view.name == name).unwrap()
    };
    for (offset, why) in [(5, "the list has lost 40 of 120 clients at once"), (5, "a NUL: \0")] {
        let said = serde_json::json!({
            "edge": name, "topic_id": "list-of-the-test", "offset": offset, "rejected": [], "refused": why,
            "clients": {}, "at_ms": now(), "since_ms": 1000, "version": "0.1.0",
        });
        voice.say(&name, Some(&said.to_string()));
        let wanted = why.replace('\0', "\u{fffd}");
        eventually("the reason", async || match edge(&control, &name).await {
            Some(edge) if edge.refused == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        assert_eq!(view(&control).await.refused, Some(wanted));
    }
    voice.ack(&name, 6, 1000, now(), &[]);
    assert_eq!(until_applied(&control, &name, 6).await.refused, "");
    assert_eq!(view(&control).await.refused, None);
    control.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_words_make_no_dead_edge_alive_and_count_once() {
    let broker = shared();
    let voice = Voice::new(broker);
    let (client, gone, here) = (name("c"), name("gone"), name("here"));
    voice.ack(&gone, 1, 1000, now(), &[(&client, 5, 0)]);
    // Longer ago than an edge counts for. Only the broker's own time tells: that of the edge is still right.
    let said = tokio::time::Instant::now();
    let mut control = Control::open(broker).await;
    control.add_active(&[id(&client)]).await;
    tokio::time::sleep_until(said + Duration::from_secs(31)).await;
    control.watch();
    let dead = until_applied(&control, &gone, 1).await;
    assert!(!is_heard(&dead), "{dead:?}");
    voice.ack(&here, 2, 1000, now(), &[]);
    assert!(is_heard(&until_applied(&control, &here, 2).await));

    // Another one beside it, and one that reads it all again: the same.
    let mut again = Control::open(broker).await;
    again.watch();
    until_applied(&again, &here, 2).await;
    control.end().await;
    control.watch();
    voice.ack(&gone, 3, 1000, now(), &[(&client, 6, 0)]);
    assert!(is_heard(&until_applied(&control, &gone, 3).await));
    eventually("usage", async || {
        voice.ack(&gone, 3, 1000, now(), &[(&client, 6, 0)]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        match usage(&control, &client).await.delivered {
            6 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    control.end().await;
    again.end().await;
}

/// A broker's address at which it is not there until the door is opened.
struct Door {
    address: String,
    attempts: Arc<AtomicU64>,
    is_open: Arc<AtomicBool>,
}

impl Door {
    fn new(to: &str) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (attempts, is_open) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, may, to) = (attempts.clone(), is_open.clone(), to.to_owned());
        std::thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                if may.load(Ordering::Relaxed) {
                    let there = TcpStream::connect(&to).unwrap();
                    for (mut from, mut to) in [(here.try_clone().unwrap(), there.try_clone().unwrap()), (there, here)] {
                        // Over when either side closes.
                        std::thread::spawn(move || {
                            let _ = std::io::copy(&mut from, &mut to);
                            to.shutdown(Shutdown::Both)
                        });
                    }
                }
            }
        });
        Door { address, attempts, is_open }
    }

    /// Waits until somebody has tried so often since.
    async fn await_attempts(&self, count: u64) {
        let before = self.attempts.load(Ordering::Relaxed);
        eventually("attempts to reach Kafka", async || match self.attempts.load(Ordering::Relaxed) - before {
            enough if enough >= count => Ok(()),
            few => Err(few.to_string()),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_kafka_it_waits_and_ends_when_it_is_to() {
    let broker = shared();
    let voice = Voice::new(broker);
    let one = name("one");
    voice.ack(&one, 1, 1000, now(), &[]);
    let mut control = Control::open(broker).await;
    let mut config = control.app.config().clone();
    let door = Door::new(&config.kafka["bootstrap.servers"]);
    config.kafka.insert("bootstrap.servers".into(), door.address.clone());
    config.database = format!("sqlite:{}", control.folder.join("other.db").display());
    control.app = tel_control::app::App::open(config).await.unwrap();
    control.watch();
    door.await_attempts(5).await;
    tokio::time::timeout(Duration::from_secs(20), control.end()).await.expect("its end");

    control.watch();
    door.await_attempts(5).await;
    assert!(edge(&control, &one).await.is_none());
    assert!(!control.watching.as_ref().unwrap().is_finished());
    door.is_open.store(true, Ordering::Relaxed);
    until_applied(&control, &one, 1).await;
    control.end().await;
}

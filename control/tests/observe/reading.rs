//! How far consumers are, in one word, each seen with a real consumer.

use crate::broker::{shared, Broker};
use crate::{eventually, id, write, Control, Reader, Voice};
use std::time::{Duration, Instant};
use tel_control::app::now;
use tel_control::error::Kind;
use tel_control::kafka::admin::{Acl, Operation, Pattern, ResourceType};
use tel_control::observe::{consumers, lines, LineView, ReadingView, Verdict};
use tel_control::reconcile::status;
use tel_control::store::{Actor, CredentialState};

/// A client with its topic and its first credential's rights.
async fn client(broker: &Broker, control: &Control, name: &str) {
    control.app.store().add_client(&Actor::operator("test"), &new(control, name), now()).await.unwrap();
    control.app.store().issue_credential(&Actor::operator("test"), &id(name), now()).await.unwrap();
    broker.admin_commands(&format!(
        "topic logs.{name} 2\nacl {name}:1 READ topic logs.{name} literal\nacl {name}:1 READ group {name}: prefixed"
    ));
    broker.cert(name, &format!("{name}:1"));
}

fn new(control: &Control, name: &str) -> tel_control::store::NewClient {
    let id = id(name);
    let topic = control.app.namespace().topic(&id);
    tel_control::store::NewClient { id, topic, settings: Default::default() }
}

async fn until(control: &Control, name: &str, verdict: Verdict) -> ReadingView {
    eventually(&format!("{name}: {verdict:?}"), async || match consumers::reading(&control.app, &id(name)).await {
        Ok(view) if view.verdict == verdict => Ok(view),
        other => Err(format!("{other:?}")),
    })
    .await
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("line {number:05}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_state_of_a_client_s_reading_has_its_word() {
    let broker = shared();
    let voice = Voice::new(broker);
    let mut control = Control::open(broker).await;
    control.watch();
    client(broker, &control, "r83").await;
    let view = until(&control, "r83", Verdict::Updating).await;
    assert_eq!((view.lines, view.retention_ms, view.groups.len()), (0, 7_200_000, 0));
    control.set_active(&id("r83")).await;
    let view = until(&control, "r83", Verdict::NoTraffic).await;
    assert!(view.sees_refusals && view.oldest_at.is_none());

    // An edge has counted lines though none are there any more: nobody reads.
    eventually("counted", async || {
        voice.ack("reading-edge", 1, 1, now(), &[("r83", 5, 0)]);
        match consumers::reading(&control.app, &id("r83")).await.unwrap().verdict {
            Verdict::NoConsumer => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    write(broker, "logs.r83", numbered(40), Duration::from_secs(60));
    let view = eventually("its lines", async || match consumers::reading(&control.app, &id("r83")).await {
        Ok(view) if view.lines == 40 && view.oldest_at.is_some() => Ok(view),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(view.verdict, Verdict::NoConsumer);

    // A group that is not its own.
    let wrong = Reader::start(broker, "r83", "anything", "foo", "logs.r83");
    let view = eventually("refused", async || {
        wrong.try_to();
        match consumers::reading(&control.app, &id("r83")).await {
            Ok(view) if view.verdict == Verdict::Refused => Ok(view),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let refusal = view.refusal.unwrap();
    assert_eq!((refusal.resource.as_str(), refusal.name.as_str(), refusal.generation), ("group", "foo", 1));
    assert!(refusal.why.contains("\"foo\"") && refusal.why.contains("begin with \"r83:\""), "{}", refusal.why);
    drop(wrong);

    // The right one: it reads, and its credential has been seen.
    let right = Reader::start(broker, "r83", "r83-credential-1", "r83:a", "logs.r83");
    assert_eq!(right.read(40).len(), 40);
    let view = until(&control, "r83", Verdict::Reading).await;
    assert_eq!((view.groups[0].group.as_str(), view.groups[0].members, view.groups[0].behind), ("r83:a", 1, 0));
    assert_eq!(view.groups[0].loses_in_ms, None);
    let used = eventually("first use", async || {
        let credentials = control.app.store().credentials(&id("r83")).await.unwrap();
        if credentials[0].state == CredentialState::Active {
            Ok(credentials)
        } else {
            Err(format!("{credentials:?}"))
        }
    })
    .await;
    assert!(used[0].first_used.is_some());

    // Lines that are nearly as old as they get, and it does not read them.
    write(broker, "logs.r83", numbered(10), Duration::from_secs(7_200 - 300));
    let view = until(&control, "r83", Verdict::Behind).await;
    let loses = view.groups[0].loses_in_ms.unwrap();
    assert!(view.groups[0].behind == 10 && (200_000..=300_000).contains(&loses), "{view:?}");
    right.read(10);
    until(&control, "r83", Verdict::Reading).await;

    // Fresh lines that wait are no loss.
    write(broker, "logs.r83", numbered(10), Duration::ZERO);
    let view = eventually("waiting lines", async || match consumers::reading(&control.app, &id("r83")).await {
        Ok(view) if view.groups[0].behind == 10 && view.groups[0].loses_in_ms.is_some() => Ok(view),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(view.verdict, Verdict::Reading);
    assert!(view.groups[0].loses_in_ms.unwrap() > 7_000_000);

    // It goes; its place stays.
    drop(right);
    let view = until(&control, "r83", Verdict::NoConsumer).await;
    assert_eq!((view.groups[0].members, view.groups[0].behind), (0, 10));
    control.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_of_another_name_counts_if_only_one_credential_works() {
    let broker = shared();
    let mut control = Control::open(broker).await;
    client(broker, &control, "r84").await;
    control.set_active(&id("r84")).await;
    write(broker, "logs.r84", numbered(4), Duration::ZERO);
    control.watch();
    let reader = Reader::start(broker, "r84", "my own name", "r84:a", "logs.r84");
    reader.read(4);
    let store = control.app.store();
    let states = async || {
        let credentials = store.credentials(&id("r84")).await.unwrap();
        credentials.iter().map(|credential| credential.state).collect::<Vec<_>>()
    };
    eventually("first use", async || match states().await {
        seen if seen == [CredentialState::Active] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // With a second one it cannot be told which: it is not taken for unused.
    let second = store.issue_credential(&Actor::operator("test"), &id("r84"), now()).await.unwrap();
    let unused = async || store.unused_credentials(second.created_at + 1, 10).await.unwrap();
    assert_eq!(unused().await, std::slice::from_ref(&second));
    eventually("a stranger", async || {
        let _ = reader.0.poll(Duration::ZERO);
        match unused().await {
            unused if unused.is_empty() => Ok(()),
            unused => Err(format!("{unused:?}")),
        }
    })
    .await;
    assert_eq!(states().await, [CredentialState::Issued, CredentialState::Active]);
    control.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_credential_and_another_s_topic_are_named() {
    let broker = shared();
    let mut control = Control::open(broker).await;
    client(broker, &control, "r85").await;
    client(broker, &control, "r86").await;
    for name in ["r85", "r86"] {
        control.set_active(&id(name)).await;
        write(broker, &format!("logs.{name}"), numbered(4), Duration::ZERO);
    }
    control.watch();
    let why = async |reader: &Reader, words: &str| {
        eventually(words, async || {
            reader.try_to();
            match consumers::reading(&control.app, &id("r85")).await {
                Ok(ReadingView { verdict: Verdict::Refused, refusal: Some(refusal), .. })
                    if refusal.why.contains(words) =>
                {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    };
    let other = Reader::start(broker, "r85", "r85-credential-1", "r85:a", "logs.r86");
    why(&other, "Topic \"logs.r86\" is refused: yours is \"logs.r85\"").await;
    drop(other);
    broker.admin_commands("unacl r85:1 READ topic logs.r85 literal\nunacl r85:1 READ group r85: prefixed");
    let who = Actor::operator("test");
    control.app.store().revoke_credential(&who, &id("r85"), 1, "test", now()).await.unwrap();
    control.set_active(&id("r85")).await;
    let late = Reader::start(broker, "r85", "r85-credential-1", "r85:a", "logs.r85");
    why(&late, "Credential 1 was revoked").await;
    // The other client is not refused anything.
    assert_eq!(consumers::reading(&control.app, &id("r86")).await.unwrap().verdict, Verdict::NoConsumer);
    control.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_lines_are_read_without_a_group() {
    let broker = shared();
    let control = Control::open(broker).await;
    client(broker, &control, "r87").await;
    let app = &control.app;
    // On a busy machine two seconds may be too few for all of them.
    let last = async |count: usize, fits: &dyn Fn(&[LineView]) -> bool| {
        eventually("lines", async || {
            let begun = Instant::now();
            let lines = lines::last(app, &id("r87"), count).await.map_err(|error| error.to_string())?;
            println!("{} last lines: {:?}", lines.len(), begun.elapsed());
            if fits(&lines) {
                Ok(lines)
            } else {
                Err(format!("{lines:?}").chars().take(1000).collect())
            }
        })
        .await
    };
    last(10, &|lines| lines.is_empty()).await;
    write(broker, "logs.r87", numbered(1000), Duration::from_secs(10));
    let wanted: Vec<String> = numbered(1000).skip(950).collect();
    let seen = last(50, &|lines| lines.iter().map(|line| &line.text).eq(&wanted)).await;
    assert!(seen.windows(2).all(|two| two[0].at_ms < two[1].at_ms));
    last(1_000_000, &|lines| lines.len() == lines::MOST_LINES).await;

    // Long ones are fewer, and the last is there.
    let long = |number: usize| format!("{number} {}", "x".repeat(30_000));
    write(broker, "logs.r87", (0..100).map(long), Duration::ZERO);
    let seen =
        last(100, &|lines| lines.len() > 20 && lines.last().is_some_and(|line| line.text.starts_with("99 "))).await;
    let bytes: usize = seen.iter().map(|line| line.text.len()).sum();
    assert!(bytes <= 1 << 20, "{} lines, {bytes} bytes", seen.len());

    // Many at once share few consumers; those whose turn does not come are told so.
    let begun = Instant::now();
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { lines::last(&app, &id("r87"), 20).await })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(lines) => {
                assert!((1..=20).contains(&lines.len()));
                done += 1;
            }
            Err(error) => assert_eq!(error.kind, Kind::Unavailable, "{error}"),
        }
    }
    println!("{done} of 40 looks at once: {:?}", begun.elapsed());
    last(20, &|lines| lines.len() == 20).await;
    let groups = broker.admin().list_groups().unwrap().names;
    assert!(!groups.iter().any(|group| group.starts_with("tel-control")), "{groups:?}");
    assert_eq!(lines::last(app, &id("nobody"), 20).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_see_all_groups_has_not_looked() {
    let broker = shared();
    broker.cert("looker", "looker");
    let mut control = Control::open_as(broker, "looker").await;
    let begun = now();
    control.watch();
    let notices = || status(&control.app).notices;
    eventually("it is said", async || match notices() {
        said if said.iter().any(|text| text.contains("principal needs Describe")) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(control.app.store().looks().await.unwrap(), None);

    let right = Acl::allow("User:CN=looker", Operation::Describe, ResourceType::Group, Pattern::Literal, "*");
    broker.admin().create_acls(&[right]).unwrap().remove(0).unwrap();
    let looks = eventually("a look", async || control.app.store().looks().await.unwrap().ok_or_else(String::new)).await;
    assert!(looks.since > begun && looks.since <= looks.last, "{looks:?}");
    eventually("nothing is wrong", async || match notices() {
        none if none.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    control.end().await;
}

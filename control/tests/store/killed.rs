//! The process is killed between any two of its operations, or within one: what it had reported is there, and all fits together.

use crate::database::{Database, NOW};
use crate::{certificate, id, made, on_both, operator, plain};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use tel_control::store::{Actor, Desired, Outcome, Step, StepState, Store};

on_both!(what_was_reported_is_there);

/// When set, this process is the one that is killed.
const VICTIM: &str = "TEL_STORE_VICTIM";
const ROUNDS: usize = 12;

#[tokio::test]
async fn victim() {
    let Ok(url) = std::env::var(VICTIM) else { return };
    let round = std::env::var("TEL_STORE_ROUND").unwrap();
    let store = Store::open(&url, NOW).await.unwrap();
    for n in 0.. {
        work(&store, &format!("r{round}-{n}")).await;
    }
}

fn report(what: &str, of: &str) {
    println!("did {what} {of}");
    std::io::stdout().flush().unwrap();
}

async fn work(store: &Store, name: &str) {
    let client = id(name);
    store.add_client(&operator(), &plain(name), NOW).await.unwrap();
    report("add", name);
    let credential = store.issue_credential(&operator(), &client, NOW).await.unwrap();
    report("issue", name);
    store.certify_credential(&operator(), &client, credential.generation, &certificate("f", NOW), NOW).await.unwrap();
    made(store, &client, "T").await;
    let revision = store.client(&client).await.unwrap().unwrap().revision;
    let done = |step: &Step| Outcome {
        id: client.clone(),
        revision,
        step: *step,
        state: StepState::Done,
        detail: String::new(),
        next_try: NOW,
    };
    let outcomes: Vec<_> = Step::WANTED.iter().map(done).collect();
    store.set_steps(&Actor::reconciler(), &outcomes, NOW).await.unwrap();
    report("steps", name);
    store.leave(&operator(), &client, NOW, NOW).await.unwrap();
    report("leave", name);
    if name.ends_with('5') {
        assert!(store.begin_delete(&Actor::reconciler(), &client, "T", NOW).await.unwrap());
        store.forget(&Actor::reconciler(), &client, Some("T"), NOW).await.unwrap();
        report("forget", name);
    }
}

async fn what_was_reported_is_there(database: &Database) {
    let mut reported = BTreeMap::<String, BTreeSet<String>>::new();
    for round in 0..ROUNDS {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::victim", "--nocapture"])
            .env(VICTIM, database.url())
            .env("TEL_STORE_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut take = |line: String| {
            let mut words = line.split(' ').skip_while(|word| !word.ends_with("did")).skip(1);
            if let (Some(what), Some(of)) = (words.next(), words.next()) {
                reported.entry(of.to_owned()).or_default().insert(what.to_owned());
                return true;
            }
            false
        };
        // At another place each time.
        let mut left = 1 + round * 3;
        while left > 0 {
            if take(lines.next().unwrap().unwrap()) {
                left -= 1;
            }
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        for line in lines {
            take(line.unwrap());
        }
        let store = database.open().await;
        consistent(&store, &reported).await;
        store.close().await;
    }
    assert!(reported.values().any(|what| what.contains("forget")));
}

async fn consistent(store: &Store, reported: &BTreeMap<String, BTreeSet<String>>) {
    let mut log = BTreeMap::<String, Vec<String>>::new();
    let (mut before, mut number) = (None, None::<i64>);
    loop {
        let rows = store.audit_log(None, before, 1000).await.unwrap();
        let Some(last) = rows.last() else { break };
        before = Some(last.id);
        for row in rows {
            assert!(number.is_none_or(|number| number == row.id + 1), "audit row {} is missing", row.id + 1);
            number = Some(row.id);
            log.entry(row.subject.trim_start_matches("client:").to_owned()).or_default().insert(0, row.what);
        }
    }
    assert_eq!(number, Some(1));

    let mut clients = BTreeMap::new();
    let mut after = None;
    loop {
        let page = store.clients(None, after.as_ref(), 1000).await.unwrap();
        clients.extend(page.clients.into_iter().map(|client| (client.id.as_str().to_owned(), client)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    for (name, what) in reported {
        let of = &log[name];
        for (report, row) in [
            ("add", "client.add"),
            ("issue", "credential.issue"),
            ("leave", "client.leave"),
            ("forget", "client.forget"),
        ] {
            assert!(
                !what.contains(report) || of.iter().any(|there| there == row),
                "{name}: {report} was reported: {of:?}"
            );
        }
    }
    for (name, of) in &log {
        let count = |row: &str| of.iter().filter(|there| *there == row).count();
        assert_eq!(count("client.add"), 1, "{name}: {of:?}");
        let Some(client) = clients.remove(name) else {
            assert_eq!(count("client.forget"), 1, "{name}: {of:?}");
            continue;
        };
        assert_eq!(count("client.forget"), 0, "{name}: {of:?}");
        assert_eq!(count("client.leave"), usize::from(client.desired != Desired::Wanted), "{name}: {of:?}");
        assert_eq!(count("topic.create"), usize::from(client.topic_id.is_some()), "{name}: {of:?}");
        let steps: Vec<_> = store.steps(&client.id).await.unwrap();
        let expected = if client.desired == Desired::Wanted { Step::WANTED } else { Step::LEAVING };
        assert_eq!(steps.iter().map(|row| row.step).collect::<Vec<_>>(), expected, "{name}");
        // All of a batch, or none.
        if client.desired == Desired::Wanted {
            let done = steps.iter().filter(|row| row.state == StepState::Done).count();
            assert!(done == 0 || done == steps.len(), "{name}: {steps:?}");
            assert_eq!(count("step"), done, "{name}");
        }
        let credentials = store.credentials(&client.id).await.unwrap();
        assert_eq!(credentials.len(), count("credential.issue"), "{name}");
        assert!(credentials.iter().all(|credential| credential.generation == 1));
    }
    assert!(clients.is_empty(), "without an audit row: {:?}", clients.keys());
}

//! Clients and credentials from their first day to their last.

use crate::database::{Database, NOW};
use crate::{added, audited, certificate, id, made, on_both, operator, plain};
use tel_control::error::Kind;
use tel_control::store::{
    Actor, Added, ClientSettings, CredentialState, Desired, Looks, NewClient, Recovery, Step, StepState, MOST_LIVE,
};

on_both!(
    adding_twice_is_adding_once,
    of_colliding_ids_one_is_added,
    settings_are_changed_and_conflicts_seen,
    leaving_is_undone_until_the_deletion_begins,
    only_the_topic_of_the_same_id_is_deleted,
    generations_are_never_given_twice,
    five_credentials_are_live_at_most,
    a_credential_s_life,
    looks_that_follow_each_other_are_one_time,
    what_could_not_be_seen_is_not_unused,
    lists_come_in_pages,
);

const HOUR: i64 = 3_600_000;

async fn adding_twice_is_adding_once(database: &Database) {
    let store = database.open().await;
    assert_eq!(store.add_client(&operator(), &plain("c83"), NOW).await.unwrap(), Added::New);
    assert_eq!(store.add_client(&operator(), &plain("c83"), NOW + 1).await.unwrap(), Added::Same);
    let client = store.client(&id("c83")).await.unwrap().unwrap();
    assert_eq!((client.topic.as_str(), client.desired, client.created_at), ("logs.c83", Desired::Wanted, NOW));
    assert_eq!((client.topic_id, client.listed), (None, None));

    let other_topic = NewClient { topic: "other.c83".into(), ..plain("c83") };
    let other_settings =
        NewClient { settings: ClientSettings { sample: Some(0.1), ..Default::default() }, ..plain("c83") };
    for (different, what) in
        [(other_topic, "topic"), (other_settings, "settings"), (plain("a_b"), ""), (plain("a.b"), "a_b")]
    {
        match store.add_client(&operator(), &different, NOW).await.unwrap() {
            Added::New => assert_eq!(what, ""),
            Added::Different(text) => assert!(!what.is_empty() && text.contains(what), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    let stolen = NewClient { topic: "logs.c83".into(), ..plain("x") };
    assert!(matches!(store.add_client(&operator(), &stolen, NOW).await.unwrap(), Added::Different(_)));

    let steps = store.steps(&id("c83")).await.unwrap();
    assert_eq!(steps.iter().map(|row| row.step).collect::<Vec<_>>(), Step::WANTED);
    assert!(steps.iter().all(|row| row.state == StepState::Pending && row.next_try == NOW));
    assert_eq!(audited(&store, "client:c83").await, ["client.add"]);
    assert_eq!(audited(&store, "client:a.b").await, [""; 0]);
    for bad in [
        ClientSettings { sample: Some(1.5), ..Default::default() },
        ClientSettings { sample: Some(f64::NAN), ..Default::default() },
        ClientSettings { partitions: Some(0), ..Default::default() },
    ] {
        let error = store.add_client(&operator(), &NewClient { settings: bad, ..plain("y") }, NOW).await.unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
    }
}

async fn of_colliding_ids_one_is_added(database: &Database) {
    let store = database.open().await;
    let other = database.again(&store).await;
    for round in 0..5 {
        let mut tasks = Vec::new();
        for n in 0..16 {
            let store = if n % 4 < 2 { store.clone() } else { other.clone() };
            let new = plain(&format!("a{}{round}", if n % 2 == 0 { '.' } else { '_' }));
            tasks.push(tokio::spawn(async move { (n % 2, store.add_client(&operator(), &new, NOW).await.unwrap()) }));
        }
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        let winner = results.iter().find(|(_, added)| *added == Added::New).unwrap().0;
        assert_eq!(results.iter().filter(|(_, added)| *added == Added::New).count(), 1);
        for (of, added) in &results {
            match added {
                Added::New | Added::Same => assert_eq!(*of, winner),
                Added::Different(_) => assert_ne!(*of, winner),
                Added::Back => panic!("{results:?}"),
            }
        }
    }
    assert_eq!(store.count_clients().await.unwrap().wanted, 5);
}

async fn settings_are_changed_and_conflicts_seen(database: &Database) {
    let store = database.open().await;
    let c83 = added(&store, "c83").await;
    let before = store.client(&c83).await.unwrap().unwrap();
    let settings = ClientSettings {
        sample: Some(0.1),
        max_lines_per_second: Some(20_000),
        partitions: Some(3),
        retention_ms: Some(86_400_000),
    };
    let after = store.change_settings(&operator(), &c83, &settings, Some(before.revision), NOW + 1).await.unwrap();
    assert!(after.revision > before.revision);
    assert_eq!(store.client(&c83).await.unwrap().unwrap(), after);
    let late = ClientSettings::default();
    let error = store.change_settings(&operator(), &c83, &late, Some(before.revision), NOW + 2).await.unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
    // The same again is no change.
    assert_eq!(store.change_settings(&operator(), &c83, &settings, None, NOW + 3).await.unwrap(), after);
    assert_eq!(audited(&store, "client:c83").await, ["client.add", "client.settings"]);
    let error = store.change_settings(&operator(), &id("none"), &settings, None, NOW).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
}

async fn leaving_is_undone_until_the_deletion_begins(database: &Database) {
    let store = database.open().await;
    let c83 = added(&store, "c83").await;
    made(&store, &c83, "T1").await;
    store.leave(&operator(), &c83, NOW + HOUR, NOW + 1).await.unwrap();
    let again = store.leave(&operator(), &c83, NOW + 9 * HOUR, NOW + 2).await.unwrap();
    assert_eq!(again.desired, Desired::Leaving { since: NOW + 1, delete_after: NOW + HOUR, deleting: false });
    let steps = store.steps(&c83).await.unwrap();
    assert_eq!(steps.iter().map(|row| row.step).collect::<Vec<_>>(), Step::LEAVING);
    assert_eq!(steps[2].next_try, NOW + HOUR);
    let refused = store.issue_credential(&operator(), &c83, NOW + 3).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Conflict);

    assert_eq!(store.add_client(&operator(), &plain("c83"), NOW + 4).await.unwrap(), Added::Back);
    let back = store.client(&c83).await.unwrap().unwrap();
    assert_eq!((back.desired, back.topic_id.as_deref()), (Desired::Wanted, Some("T1")));
    assert_eq!(store.steps(&c83).await.unwrap().len(), Step::WANTED.len());
    assert!(!store.begin_delete(&operator(), &c83, "T1", NOW + 9 * HOUR).await.unwrap());

    store.leave(&operator(), &c83, NOW + HOUR, NOW + 5).await.unwrap();
    assert!(store.begin_delete(&Actor::reconciler(), &c83, "T1", NOW + HOUR).await.unwrap());
    assert!(store.begin_delete(&Actor::reconciler(), &c83, "T1", NOW + HOUR).await.unwrap());
    let late = store.add_client(&operator(), &plain("c83"), NOW + HOUR).await.unwrap();
    assert!(matches!(late, Added::Different(_)), "{late:?}");
    store.forget(&Actor::reconciler(), &c83, Some("T1"), NOW + HOUR).await.unwrap();
    assert_eq!(store.client(&c83).await.unwrap(), None);
    assert_eq!(store.add_client(&operator(), &plain("c83"), NOW + HOUR).await.unwrap(), Added::New);
    let log = [
        "client.add",
        "topic.create",
        "client.leave",
        "client.back",
        "client.leave",
        "topic.delete",
        "client.forget",
        "client.add",
    ];
    assert_eq!(audited(&store, "client:c83").await, log);
}

async fn only_the_topic_of_the_same_id_is_deleted(database: &Database) {
    let store = database.open().await;
    let c83 = added(&store, "c83").await;
    let reconciler = Actor::reconciler();
    made(&store, &c83, "T1").await;
    // Wanted, as after a restored database.
    assert!(!store.begin_delete(&reconciler, &c83, "T1", NOW + HOUR).await.unwrap());
    assert_eq!(store.forget(&reconciler, &c83, Some("T1"), NOW + HOUR).await.unwrap_err().kind, Kind::Conflict);
    store.leave(&operator(), &c83, NOW + HOUR, NOW).await.unwrap();
    assert!(!store.begin_delete(&reconciler, &c83, "T2", NOW + HOUR).await.unwrap());
    assert!(!store.begin_delete(&reconciler, &c83, "T1", NOW + HOUR - 1).await.unwrap());
    assert!(!store.begin_delete(&reconciler, &id("none"), "T1", NOW + HOUR).await.unwrap());
    for (topic_id, at) in [(Some("T2"), NOW + HOUR), (None, NOW + HOUR), (Some("T1"), NOW + HOUR - 1)] {
        assert_eq!(store.forget(&reconciler, &c83, topic_id, at).await.unwrap_err().kind, Kind::Conflict);
    }
    store.forget(&reconciler, &c83, Some("T1"), NOW + HOUR).await.unwrap();
    made(&store, &c83, "T3").await;
    assert_eq!(store.client(&c83).await.unwrap(), None);
}

async fn generations_are_never_given_twice(database: &Database) {
    let store = database.open().await;
    let c83 = added(&store, "c83").await;
    let mut given = Vec::new();
    for n in 0..3 {
        given.push(store.issue_credential(&operator(), &c83, NOW + n).await.unwrap().generation);
    }
    store.revoke_credential(&operator(), &c83, 3, "test", NOW).await.unwrap();
    store.leave(&operator(), &c83, NOW, NOW).await.unwrap();
    store.forget(&operator(), &c83, None, NOW).await.unwrap();
    assert_eq!(store.credentials(&c83).await.unwrap(), []);
    added(&store, "c83").await;
    given.push(store.issue_credential(&operator(), &c83, NOW).await.unwrap().generation);
    assert_eq!(given, [1, 2, 3, 4]);
    // Of other clients' generations nothing is known after a loss.
    store.recover(&operator(), None, &Recovery::default(), NOW).await.unwrap();
    added(&store, "c8").await;
    for client in ["c83", "c8"] {
        assert!(store.issue_credential(&operator(), &id(client), NOW).await.unwrap().generation > 1000);
    }

    // At once, from everywhere: all different.
    let other = database.again(&store).await;
    let mut tasks = Vec::new();
    for n in 0..8 {
        let (store, client) = (if n % 2 == 0 { store.clone() } else { other.clone() }, added(&store, "many").await);
        tasks.push(tokio::spawn(async move { store.issue_credential(&operator(), &client, NOW).await }));
    }
    let (mut given, mut refused) = (Vec::new(), 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(credential) => given.push(credential.generation),
            Err(error) => {
                assert_eq!(error.kind, Kind::Conflict, "{error}");
                refused += 1;
            }
        }
    }
    given.sort_unstable();
    given.dedup();
    assert_eq!((given.len(), refused), (MOST_LIVE, 3));
}

async fn five_credentials_are_live_at_most(database: &Database) {
    let store = database.open().await;
    let c83 = added(&store, "c83").await;
    for n in 1..=5 {
        let credential = store.issue_credential(&operator(), &c83, NOW).await.unwrap();
        assert_eq!(credential.generation, n);
        store
            .certify_credential(&operator(), &c83, n, &certificate("f", NOW + i64::from(n) * HOUR), NOW)
            .await
            .unwrap();
    }
    assert_eq!(store.issue_credential(&operator(), &c83, NOW).await.unwrap_err().kind, Kind::Conflict);
    // One more when one is expired, one more when one is revoked.
    assert_eq!(store.issue_credential(&operator(), &c83, NOW + HOUR).await.unwrap().generation, 6);
    assert!(store.issue_credential(&operator(), &c83, NOW + HOUR).await.is_err());
    assert!(store.revoke_credential(&operator(), &c83, 5, "lost", NOW).await.unwrap());
    assert!(!store.revoke_credential(&operator(), &c83, 5, "lost", NOW).await.unwrap());
    assert_eq!(store.issue_credential(&operator(), &c83, NOW + HOUR).await.unwrap().generation, 7);
    let expiring = store.expiring_credentials(NOW + 3 * HOUR, 100).await.unwrap();
    assert_eq!(expiring.iter().map(|credential| credential.generation).collect::<Vec<_>>(), [1, 2]);

    // 5 is revoked, 6 and 7 have no certificate; later 4 expires, too.
    let latest = async |at| store.live_certificate(&c83, at).await.unwrap().map(|found| (found.generation, found.pem));
    assert_eq!(latest(NOW).await, Some((4, "f".to_owned())));
    assert_eq!(latest(NOW + 4 * HOUR).await, None);
    assert_eq!(store.live_certificate(&id("c8"), NOW).await.unwrap(), None);
}

async fn a_credential_s_life(database: &Database) {
    let store = database.open().await;
    let c83 = added(&store, "c83").await;
    store.issue_credential(&operator(), &c83, NOW).await.unwrap();
    store.certify_credential(&operator(), &c83, 1, &certificate("aa", NOW + 100 * HOUR), NOW).await.unwrap();
    let again = store.certify_credential(&operator(), &c83, 1, &certificate("bb", NOW), NOW).await.unwrap_err();
    assert_eq!(again.kind, Kind::Conflict);
    assert_eq!(
        store.certify_credential(&operator(), &c83, 2, &certificate("bb", NOW), NOW).await.unwrap_err().kind,
        Kind::NotFound
    );
    store.issue_credential(&operator(), &c83, NOW + HOUR).await.unwrap();

    let unused = store.unused_credentials(NOW + 1, 100).await.unwrap();
    assert_eq!(
        unused.iter().map(|credential| (credential.id.as_str(), credential.generation)).collect::<Vec<_>>(),
        [("c83", 1)]
    );
    for at in [NOW + 5, NOW + 6, NOW + 60_005] {
        assert!(store.credential_used(&Actor::reconciler(), &c83, 1, at).await.unwrap());
    }
    let first = store.credentials(&c83).await.unwrap().pop().unwrap();
    assert_eq!(
        (first.state, first.first_used, first.last_used),
        (CredentialState::Active, Some(NOW + 5), Some(NOW + 60_005))
    );
    assert_eq!(first.fingerprint.as_deref(), Some("aa"));
    assert_eq!(store.unused_credentials(NOW + 1, 100).await.unwrap(), []);

    store.revoke_credential(&operator(), &c83, 2, "unused", NOW + 2 * HOUR).await.unwrap();
    assert!(!store.credential_used(&Actor::reconciler(), &c83, 2, NOW).await.unwrap());
    assert!(!store.credential_used(&Actor::reconciler(), &c83, 9, NOW).await.unwrap());
    let second = &store.credentials(&c83).await.unwrap()[0];
    assert_eq!((second.state, second.revoked_at), (CredentialState::Revoked, Some(NOW + 2 * HOUR)));
    let log = [
        "client.add",
        "credential.issue",
        "credential.certify",
        "credential.issue",
        "credential.first-use",
        "credential.revoke",
    ];
    assert_eq!(audited(&store, "client:c83").await, log);
}

async fn lists_come_in_pages(database: &Database) {
    let store = database.open().await;
    // In the order of bytes: capitals first, whatever the server's collation.
    let ids = ["B1", "a-1", "a.2", "a1", "a2_x", "b"];
    let new: Vec<_> = ids.iter().rev().map(|id| plain(id)).collect();
    assert!(store.add_clients(&operator(), &new, NOW).await.unwrap().iter().all(|added| *added == Added::New));
    store.leave(&operator(), &id("a1"), NOW + HOUR, NOW).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.clients(None, after.as_ref(), 4).await.unwrap();
        seen.extend(page.clients.iter().map(|client| client.id.as_str().to_owned()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);
    let page = store.clients(Some(true), None, 4).await.unwrap();
    assert_eq!((page.clients.len(), page.clients[0].id.as_str(), page.next), (1, "a1", None));
    assert_eq!(store.clients(Some(false), None, 5).await.unwrap().clients.len(), 5);
    let counts = store.count_clients().await.unwrap();
    assert_eq!((counts.wanted, counts.leaving, counts.failing), (5, 1, 0));
}

async fn looks_that_follow_each_other_are_one_time(database: &Database) {
    const MINUTE: i64 = 60_000;
    let store = database.open().await;
    assert_eq!(store.looks().await.unwrap(), None);
    for (at, since) in [
        (NOW, NOW),
        (NOW + 10 * MINUTE, NOW),
        // By another process's clock.
        (NOW + 9 * MINUTE, NOW),
        (NOW + 19 * MINUTE + 1, NOW + 19 * MINUTE + 1),
        (NOW + 20 * MINUTE, NOW + 19 * MINUTE + 1),
        // A clock was set back.
        (NOW, NOW),
    ] {
        store.note_look(at).await.unwrap();
        assert_eq!(store.looks().await.unwrap(), Some(Looks { since, last: at }));
    }
    // What was seen in another life of the database is not known.
    store.recover(&operator(), None, &Recovery::default(), NOW).await.unwrap();
    assert_eq!(store.looks().await.unwrap(), None);
}

async fn what_could_not_be_seen_is_not_unused(database: &Database) {
    let store = database.open().await;
    let (c8, c83) = (added(&store, "c8").await, added(&store, "c83").await);
    for client in [&c8, &c83] {
        store.issue_credential(&operator(), client, NOW).await.unwrap();
    }
    let unused = async |before| {
        let unused = store.unused_credentials(before, 100).await.unwrap();
        unused.into_iter().map(|credential| credential.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(unused(NOW + HOUR).await, ["c8", "c83"]);
    store.note_use_unknown(&c8, NOW + HOUR).await.unwrap();
    assert_eq!(unused(NOW + HOUR).await, ["c83"]);
    assert_eq!(unused(NOW + HOUR + 1).await, ["c8", "c83"]);

    // Who leaves can use none, and may come back.
    store.leave(&operator(), &c83, NOW + 99 * HOUR, NOW + HOUR).await.unwrap();
    assert_eq!(unused(NOW + 2 * HOUR).await, ["c8"]);
    assert_eq!(store.add_client(&operator(), &plain("c83"), NOW + 2 * HOUR).await.unwrap(), Added::Back);
    assert_eq!(unused(NOW + 2 * HOUR).await, ["c8"]);
    assert_eq!(unused(NOW + 2 * HOUR + 1).await, ["c8", "c83"]);
}

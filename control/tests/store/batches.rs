//! What the reconciler asks for many clients at once, and what a restored database takes over.

use crate::database::{Database, NOW};
use crate::{added, audited, certificate, id, made, on_both, operator, plain};
use std::collections::HashSet;
use tel_control::error::Kind;
use tel_control::names::ClientId;
use tel_control::store::{
    Actor, ClientSettings, CredentialState, Desired, MadeTopic, Marker, NewClient, Outcome, OwnSettings, Position,
    Recovery, Restart, Step, StepRow, StepState, Store, TopicNote,
};

on_both!(many_are_read_at_once, topics_and_their_settings_are_noted, steps_of_many, a_recovery_is_one_change);

const HOUR: i64 = 3_600_000;

async fn many_are_read_at_once(database: &Database) {
    let store = database.open().await;
    let (c8, dotted) = (added(&store, "c8").await, added(&store, "a.b").await);
    for client in [&c8, &c8, &dotted] {
        store.issue_credential(&operator(), client, NOW).await.unwrap();
    }
    let asked = [c8.clone(), dotted.clone(), id("none")];
    let mut found: Vec<ClientId> =
        store.clients_of(&asked).await.unwrap().into_iter().map(|client| client.id).collect();
    found.sort();
    assert_eq!(found, [dotted.clone(), c8.clone()]);
    let credentials = store.credentials_of(&asked).await.unwrap();
    assert_eq!((credentials.len(), credentials[&c8].len(), credentials[&dotted].len()), (2, 2, 1));
    let taken = store.taken_keys(&[id("a_b"), id("c8"), id("c9")]).await.unwrap();
    assert_eq!(taken, HashSet::from(["a_b".to_owned(), "c8".to_owned()]));
    assert!(store.clients_of(&[]).await.unwrap().is_empty() && store.credentials_of(&[]).await.unwrap().is_empty());
    let many: Vec<ClientId> = (0..1001).map(|n| id(&format!("m{n}"))).collect();
    assert_eq!(store.clients_of(&many).await.unwrap_err().kind, Kind::Invalid);
    assert_eq!(store.credentials_of(&many).await.unwrap_err().kind, Kind::Invalid);

    store.certify_credential(&operator(), &c8, 1, &certificate("f", NOW + HOUR), NOW).await.unwrap();
    store.certify_credential(&operator(), &c8, 2, &certificate("f", NOW + 2 * HOUR), NOW).await.unwrap();
    let expiring = |from, before| {
        let store = store.clone();
        async move {
            store
                .credentials_expiring(from, before, 10)
                .await
                .unwrap()
                .into_iter()
                .map(|it| it.generation)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(expiring(NOW, NOW + HOUR).await, [0u32; 0]);
    assert_eq!(expiring(NOW, NOW + HOUR + 1).await, [1]);
    assert_eq!(expiring(NOW + HOUR + 1, NOW + 9 * HOUR).await, [2]);
}

fn own(of: &[(&str, &[&str])]) -> OwnSettings {
    of.iter().map(|(key, values)| ((*key).into(), values.iter().map(|value| (*value).into()).collect())).collect()
}

async fn topics_and_their_settings_are_noted(database: &Database) {
    let store = database.open().await;
    let c8 = added(&store, "c8").await;
    assert_eq!(store.own_settings(std::slice::from_ref(&c8)).await.unwrap()[&c8], OwnSettings::new());
    let both = own(&[("retention.ms", &["1", "2"])]);
    let note = |of: &ClientId, is_made| TopicNote { id: of.clone(), settings: both.clone(), is_made };
    store.note_settings(&[note(&c8, true), note(&id("none"), true)]).await.unwrap();
    assert_eq!(store.own_settings(&[c8.clone(), id("none")]).await.unwrap(), [(c8.clone(), both.clone())].into());
    let one = own(&[("retention.ms", &["2"])]);
    let made = |of: &ClientId| MadeTopic { id: of.clone(), topic_id: "T".into(), settings: one.clone() };
    for _ in 0..2 {
        store.set_topics(&Actor::reconciler(), &[made(&c8), made(&id("none"))], NOW).await.unwrap();
    }
    assert_eq!(store.own_settings(std::slice::from_ref(&c8)).await.unwrap()[&c8], one);
    assert_eq!(store.client(&c8).await.unwrap().unwrap().topic_id.as_deref(), Some("T"));
    assert_eq!(audited(&store, "client:c8").await, ["client.add", "topic.create"]);

    // What is set on it is the same topic's; one that is made anew has another id.
    let topic_id = || async { store.client(&c8).await.unwrap().unwrap().topic_id };
    store.note_settings(&[note(&c8, false)]).await.unwrap();
    assert_eq!(topic_id().await.as_deref(), Some("T"));
    store.note_settings(&[note(&c8, true)]).await.unwrap();
    assert_eq!(topic_id().await, None);

    // Somebody else's is taken over once, and the steps that it holds up are done again.
    say(&store, &c8, Step::WANTED, StepState::Done, NOW).await;
    assert!(store.take_over_topic(&operator(), &c8, "U", NOW).await.unwrap());
    assert!(!store.take_over_topic(&operator(), &c8, "U", NOW).await.unwrap());
    assert_eq!(topic_id().await.as_deref(), Some("U"));
    let done = |row: &&StepRow| row.state == StepState::Done;
    assert_eq!(store.steps(&c8).await.unwrap().iter().filter(done).count(), Step::WANTED.len() - 1);
    assert_eq!(audited(&store, "client:c8").await.iter().filter(|what| *what == "topic.take-over").count(), 1);
    let unknown = store.take_over_topic(&operator(), &id("none"), "U", NOW).await.unwrap_err();
    assert_eq!(unknown.kind, Kind::NotFound);

    let at = |topic: &str| vec![(c8.clone(), Position { topic_id: topic.into(), offset: 1 })];
    store.set_listed(&at("L"), NOW).await.unwrap();
    assert_eq!((store.listed_elsewhere("L").await.unwrap(), store.listed_elsewhere("M").await.unwrap()), (0, 1));
}

/// Says the same of all these steps.
async fn say(store: &Store, client: &ClientId, steps: &[Step], state: StepState, next_try: i64) {
    let revision = store.client(client).await.unwrap().unwrap().revision;
    let outcome =
        |step: &Step| Outcome { id: client.clone(), revision, step: *step, state, detail: "said".into(), next_try };
    let outcomes: Vec<Outcome> = steps.iter().map(outcome).collect();
    assert!(store.set_steps(&Actor::reconciler(), &outcomes, NOW).await.unwrap().into_iter().all(|applied| applied));
}

async fn steps_of_many(database: &Database) {
    let store = database.open().await;
    let (c8, c83, gone) = (added(&store, "c8").await, added(&store, "c83").await, added(&store, "gone").await);
    for client in [&c8, &c83] {
        say(&store, client, &Step::WANTED[..4], StepState::Done, NOW).await;
        say(&store, client, &[Step::Edges], StepState::Pending, NOW + 9 * HOUR).await;
    }
    assert_eq!(store.waiting_for_edges(None, 10).await.unwrap().len(), 0, "where they are listed is not known");
    let place = Position { topic_id: "L".into(), offset: 7 };
    store.set_listed(&[(c8.clone(), place.clone()), (c83.clone(), place.clone())], NOW).await.unwrap();
    let waiting = store.waiting_for_edges(None, 10).await.unwrap();
    assert_eq!(waiting.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["c8", "c83"]);
    assert_eq!((&waiting[0].listed, waiting[0].detail.as_str()), (&place, "said"));
    assert_eq!(store.waiting_for_edges(Some(&c8), 10).await.unwrap().len(), 1);

    // What failed is hastened, with what waits for it; but not what waits for its time or for edges.
    say(&store, &c8, &[Step::Topic], StepState::Failed, NOW + HOUR).await;
    say(&store, &c8, &[Step::List], StepState::Pending, NOW + HOUR).await;
    store.leave(&operator(), &gone, NOW + 72 * HOUR, NOW).await.unwrap();
    say(&store, &gone, &[Step::Unlisted], StepState::Failed, NOW + HOUR).await;
    say(&store, &gone, &[Step::AclsRemoved], StepState::Pending, NOW + HOUR).await;
    assert_eq!(store.due(NOW, 10).await.unwrap(), []);
    assert_eq!(store.hasten(NOW).await.unwrap(), 4);
    assert_eq!(store.due(NOW, 10).await.unwrap(), [c8.clone(), gone.clone()]);
    assert_eq!(store.steps(&gone).await.unwrap()[2].next_try, NOW + 72 * HOUR);
    assert_eq!(store.steps(&c8).await.unwrap()[4].next_try, NOW + 9 * HOUR);

    let restart = |client: &ClientId| Restart { id: client.clone(), steps: vec![Step::Acls], why: "drift".into() };
    store.restart_many(&Actor::reconciler(), &[restart(&c83), restart(&id("none"))], NOW).await.unwrap();
    assert_eq!(store.steps(&c83).await.unwrap()[1].state, StepState::Pending);
    assert_eq!(audited(&store, "client:c83").await.last().unwrap(), "steps.restart");
    store.restart_many(&Actor::reconciler(), &[restart(&id("none"))], NOW).await.unwrap();
}

async fn a_recovery_is_one_change(database: &Database) {
    let store = database.open().await;
    for client in ["wanted", "left", "back", "gone"] {
        added(&store, client).await;
    }
    let wanted = id("wanted");
    for _ in 0..2 {
        store.issue_credential(&operator(), &wanted, NOW).await.unwrap();
    }
    store.leave(&operator(), &id("left"), NOW + HOUR, NOW).await.unwrap();
    store.leave(&operator(), &id("back"), NOW + HOUR, NOW).await.unwrap();
    made(&store, &id("left"), "T").await;
    assert!(store.begin_delete(&Actor::reconciler(), &id("left"), "T", NOW + HOUR).await.unwrap());

    let seen = Marker { database: "other".into(), mark: "m".into(), revision: 500 };
    let settings = ClientSettings { sample: Some(0.5), ..Default::default() };
    let recovery = Recovery {
        listed: vec![plain("wanted"), plain("back"), NewClient { settings, ..plain("new") }, plain("Left"), {
            NewClient { topic: "logs.left".into(), ..plain("thief") }
        }],
        topics: vec![(wanted.clone(), "W".into()), (id("left"), "other".into())],
        left: vec![id("gone"), id("left"), id("none")],
        without_rights: vec![(wanted.clone(), 1), (wanted.clone(), 9)],
        delete_after: NOW + 9 * HOUR,
    };
    let done = store.recover(&operator(), Some(&seen), &recovery, NOW + HOUR).await.unwrap();
    assert_eq!((done.adopted, done.back), (vec![id("new"), id("Left")], vec![id("back")]));
    assert_eq!(done.left, [id("gone")]);
    let gone = store.client(&id("gone")).await.unwrap().unwrap();
    assert_eq!(gone.desired, Desired::Leaving { since: NOW + HOUR, delete_after: NOW + 9 * HOUR, deleting: false });
    assert_eq!(store.steps(&id("gone")).await.unwrap()[2].next_try, NOW + 9 * HOUR);
    assert_eq!(audited(&store, "client:gone").await, ["client.add", "client.leave"]);
    assert_eq!(store.client(&wanted).await.unwrap().unwrap().topic_id.as_deref(), Some("W"));
    assert!(audited(&store, "client:wanted").await.contains(&"topic.adopt".to_owned()));
    assert_eq!((done.strange.len(), done.revoked, done.put_off), (1, 1, 1), "{:?}", done.strange);
    let left = store.client(&id("left")).await.unwrap().unwrap();
    assert_eq!(left.topic_id.as_deref(), Some("T"), "one that is recorded stays");
    assert_eq!(left.desired, Desired::Leaving { since: NOW, delete_after: NOW + 9 * HOUR, deleting: false });
    assert_eq!(store.steps(&id("left")).await.unwrap()[2].next_try, NOW + 9 * HOUR);
    assert_eq!(store.client(&id("back")).await.unwrap().unwrap().desired, Desired::Wanted);
    assert_eq!(store.steps(&id("back")).await.unwrap().len(), Step::WANTED.len());
    let credentials = store.credentials(&wanted).await.unwrap();
    let states: Vec<_> = credentials.iter().map(|it| (it.generation, it.state)).collect();
    assert_eq!(states, [(2, CredentialState::Issued), (1, CredentialState::Revoked)]);
    assert!(store.issue_credential(&operator(), &wanted, NOW).await.unwrap().generation > 1000);
    assert_eq!(store.client(&id("new")).await.unwrap().unwrap().settings.sample, Some(0.5));
    assert_eq!(audited(&store, "client:new").await, ["client.add", "client.adopt"]);
    // Kafka still has the marker that was overruled.
    let marker = store.renew_marker(Some(&seen), NOW).await.unwrap();
    assert!(marker.database != seen.database && marker.revision > seen.revision);

    // Again, as after a crash before Kafka has the new marker: nothing is left to do.
    let again = store.recover(&operator(), Some(&seen), &recovery, NOW + HOUR).await.unwrap();
    assert_eq!(again.left, []);
    assert_eq!((again.adopted.len(), again.back.len(), again.revoked, again.put_off), (0, 0, 0, 0));
}

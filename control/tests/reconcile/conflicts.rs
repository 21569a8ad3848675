//! What others did is told and stays, and the plan says what then happens.

use crate::system::{delete_topics, until, Place};
use crate::{id, operator};
use tel_control::app::now;
use tel_control::error::Kind;
use tel_control::kafka::admin::{Acl, ConfigChange, ConfigOf, ConfigSource, Operation, Pattern, ResourceType};
use tel_control::kafka::groups;
use tel_control::onboarding::{clients, credentials};
use tel_control::reconcile;
use tel_control::store::{ClientSettings, Step, StepState};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_are_told_and_stay() {
    let place = Place::on_shared().await;
    place.configure("tel.db", r#"{"full_pass_seconds": 1}"#);
    let system = place.start().await;
    let app = &system.app;
    for client in ["anew", "set", "grown", "given"] {
        clients::subscribe(app, &operator(), &id(client), None).await.unwrap();
        credentials::issue(app, &operator(), &id(client), None).await.unwrap();
    }
    for client in ["anew", "set", "grown", "given"] {
        system.await_listed(client).await;
    }
    let admin = place.admin();
    delete_topics(place.broker(), &["logs.anew"]).await;
    place.create_topic("logs.anew").await;
    let of = ConfigOf::Topic("logs.set".into());
    let set = vec![ConfigChange::Set("retention.ms".into(), "123456".into())];
    admin.alter_configs(&[(of.clone(), set)]).unwrap().remove(0).unwrap();
    admin.create_partitions(&[("logs.grown".into(), 4)]).unwrap().remove(0).unwrap();
    let more = [
        Acl::allow("User:CN=given:1", Operation::Read, ResourceType::Topic, Pattern::Literal, "logs.set"),
        Acl::allow("User:CN=given:7", Operation::Read, ResourceType::Topic, Pattern::Literal, "logs.given"),
    ];
    admin.create_acls(&more).unwrap().into_iter().for_each(|made| made.unwrap());
    let new_id = place.topic("logs.anew").unwrap().id;

    for (client, step, texts) in [
        ("anew", Step::Topic, &["made anew", new_id.as_str(), "client take-over anew"][..]),
        ("set", Step::Topic, &["retention.ms", "123456"]),
        ("grown", Step::Topic, &["4 partitions"]),
        ("given", Step::Acls, &["given:1", "given:7", "logs.set"]),
    ] {
        let detail = system.await_step(client, step, StepState::Failed).await;
        assert!(texts.iter().all(|text| detail.contains(text)), "{client}: {detail}");
        assert_eq!(system.view(client).await.state, "failing");
    }
    let plan = reconcile::plan(app).await.unwrap();
    assert!(plan.is_empty(), "{plan:#?}");
    assert_eq!((plan.conflicts.len(), plan.strange.len()), (3, 2), "{plan:#?}");
    let value =
        admin.describe_configs(std::slice::from_ref(&of), &["retention.ms"]).unwrap().remove(0).unwrap().remove(0);
    assert_eq!(value.value.as_deref(), Some("123456"));
    assert_eq!(place.topic("logs.anew").unwrap().id, new_id);
    assert_eq!((place.rights("User:CN=given:1").len(), place.rights("User:CN=given:7").len()), (3, 1));
    assert_eq!(place.listed(), ["anew", "given", "grown", "set"], "the service goes on");

    // It is over when they are, without anybody's doing here.
    admin.alter_configs(&[(of, vec![ConfigChange::Unset("retention.ms".into())])]).unwrap().remove(0).unwrap();
    system.await_step("set", Step::Topic, StepState::Done).await;
    reconcile::take_over_topic(app, &operator(), &id("anew")).await.unwrap();
    system.await_step("anew", Step::Topic, StepState::Done).await;
    let settings = ClientSettings { partitions: Some(4), ..Default::default() };
    clients::change_settings(app, &operator(), &id("grown"), &settings, None).await.unwrap();
    system.await_step("grown", Step::Topic, StepState::Done).await;
    system.stop().await;
    admin
        .delete_acls(&more.each_ref().map(Into::into))
        .unwrap()
        .into_iter()
        .for_each(|gone| assert_eq!(gone.unwrap().len(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_others_is_the_client_s_only_by_an_operator_s_word() {
    let place = Place::on_shared().await;
    place.configure("tel.db", r#"{"full_pass_seconds": 1, "grace_period_hours": 0}"#);
    let admin = place.admin();
    let theirs = place.create_topic("logs.theirs").await;
    place.broker().probe(&["write admin logs.theirs line".into()]);
    let lines = || groups::extents(admin, "logs.theirs", 1).unwrap()[&0].end;
    let of = [ConfigOf::Topic("logs.theirs".into())];
    let source = || admin.describe_configs(&of, &["segment.ms"]).unwrap().remove(0).unwrap().remove(0).source;

    let system = place.start().await;
    let app = &system.app;
    for _ in 0..2 {
        clients::subscribe(app, &operator(), &id("theirs"), None).await.unwrap();
        credentials::issue(app, &operator(), &id("theirs"), None).await.unwrap();
        let detail = system.await_step("theirs", Step::Topic, StepState::Failed).await;
        for text in ["topic logs.theirs: it was made by somebody else", theirs.as_str(), "client take-over theirs"] {
            assert!(detail.contains(text), "{detail}");
        }
        until("nobody may read it", || async {
            system.step("theirs", Step::Acls).await == (StepState::Pending, "waits for topic".into())
        })
        .await;
        system.await_pass().await;
        let plan = reconcile::plan(app).await.unwrap();
        assert!(plan.is_empty() && plan.conflicts.len() == 1, "{plan:#?}");
        assert!(place.rights("User:CN=theirs:1").is_empty() && place.listed().is_empty());
        assert!(source() != ConfigSource::Topic, "nothing is set on it");

        clients::unsubscribe(app, &operator(), &id("theirs")).await.unwrap();
        until("it is forgotten", || async { app.store().client(&id("theirs")).await.unwrap().is_none() }).await;
        assert_eq!((place.topic("logs.theirs").map(|topic| topic.id), lines()), (Some(theirs.clone()), 1));
    }

    clients::subscribe(app, &operator(), &id("theirs"), None).await.unwrap();
    let credential = credentials::issue(app, &operator(), &id("theirs"), None).await.unwrap();
    system.await_step("theirs", Step::Topic, StepState::Failed).await;
    for _ in 0..2 {
        reconcile::take_over_topic(app, &operator(), &id("theirs")).await.unwrap();
    }
    system.await_listed("theirs").await;
    assert_eq!(place.rights(&format!("User:CN=theirs:{}", credential.generation)).len(), 2);
    assert_eq!((place.topic("logs.theirs").unwrap().id, lines()), (theirs, 1));
    until("it is configured", || async { source() == ConfigSource::Topic }).await;
    let log = system.audited("theirs").await;
    let count = |what: &str| log.iter().filter(|row| *row == what).count();
    assert_eq!((count("topic.create"), count("topic.take-over"), count("topic.delete")), (0, 1, 0), "{log:?}");
    clients::unsubscribe(app, &operator(), &id("theirs")).await.unwrap();
    until("it is deleted as the client's", || async { place.topic("logs.theirs").is_none() }).await;
    let nothing = reconcile::take_over_topic(app, &operator(), &id("nobody")).await.unwrap_err();
    assert_eq!(nothing.kind, Kind::NotFound);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_says_what_then_happens() {
    let place = Place::on_shared().await;
    place.configure("tel.db", r#"{"full_pass_seconds": 3600, "quota": {"consumer_bytes_per_second": 5000}}"#);
    // What is wanted before anything runs.
    let app = place.app().await;
    for client in ["p1", "p2"] {
        clients::subscribe(&app, &operator(), &id(client), None).await.unwrap();
    }
    credentials::issue(&app, &operator(), &id("p1"), None).await.unwrap();
    let plan = reconcile::plan(&app).await.unwrap();
    assert_eq!(plan.topics, ["create topic logs.p1 with 1 partitions", "create topic logs.p2 with 1 partitions"]);
    assert_eq!((plan.acls.len(), plan.quotas.len(), plan.list.len()), (2, 1, 2), "{plan:#?}");
    assert!(plan.acls.iter().all(|text| text.starts_with("create ACL User:CN=p1:1")), "{plan:#?}");
    assert!(place.topic("logs.p1").is_none() && place.topic("tel.clients").is_none(), "nothing is changed");

    let system = crate::system::System::start(app);
    system.await_listed("p1").await;
    system.await_listed("p2").await;
    until("nothing left", || async { reconcile::plan(&system.app).await.unwrap().is_empty() }).await;
    system.stop().await;

    // Drift, seen by the plan of a process that only looks, and mended by one that starts.
    delete_topics(place.broker(), &["logs.p2"]).await;
    let gone = Acl::allow("User:CN=p1:1", Operation::Read, ResourceType::Topic, Pattern::Literal, "logs.p1");
    place.admin().delete_acls(&[(&gone).into()]).unwrap().remove(0).unwrap();
    let app = place.app().await;
    app.store().leave(&operator(), &id("p1"), now(), now()).await.unwrap();
    let plan = reconcile::plan(&app).await.unwrap();
    assert_eq!(plan.topics.len(), 2, "{plan:#?}");
    assert!(plan.topics[0].starts_with("delete topic logs.p1"), "{plan:#?}");
    assert_eq!(plan.topics[1], "create topic logs.p2 with 1 partitions");
    assert_eq!(plan.list, ["take p1 off the list"]);
    assert_eq!(plan.acls, ["delete ACL User:CN=p1:1: Allow Read on Group Prefixed p1:"]);
    assert_eq!(plan.quotas, ["lift the quota of User:CN=p1:1"]);
    let system = crate::system::System::start(app);
    until("p1 is gone", || async { place.topic("logs.p1").is_none() }).await;
    until("p2 is back", || async { place.topic("logs.p2").is_some() }).await;
    system.await_listed("p2").await;
    assert_eq!(place.listed(), ["p2"]);
    assert!(system.audited("p2").await.contains(&"steps.restart".to_owned()));
    system.stop().await;
}

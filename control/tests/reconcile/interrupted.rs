//! The process is killed while it undoes something, mends something, or does what an operator has said: as in `killed`.

use crate::killed::{ends_well, kill_at, Others, WITH};
use crate::system::{delete_topics, until, Place};
use crate::{edge, id, operator};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tel_control::kafka::admin::TopicId;
use tel_control::onboarding::{clients, credentials, edges};
use tel_control::reconcile;
use tel_control::store::{Added, Step, StepState};

/// As [`WITH`], and who leaves can come back.
const WITH_GRACE: &str = r#"{"quota": {"consumer_bytes_per_second": 4096}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_leaving_is_undone() {
    let place = Place::on_shared().await;
    place.configure("tel.db", WITH_GRACE);
    let app = place.app().await;
    let others = Others::make(&place, &app).await;
    app.store().close().await;
    // On the way out, or on the way back.
    let halts = [
        ("list-removed", true),
        ("rights-applied", true),
        ("quotas-applied", true),
        ("marker-renewed", false),
        ("topics-recorded", false),
        ("rights-applied", false),
        ("quotas-applied", false),
        ("list-published", false),
        ("list-recorded", false),
    ];
    for (halt, leaves) in halts {
        let name = format!("u-{halt}-{leaves}");
        let client = id(&name);
        let app = place.app().await;
        clients::subscribe(&app, &operator(), &client, None).await.unwrap();
        credentials::issue(&app, &operator(), &client, None).await.unwrap();
        app.store().close().await;
        ends_well(&place, &name).await;
        let topic = place.topic(&format!("logs.{name}")).unwrap().id;

        let app = place.app().await;
        clients::unsubscribe(&app, &operator(), &client).await.unwrap();
        app.store().close().await;
        if leaves {
            kill_at(&place, halt);
        } else {
            let system = place.start().await;
            system.await_step(&name, Step::AclsRemoved, StepState::Done).await;
            system.stop().await;
        }
        let app = place.app().await;
        assert_eq!(clients::subscribe(&app, &operator(), &client, None).await.unwrap(), Added::Back);
        app.store().close().await;
        if !leaves {
            kill_at(&place, halt);
        }
        ends_well(&place, &name).await;
        assert_eq!(place.topic(&format!("logs.{name}")).unwrap().id, topic);
    }
    let app = place.app().await;
    others.are_untouched(&place, &app);
    app.store().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_topic_that_others_deleted_is_made_again() {
    let place = Place::on_shared().await;
    place.configure("tel.db", WITH_GRACE);
    for halt in ["settings-noted", "topics-applied", "topics-recorded"] {
        let name = format!("again-{halt}");
        let topic_id = |topic: &str| place.topic(topic).map(|topic| topic.id);
        let system = place.start().await;
        clients::subscribe(&system.app, &operator(), &id(&name), None).await.unwrap();
        system.await_listed(&name).await;
        system.stop().await;
        let topic = format!("logs.{name}");
        let before = topic_id(&topic);
        delete_topics(place.broker(), &[&topic]).await;
        kill_at(&place, halt);

        let system = place.start().await;
        system.await_pass().await;
        let recorded = || async {
            let client = system.app.store().client(&id(&name)).await.unwrap().unwrap();
            client.topic_id.as_deref().map(TopicId::from_text)
        };
        until("it is made again", || async { topic_id(&topic).is_some() && recorded().await == topic_id(&topic) })
            .await;
        system.await_listed(&name).await;
        assert_ne!(topic_id(&topic), before);
        let log = system.audited(&name).await;
        assert_eq!(log.iter().filter(|what| *what == "topic.create").count(), 2, "{log:?}");
        system.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_topic_is_taken_over() {
    let place = Place::on_shared().await;
    place.configure("tel.db", WITH);
    let app = place.app().await;
    let others = Others::make(&place, &app).await;
    app.store().close().await;
    for halt in ["settings-noted", "topics-applied", "topics-recorded", "rights-applied", "list-published"] {
        let name = format!("over-{halt}");
        let topic = format!("logs.{name}");
        let theirs = place.create_topic(&topic).await;
        let system = place.start().await;
        clients::subscribe(&system.app, &operator(), &id(&name), None).await.unwrap();
        credentials::issue(&system.app, &operator(), &id(&name), None).await.unwrap();
        system.await_step(&name, Step::Topic, StepState::Failed).await;
        system.stop().await;
        let app = place.app().await;
        reconcile::take_over_topic(&app, &operator(), &id(&name)).await.unwrap();
        app.store().close().await;
        kill_at(&place, halt);
        ends_well(&place, &name).await;
        assert_eq!(place.topic(&topic).unwrap().id, theirs);
    }
    let app = place.app().await;
    others.are_untouched(&place, &app);
    app.store().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_edges_come_and_go() {
    let place = Place::on_shared().await;
    let system = place.start().await;
    // The control topics are there.
    until("it leads", || async { reconcile::status(&system.app).role == reconcile::Role::Leading }).await;
    let others = Others::make(&place, &system.app).await;
    system.stop().await;
    let principal = |name: &str| format!("User:CN=edge:{name}");
    for retires in [false, true] {
        let app = place.app().await;
        if retires {
            edges::retire(&app, &operator(), &edge("k-edge")).await.unwrap();
        } else {
            for name in ["k-edge", "k-stays"] {
                edges::certify(&app, &operator(), &edge(name), None).await.unwrap();
            }
        }
        app.store().close().await;
        kill_at(&place, "edge-rights-applied");
        let system = place.start().await;
        system.await_pass().await;
        let rights = if retires { 0 } else { 3 };
        until("its rights", || async { place.rights(&principal("k-edge")).len() == rights }).await;
        until("the other's", || async { place.rights(&principal("k-stays")).len() == 3 }).await;
        let plan = reconcile::plan(&system.app).await.unwrap();
        assert!(plan.is_empty() && plan.strange.is_empty(), "{plan:#?}");
        others.are_untouched(&place, &system.app);
        system.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_an_operator_s_word_on_the_list_is_written() {
    let place = Place::on_shared().await;
    let system = place.start().await;
    for client in ["w-one", "w-two"] {
        clients::subscribe(&system.app, &operator(), &id(client), None).await.unwrap();
        system.await_listed(client).await;
    }
    system.stop().await;
    let app = place.app().await;
    reconcile::accept_list(&app, &operator()).await.unwrap();
    app.store().close().await;
    for halt in ["marker-renewed", "list-accepted"] {
        kill_at(&place, halt);
    }
    assert!(place.list().marker.is_some(), "written, and not noted as written");
    let system = place.start().await;
    until("it is noted", || async { system.app.store().setting("list.accept").await.unwrap().is_none() }).await;
    let list = place.list();
    let marker = list.marker.unwrap();
    assert_eq!((marker.accept, marker.clients), (list.position.topic_id.librdkafka_text(), 2));
    assert_eq!(place.listed(), ["w-one", "w-two"]);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_strangers_are_taken_off_the_list() {
    let place = Place::on_shared().await;
    let system = place.start().await;
    clients::subscribe(&system.app, &operator(), &id("known"), None).await.unwrap();
    system.await_listed("known").await;
    system.stop().await;
    let producer: BaseProducer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", place.broker().plain()).create().unwrap();
    for halt in ["unknown-noted", "unknown-removed"] {
        let stranger = format!("stranger-{halt}");
        let value = format!(r#"{{"id":"{stranger}","topic":"logs.{stranger}"}}"#);
        let record = BaseRecord::to("tel.clients").key(&stranger).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(crate::system::PATIENCE).unwrap();
        kill_at(&place, halt);
        let system = place.start().await;
        system.await_pass().await;
        until("the stranger is gone", || async { place.listed() == ["known"] }).await;
        let log = system.audited(&stranger).await;
        assert!(!log.is_empty() && log.iter().all(|what| what == "list.remove"), "{log:?}");
        system.stop().await;
    }
}

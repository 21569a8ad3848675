//! Clients: contract, section 8.

use crate::app::{request, Answer, Control};
use axum::http::Method;
use serde_json::{json, Value};
use tel_control::app::now;
use tel_control::names::ClientId;
use tel_control::store::{Actor, Outcome, Step, StepState};

const CLIENTS: &str = "/api/v1/clients";

async fn add(control: &Control, body: Value) -> Answer {
    control.ask(Method::POST, CLIENTS, Some(body)).await
}

#[tokio::test]
async fn a_client_is_added_once() {
    let control = Control::new().await;
    let added = add(&control, json!({"id": "c83"})).await.is(201).json();
    assert_eq!(added["id"], "c83");
    assert_eq!(added["state"], "pending");
    assert_eq!(added["topic"], "logs.c83");
    assert_eq!(added["edges"], json!({"current": 0, "known": 0}));
    let names: Vec<&str> =
        added["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["topic", "acls", "quota", "list", "edges"]);
    assert!(added["steps"]
        .as_array()
        .unwrap()
        .iter()
        .all(|step| step["state"] == "pending" && step["detail"].is_string()));

    let again = add(&control, json!({"id": "c83"})).await.is(200).json();
    assert_eq!(again, added);
    let different = add(&control, json!({"id": "c83", "settings": {"sample": 0.5}})).await.is(409);
    assert!(different.detail().contains("other settings"));
    add(&control, json!({"id": "c83", "settings": {}})).await.is(200);
    add(&control, json!({"id": "a.b"})).await.is(201);
    assert!(add(&control, json!({"id": "a_b"})).await.is(409).detail().contains("a.b"));
    let own = control.client_token("a-b").await;
    control.ask_as(&own, Method::POST, CLIENTS, None).await.is(201);
    assert_eq!(control.audited("client:c83").await, [("operator:test".to_owned(), "client.add".to_owned())]);
}

#[tokio::test]
async fn of_a_collision_a_client_is_told_nothing_of_the_other() {
    let control = Control::new().await;
    add(&control, json!({"id": "se.cret"})).await.is(201);
    let own = control.client_token("se_cret").await;
    let answer = control.ask_as(&own, Method::POST, CLIENTS, None).await.is(409);
    assert!(!answer.text().contains("se.cret"), "{}", answer.text());
}

#[tokio::test]
async fn leaving_is_undone_by_adding_again() {
    let control = Control::new().await;
    add(&control, json!({"id": "c83", "settings": {"sample": 0.5}})).await.is(201);
    control.ask(Method::DELETE, "/api/v1/clients/nobody", None).await.is(404);
    let left = control.ask(Method::DELETE, "/api/v1/clients/c83", None).await.is(202).json();
    assert_eq!(left["state"], "leaving");
    assert_eq!(left["leaving"]["deleting"], false);
    let again = control.ask(Method::DELETE, "/api/v1/clients/c83", None).await.is(202).json();
    assert_eq!(again["leaving"], left["leaving"]);
    control.ask(Method::POST, "/api/v1/clients/c83/credentials", None).await.is(409);
    let patch = Some(json!({"settings": {"sample": 0.1}}));
    control.ask(Method::PATCH, "/api/v1/clients/c83", patch).await.is(409);
    let back = add(&control, json!({"id": "c83"})).await.is(200).json();
    assert_eq!((back["state"].as_str(), &back["settings"]), (Some("pending"), &json!({"sample": 0.5})));
    assert!(back.get("leaving").is_none());
}

#[tokio::test]
async fn settings_are_patched_on_the_revision_that_was_read() {
    let control = Control::new().await;
    let added = add(&control, json!({"id": "c83", "settings": {"sample": 0.5, "partitions": 6}})).await.is(201);
    let etag = added.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", added.json()["revision"]));
    let bearer = format!("Bearer {}", control.operator);
    let patch = |etag: &str, content: &str, body: Value| {
        let headers = [("authorization", bearer.as_str()), ("if-match", etag), ("content-type", content)];
        let mut request = request(Method::PATCH, "/api/v1/clients/c83", &headers, None);
        *request.body_mut() = body.to_string().into();
        control.send(request)
    };
    let (json_type, patch_type) = ("application/json", "application/merge-patch+json; charset=utf-8");
    let changed =
        patch(&etag, patch_type, json!({"settings": {"sample": null, "retention_ms": 3600000}})).await.is(200);
    assert_eq!(changed.json()["settings"], json!({"partitions": 6, "retention_ms": 3_600_000}));
    assert_ne!(changed.header("etag"), etag);
    patch(&etag, json_type, json!({"settings": {"sample": 0.1}})).await.is(412);
    patch(etag.trim_matches('"'), json_type, json!({"settings": {"sample": 0.1}})).await.is(412);
    for bad in ["\"7", "\"\"", "W/\"7\"", "*", "\"99999999999999999999\""] {
        patch(bad, json_type, json!({"settings": {}})).await.is(400);
    }
    let etag = changed.header("etag");
    patch(etag, "text/plain", json!({"settings": {}})).await.is(415);
    for (bad, named) in [
        (json!({"settings": {"sample": 1.5}}), "sample"),
        (json!({"settings": {"sample": "x"}}), "settings.sample"),
        (json!({"settings": {"colour": 1}}), "colour"),
        (json!({"settings": {"partitions": 0}}), "partitions"),
        (json!({"settings": {"partitions": 10_001}}), "partitions"),
        (json!({"settings": {"max_lines_per_second": 9_007_199_254_740_992u64}}), "max_lines_per_second"),
        (json!({"settings": {"retention_ms": 1}}), "retention_ms"),
        (json!({"id": "c84", "settings": {}}), "id"),
        (json!({}), "settings"),
    ] {
        let answer = patch(etag, json_type, bad.clone()).await.is(422);
        assert!(answer.detail().contains(named), "{bad}: {}", answer.detail());
    }
    let same = patch(etag, json_type, json!({"settings": {}})).await.is(200);
    assert_eq!(same.header("etag"), etag);
    control.ask(Method::PATCH, "/api/v1/clients/nobody", Some(json!({"settings": {}}))).await.is(404);
}

#[tokio::test]
async fn the_list_comes_in_parts_and_by_state() {
    let control = Control::new().await;
    let clients: Vec<Value> = (0..250).map(|number| json!({"id": format!("c{number:03}")})).collect();
    let imported = control.ask(Method::POST, "/api/v1/import", Some(json!({"clients": clients}))).await.is(200).json();
    assert_eq!(imported, json!({"new": 250, "same": 0, "back": 0, "different": []}));

    let mut seen = Vec::new();
    let mut path = format!("{CLIENTS}?limit=100");
    let sizes = [100, 100, 50];
    for (part, size) in sizes.into_iter().enumerate() {
        let page = control.ask(Method::GET, &path, None).await.is(200).json();
        let ids = page["clients"].as_array().unwrap().iter().map(|client| client["id"].as_str().unwrap().to_owned());
        let ids: Vec<String> = ids.collect();
        assert_eq!(ids.len(), size);
        seen.extend(ids);
        match page["next"].as_str() {
            Some(next) => path = format!("{CLIENTS}?limit=100&after={next}"),
            None => assert_eq!(part, sizes.len() - 1),
        }
    }
    let all: Vec<String> = (0..250).map(|number| format!("c{number:03}")).collect();
    assert_eq!(seen, all);

    // One done, one failed, one leaving.
    let store = control.app.store();
    let outcome = |id: &str, step, state, revision| Outcome {
        id: ClientId::new(id).unwrap(),
        revision,
        step,
        state,
        detail: "why".into(),
        next_try: now() + 60_000,
    };
    let revision = |id: &str| {
        let id = ClientId::new(id).unwrap();
        async move { store.client(&id).await.unwrap().unwrap().revision }
    };
    let mut outcomes = Vec::new();
    for step in Step::WANTED {
        outcomes.push(outcome("c100", *step, StepState::Done, revision("c100").await));
    }
    outcomes.push(outcome("c200", Step::Topic, StepState::Failed, revision("c200").await));
    store.set_steps(&Actor::reconciler(), &outcomes, now()).await.unwrap();
    control.ask(Method::DELETE, "/api/v1/clients/c010", None).await.is(202);
    for (state, expected) in [("active", "c100"), ("failing", "c200"), ("leaving", "c010")] {
        let page = control.ask(Method::GET, &format!("{CLIENTS}?state={state}"), None).await.is(200).json();
        let ids: Vec<&str> =
            page["clients"].as_array().unwrap().iter().map(|client| client["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [expected], "{state}");
        assert_eq!(page["clients"][0]["state"], state);
    }
    let mut pending = 0;
    let mut path = format!("{CLIENTS}?state=pending&limit=7");
    loop {
        let page = control.ask(Method::GET, &path, None).await.is(200).json();
        pending += page["clients"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{CLIENTS}?state=pending&limit=7&after={next}");
    }
    assert_eq!(pending, 247);

    for bad in ["limit=0", "limit=1001", "limit=x", "state=gone", "after=..", "after=", "colour=1", "limit=1&limit=2"] {
        control.ask(Method::GET, &format!("{CLIENTS}?{bad}"), None).await.is(400);
    }
}

#[tokio::test]
async fn an_import_is_whole_or_nothing() {
    let control = Control::new().await;
    add(&control, json!({"id": "there", "settings": {"sample": 0.5}})).await.is(201);
    let ask = |clients: Value| control.ask(Method::POST, "/api/v1/import", Some(json!({"clients": clients})));
    let wrong = ask(json!([{"id": "a"}, {"id": "../b"}])).await.is(422);
    assert!(wrong.detail().starts_with("clients[1]: "), "{}", wrong.detail());
    let wrong = ask(json!([{"id": "a", "settings": {"sample": 2}}])).await.is(422);
    assert!(wrong.detail().starts_with("clients[0]: sample"), "{}", wrong.detail());
    control.ask(Method::GET, "/api/v1/clients/a", None).await.is(404);
    let imported = ask(json!([{"id": "a"}, {"id": "there"}, {"id": "a"}])).await.is(200).json();
    assert_eq!((&imported["new"], &imported["same"]), (&json!(1), &json!(1)));
    assert_eq!(imported["different"][0]["id"], "there");
}

#[tokio::test]
async fn failed_steps_are_tried_again_when_somebody_says_so() {
    let control = Control::new().await;
    let revision = add(&control, json!({"id": "c83"})).await.is(201).json()["revision"].as_i64().unwrap();
    let id = ClientId::new("c83").unwrap();
    let next_try = now() + 300_000;
    let outcome = Outcome { id, revision, step: Step::Acls, state: StepState::Failed, detail: "no".into(), next_try };
    control.app.store().set_steps(&Actor::reconciler(), &[outcome], now()).await.unwrap();
    assert_eq!(control.ask(Method::GET, "/api/v1/clients/c83", None).await.json()["state"], "failing");
    let again = control.ask(Method::POST, "/api/v1/clients/c83/retry", None).await.is(200).json();
    assert_eq!(again["state"], "pending");
    control.app.woken().await;
    control.ask(Method::POST, "/api/v1/clients/nobody/retry", None).await.is(404);
}

//! A POST with a key is done once.

use crate::app::{request, Answer, Control};
use axum::http::Method;
use serde_json::{json, Value};

async fn post(control: &Control, token: &str, path: &str, key: &str, body: Option<Value>) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
    control.send(request(Method::POST, path, &headers, body)).await
}

#[tokio::test]
async fn the_same_request_has_the_same_answer() {
    let control = Control::new().await;
    let body = || Some(json!({"id": "c83"}));
    let first = post(&control, &control.operator, "/api/v1/clients", "k1", body()).await.is(201);
    let second = post(&control, &control.operator, "/api/v1/clients", "k1", body()).await.is(201);
    assert_eq!(first.body, second.body);
    assert_eq!((first.header("idempotent-replayed"), second.header("idempotent-replayed")), ("", "true"));
    assert_eq!(second.header("content-type"), "application/json");
    let other = post(&control, &control.operator, "/api/v1/clients", "k1", Some(json!({"id": "c84"}))).await.is(422);
    assert_eq!(other.json()["type"], "urn:tel-control:key-reused");
    post(&control, &control.operator, "/api/v1/clients/c83/retry", "k1", None).await.is(422);

    // Another asker's key is another key.
    let own = control.client_token("c83").await;
    post(&control, &own, "/api/v1/clients", "k1", None).await.is(200);
    // What failed may be tried again.
    post(&control, &control.operator, "/api/v1/clients/late/retry", "k2", None).await.is(404);
    control.ask(Method::POST, "/api/v1/clients", Some(json!({"id": "late"}))).await.is(201);
    post(&control, &control.operator, "/api/v1/clients/late/retry", "k2", None).await.is(200);
    for bad in ["", " ", &"x".repeat(256)] {
        post(&control, &control.operator, "/api/v1/clients", bad, body()).await.is(400);
    }
}

#[tokio::test]
async fn a_secret_is_handed_out_once() {
    let control = Control::new().await;
    control.ask(Method::POST, "/api/v1/clients", Some(json!({"id": "c83"}))).await.is(201);
    for (path, body) in [
        ("/api/v1/clients/c83/credentials", None),
        ("/api/v1/clients/c83/bundle.zip", None),
        ("/api/v1/tokens", Some(json!({"label": "x"}))),
        ("/api/v1/edges", Some(json!({"name": "e1"}))),
    ] {
        let first = post(&control, &control.operator, path, path, body.clone()).await;
        assert!(first.status.is_success(), "{path}: {}", first.text());
        let second = post(&control, &control.operator, path, path, body).await.is(409);
        assert_eq!(second.json()["type"], "urn:tel-control:handed-out");
    }
    let credentials = control.ask(Method::GET, "/api/v1/clients/c83/credentials", None).await.is(200).json();
    assert_eq!(credentials["credentials"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_done() {
    let control = Control::new().await;
    control.ask(Method::POST, "/api/v1/clients", Some(json!({"id": "c83"}))).await.is(201);
    let asked = (0..20).map(|_| {
        let bearer = format!("Bearer {}", control.operator);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        let request = request(Method::POST, "/api/v1/clients/c83/credentials", &headers, None);
        tokio::spawn(crate::app::answer(control.router.clone(), request))
    });
    let mut statuses = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        let answer = asked.await.unwrap();
        if answer.status == 409 {
            let kind = answer.json()["type"].as_str().unwrap().to_owned();
            assert!(kind.ends_with(":under-way") || kind.ends_with(":handed-out"), "{kind}");
        }
        statuses.push(answer.status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [&[201][..], &[409; 19]].concat());
    let credentials = control.ask(Method::GET, "/api/v1/clients/c83/credentials", None).await.is(200).json();
    assert_eq!(credentials["credentials"].as_array().unwrap().len(), 1);
}

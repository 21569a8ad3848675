//! Who may ask what.

use crate::app::{answer, request, Control};
use axum::http::Method;
use serde_json::json;
use tel_control::app::now;
use tel_control::http;
use tel_control::store::Actor;

/// Every route, with whom it is for.
const OPERATORS: &[(&str, &str)] = &[
    ("GET", "/api/v1/clients"),
    ("PATCH", "/api/v1/clients/own"),
    ("POST", "/api/v1/import"),
    ("GET", "/api/v1/edges"),
    ("POST", "/api/v1/edges"),
    ("DELETE", "/api/v1/edges/e1"),
    ("GET", "/api/v1/tokens"),
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/tokens/0123456789abcdef"),
    ("GET", "/api/v1/audit"),
    ("GET", "/api/v1/status"),
    ("GET", "/api/v1/plan"),
    ("POST", "/api/v1/clients/own/take-over"),
    ("POST", "/api/v1/list/accept"),
    ("POST", "/api/v1/database/accept"),
];
const OF_A_CLIENT: &[(&str, &str)] = &[
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/retry"),
    ("GET", "/credentials"),
    ("POST", "/credentials"),
    ("DELETE", "/credentials/1"),
    ("GET", "/bundle.zip"),
    ("POST", "/bundle.zip"),
    ("GET", "/reading"),
    ("GET", "/history"),
    ("GET", "/lines"),
    ("GET", "/usage"),
];

fn every_route(id: &str) -> Vec<(Method, String)> {
    let operators = OPERATORS.iter().map(|(method, path)| (method, (*path).to_owned()));
    let clients = OF_A_CLIENT.iter().map(|(method, path)| (method, format!("/api/v1/clients/{id}{path}")));
    let add = ("POST", "/api/v1/clients".to_owned());
    let all = operators.chain(clients).map(|(method, path)| (*method, path)).chain([add]);
    all.map(|(method, path)| (method.parse().unwrap(), path)).collect()
}

#[tokio::test]
async fn without_a_token_that_is_taken_nothing_is_answered() {
    let control = Control::new().await;
    let at = now();
    let store = control.app.store();
    let expired = store.create_token(&Actor::command_line(), "old", None, Some(at - 1), at - 2).await.unwrap().secret;
    let revoked = store.create_token(&Actor::command_line(), "gone", None, None, at).await.unwrap();
    store.revoke_token(&Actor::command_line(), &revoked.id, at).await.unwrap();
    let good = format!("Bearer {}", control.operator);
    let wrong_case = control.operator.to_uppercase();
    let garbage = "x".repeat(5000);
    let ways: Vec<(&str, Vec<(&str, String)>)> = vec![
        ("none", vec![]),
        ("a cookie", vec![("cookie", format!("session={}; token={}", control.operator, control.operator))]),
        ("empty", vec![("authorization", String::new())]),
        ("no token", vec![("authorization", "Bearer ".into())]),
        ("another scheme", vec![("authorization", format!("Basic {}", control.operator))]),
        ("garbage", vec![("authorization", format!("Bearer {garbage}"))]),
        ("shortened", vec![("authorization", format!("Bearer {}", &control.operator[..67]))]),
        ("another case", vec![("authorization", format!("Bearer {wrong_case}"))]),
        ("expired", vec![("authorization", format!("Bearer {expired}"))]),
        ("revoked", vec![("authorization", format!("Bearer {}", revoked.secret))]),
        ("two", vec![("authorization", good.clone()), ("authorization", good.clone())]),
        ("in the query", vec![]),
    ];
    for (number, (way, headers)) in ways.iter().enumerate() {
        for (method, path) in every_route("own") {
            let path = if *way == "in the query" { format!("{path}?access_token={}", control.operator) } else { path };
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut request = request(method.clone(), &path, &headers, None);
            // Each from an address of its own: failures are counted.
            let address =
                format!("[2001:db8:{number}:{}::1]:1", request.uri().path().len() * 8 + method.as_str().len());
            request.extensions_mut().insert(http::Peer::Network(address.parse().unwrap()));
            let answer = control.send(request).await;
            assert_eq!(answer.status, 401, "{way}: {method} {path}: {}", answer.text());
            assert!(answer.header("www-authenticate").starts_with("Bearer realm="), "{way}");
        }
    }
    assert!(store.clients(None, None, 10).await.unwrap().clients.is_empty());
}

#[tokio::test]
async fn a_client_s_token_is_for_its_own_client() {
    let control = Control::new().await;
    control.ask(Method::POST, "/api/v1/clients", Some(json!({"id": "other"}))).await.is(201);
    let own = control.client_token("own").await;
    let other_revision = control.ask(Method::GET, "/api/v1/clients/other", None).await.is(200).json();

    for (method, path) in OPERATORS {
        let answer = control.ask_as(&own, method.parse().unwrap(), path, None).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
    for (method, path) in OF_A_CLIENT {
        let mut answers = Vec::new();
        for id in ["other", "nobody"] {
            let path = format!("/api/v1/clients/{id}{path}");
            answers.push(control.ask_as(&own, method.parse().unwrap(), &path, None).await.is(403).text());
        }
        assert_eq!(answers[0], answers[1], "{method} {path}: whether it exists is not told");
    }
    control.ask_as(&own, Method::POST, "/api/v1/clients", Some(json!({"id": "other"}))).await.is(403);
    control.ask_as(&own, Method::POST, "/api/v1/clients", Some(json!({"settings": {"sample": 1.0}}))).await.is(403);
    assert_eq!(control.ask(Method::GET, "/api/v1/clients/other", None).await.json(), other_revision);

    control.ask_as(&own, Method::GET, "/api/v1/clients/own", None).await.is(404);
    let added = control.ask_as(&own, Method::POST, "/api/v1/clients", None).await.is(201).json();
    assert_eq!((added["id"].as_str(), added["topic"].as_str()), (Some("own"), Some("logs.own")));
    control.ask_as(&own, Method::POST, "/api/v1/clients", Some(json!({"id": "own"}))).await.is(200);
    control.ask_as(&own, Method::POST, "/api/v1/clients/own/credentials", None).await.is(201);
    control.ask_as(&own, Method::GET, "/api/v1/clients/own/usage", None).await.is(200);
    control.ask_as(&own, Method::DELETE, "/api/v1/clients/own", None).await.is(202);
    let said: Vec<_> = control.audited("client:own").await;
    assert!(said.iter().all(|(who, _)| who == "client:own"), "{said:?}");
}

#[tokio::test]
async fn guessing_is_slowed_down_and_locks_nobody_out() {
    let control = Control::new().await;
    control.ask(Method::GET, "/api/v1/status", None).await.is(200);
    let guess = format!("tel_{}", "0".repeat(64));
    let mut refused = None;
    for _ in 0..100 {
        let answer = control.ask_as(&guess, Method::GET, "/api/v1/status", None).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        answer.is(401);
    }
    let refused = refused.expect("a limit").is(429);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    control.ask(Method::GET, "/api/v1/status", None).await.is(200);
    // A token that was never seen from anywhere waits with the guesses.
    let fresh = control.client_token("own").await;
    control.ask_as(&fresh, Method::GET, "/api/v1/clients/own", None).await.is(429);
    let mut elsewhere =
        request(Method::GET, "/api/v1/clients/own", &[("authorization", &format!("Bearer {fresh}"))], None);
    elsewhere.extensions_mut().insert(http::Peer::Network("192.0.2.8:1".parse().unwrap()));
    control.send(elsewhere).await.is(404);
}

#[tokio::test]
async fn a_token_that_asks_too_often_waits() {
    let control = Control::new().await;
    let token = control.client_token("own").await;
    let mut statuses = Vec::new();
    for _ in 0..400 {
        statuses.push(control.ask_as(&token, Method::GET, "/api/v1/clients/own", None).await.status.as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(statuses[..200].iter().all(|status| *status == 404));
    control.ask(Method::GET, "/api/v1/status", None).await.is(200);
}

#[tokio::test]
async fn the_command_line_needs_no_token_and_is_named() {
    let control = Control::new().await;
    let local = http::local_router(control.app.clone());
    let body = Some(json!({"id": "c83", "settings": {"sample": 0.5}}));
    answer(local, request(Method::POST, "/api/v1/clients", &[], body)).await.is(201);
    assert_eq!(control.audited("client:c83").await, [("command line".to_owned(), "client.add".to_owned())]);
}

#[tokio::test]
async fn strangers_get_health_and_the_document_and_no_more() {
    let control = Control::new().await;
    let health = control.send(request(Method::GET, "/healthz", &[], None)).await.is(200);
    assert_eq!(health.json(), json!({"status": "ok"}));
    control.send(request(Method::GET, "/api/v1/openapi.json", &[], None)).await.is(200);
    control.send(request(Method::GET, "/metrics", &[], None)).await.is(401);

    // A proxy on this machine asks for everybody, and need not say so.
    let mut here = request(Method::GET, "/metrics", &[], None);
    here.extensions_mut().insert(http::Peer::Network("127.0.0.1:1".parse().unwrap()));
    control.send(here).await.is(401);
    let local = http::local_router(control.app.clone());
    answer(local, request(Method::GET, "/metrics", &[], None)).await.is(200);
    control.ask(Method::GET, "/metrics", None).await.is(200);
    let own = control.client_token("own").await;
    control.ask_as(&own, Method::GET, "/metrics", None).await.is(403);

    // The database gone: who asks hears so, and no more.
    control.app.store().close().await;
    let health = control.send(request(Method::GET, "/healthz", &[], None)).await.is(503);
    assert_eq!(health.detail(), "the database does not answer");
    let answer = control.ask(Method::GET, "/api/v1/status", None).await.is(503);
    assert_eq!(answer.detail(), "tokens cannot be checked now");
}

//! What nobody means to send.

use crate::app::{request, Control};
use axum::body::{Body, Bytes};
use axum::http::Method;
use serde_json::json;
use std::pin::Pin;
use std::task::{Context, Poll};

/// So many KiB of spaces, and nobody says how many.
struct Chunks(usize);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        self.0 = self.0.saturating_sub(1);
        Poll::Ready((self.0 > 0).then(|| Ok(hyper::body::Frame::data(Bytes::from(vec![b' '; 1024])))))
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn hostile_ids_are_refused_clearly() {
    let control = Control::new().await;
    let long = "x".repeat(10_000);
    let ids = [
        "../c83",
        "..",
        ".",
        "-",
        "__consumer_offsets",
        "c83\0",
        "c83\n",
        "\u{202e}38c",
        "c 83",
        "a:b",
        "é",
        "*",
        "c83/..",
        "%",
        "",
        &long,
        &"x".repeat(49),
    ];
    for id in ids {
        let answer = control.ask(Method::POST, "/api/v1/clients", Some(json!({"id": id}))).await.is(422);
        assert!(answer.detail().starts_with("client id \"") && answer.detail().len() < 600, "{}", answer.detail());
        assert!(answer.detail().chars().all(|c| !c.is_control() && c != '\u{202e}'), "{:?}", answer.detail());
        if id.is_empty() {
            continue;
        }
        for (method, rest) in
            [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "/credentials"), (Method::GET, "/bundle.zip")]
        {
            let path = format!("/api/v1/clients/{}{rest}", encoded(id));
            control.ask(method, &path, None).await.is(400);
        }
        let answer = control.ask(Method::POST, "/api/v1/edges", Some(json!({"name": id}))).await;
        // 59 characters are allowed there.
        assert_eq!(answer.status, if id.len() == 49 { 201 } else { 422 }, "{id}");
    }
    control.ask(Method::GET, "/api/v1/clients/%FF", None).await.is(400);
    control.ask(Method::GET, "/api/v1/clients/../tokens", None).await.is(404);
    control.ask(Method::GET, "/api/v1/clients//credentials", None).await.is(400);
    assert!(control.ask(Method::GET, "/api/v1/clients", None).await.json()["clients"].as_array().unwrap().is_empty());
    // An id that is written otherwise is the same id.
    control.ask(Method::POST, "/api/v1/clients", Some(json!({"id": "c83"}))).await.is(201);
    control.ask(Method::GET, &format!("/api/v1/clients/{}", encoded("c83")), None).await.is(200);
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let control = Control::new().await;
    let bearer = format!("Bearer {}", control.operator);
    let send = |method: Method, path: &str, content: &str, body: Body| {
        let mut request = request(method, path, &[("authorization", &bearer), ("content-type", content)], None);
        *request.body_mut() = body;
        control.send(request)
    };
    let json_type = "application/json";
    let post = |body: &'static str| send(Method::POST, "/api/v1/clients", json_type, Body::from(body));

    assert!(post("{\"id\": ").await.is(400).detail().contains("line 1"));
    assert!(post("{\"id\": 1}").await.is(422).detail().contains("id"));
    assert!(post("{\"ids\": \"x\"}").await.is(422).detail().contains("unknown field `ids`"));
    // A list of the fields is no object.
    post("[\"c83\", null]").await.is(422);
    post("{\"id\": \"c83\", \"settings\": [0.5, null, null, null]}").await.is(422);
    let list =
        send(Method::POST, "/api/v1/import", json_type, Body::from("{\"clients\": [[\"c83\", {}]]}")).await.is(422);
    assert!(list.detail().starts_with("clients[0]: "), "{}", list.detail());
    post("{\"id\": \"a\"} {").await.is(400);
    post("{}").await.is(422);
    send(Method::POST, "/api/v1/clients", json_type, Body::empty()).await.is(422);
    send(Method::POST, "/api/v1/clients", "text/plain", Body::from("{\"id\":\"a\"}")).await.is(415);
    send(Method::POST, "/api/v1/edges", json_type, Body::empty()).await.is(400);
    let nested = format!("{{\"id\": {}", "[".repeat(50_000));
    send(Method::POST, "/api/v1/clients", json_type, Body::from(nested)).await.is(422);

    let large = |length: usize| Body::from(format!("{{\"id\": \"{}\"}}", "x".repeat(length)));
    send(Method::POST, "/api/v1/clients", json_type, large(64 * 1024)).await.is(413);
    send(Method::POST, "/api/v1/import", json_type, large(64 * 1024)).await.is(422);
    send(Method::POST, "/api/v1/import", json_type, large(1024 * 1024)).await.is(413);
    // Of a length that nobody has said.
    send(Method::POST, "/api/v1/clients", json_type, Body::new(Chunks(100))).await.is(413);

    control.ask(Method::GET, "/api/v1/nothing", None).await.is(404);
    control.ask(Method::GET, "/api/v2", None).await.is(404);
    control.send(request(Method::GET, "/api/v1/nothing", &[], None)).await.is(404);
    let wrong = control.ask(Method::PUT, "/api/v1/clients/c83", None).await.is(405);
    let mut allowed: Vec<&str> = wrong.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PATCH"]);
    control.send(request(Method::POST, "/healthz", &[], None)).await.is(405);
}

#[tokio::test]
async fn answers_have_the_headers_that_keep_them_from_being_misread() {
    let control = Control::new().await;
    for (path, is_api) in [("/api/v1/status", true), ("/api/v1/nothing", true), ("/healthz", false)] {
        let answer = control.ask(Method::GET, path, None).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        if is_api {
            assert_eq!(answer.header("cache-control"), "no-store");
            assert!(answer.header("content-security-policy").contains("default-src 'none'"));
        }
    }
}

#[tokio::test]
async fn looking_changes_nothing() {
    let control = Control::new().await;
    control.ask(Method::POST, "/api/v1/clients", Some(json!({"id": "c83"}))).await.is(201);
    let before = control.app.store().audit_log(None, None, 1000).await.unwrap();
    let revision = control.app.store().marker().await.unwrap().revision;
    for path in ["", "/c83", "/c83/credentials", "/c83/bundle.zip", "/c83/history", "/c83/usage"] {
        for method in [Method::GET, Method::HEAD] {
            let answer = control.ask(method.clone(), &format!("/api/v1/clients{path}"), None).await.is(200);
            assert_eq!(answer.body.is_empty(), method == Method::HEAD, "{path}");
        }
    }
    for path in ["edges", "tokens", "audit", "status", "openapi.json"] {
        control.ask(Method::HEAD, &format!("/api/v1/{path}"), None).await.is(200);
    }
    assert_eq!(control.app.store().audit_log(None, None, 1000).await.unwrap(), before);
    assert_eq!(control.app.store().marker().await.unwrap().revision, revision);
}

#[tokio::test]
async fn a_panic_is_one_request_s_trouble_and_tells_nothing() {
    let control = Control::new().await;
    let routes = axum::Router::new()
        .route("/panics", axum::routing::get(|| async { std::hint::black_box(Err::<(), _>("hunter2")).unwrap() }))
        .route("/works", axum::routing::get(|| async { "it does" }));
    let router = tel_control::http::served(control.app.clone(), routes);
    let answer = crate::app::answer(router.clone(), request(Method::GET, "/panics", &[], None)).await.is(500);
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    crate::app::answer(router, request(Method::GET, "/works", &[], None)).await.is(200);
}

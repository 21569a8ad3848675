//! Volume, lines, the audit log, status and metrics.

use crate::app::Control;
use axum::http::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tel_control::app::now;
use tel_control::names::EdgeName;
use tel_control::store::{day_of, Ack, Actor, Lines, Position};

async fn with_volume() -> Control {
    let control = Control::new().await;
    for id in ["c83", "c84"] {
        control.ask(Method::POST, "/api/v1/clients", Some(json!({"id": id}))).await.is(201);
    }
    let topic = |offset| Position { topic_id: "t".into(), offset };
    let lines = |delivered, dropped| Lines { delivered, dropped };
    let at = now();
    let ack = Ack {
        edge: EdgeName::new("edge-1").unwrap(),
        read_at: topic(1),
        applied: Some(topic(7)),
        rejected: vec![],
        refused: String::new(),
        at,
        started_at: at,
        lines: BTreeMap::from([("c83".to_owned(), lines(100, 3)), ("c84".to_owned(), lines(5, 0))]),
    };
    control.app.store().record_ack(&ack).await.unwrap();
    control
}

#[tokio::test]
async fn usage_is_by_day() {
    let control = with_volume().await;
    let usage = control.ask(Method::GET, "/api/v1/clients/c83/usage", None).await.is(200).json();
    let today = usage["to"].as_str().unwrap().to_owned();
    assert_eq!(usage["days"], json!([{"day": today, "delivered": 100, "dropped": 3}]));
    let asked = format!("/api/v1/clients/c83/usage?from={today}&to={today}");
    assert_eq!(control.ask(Method::GET, &asked, None).await.is(200).json()["from"], today);
    let empty = control.ask(Method::GET, "/api/v1/clients/c83/usage?from=1970-01-01&to=1970-01-02", None).await.is(200);
    assert_eq!(empty.json(), json!({"from": "1970-01-01", "to": "1970-01-02", "days": []}));
    assert!(day_of(now()) > 20_000);
    for bad in
        ["from=2026-02-30", "from=x", "to=2026-1-1", "from=2026-01-02&to=2026-01-01", "from=1990-01-01&to=2026-01-01"]
    {
        control.ask(Method::GET, &format!("/api/v1/clients/c83/usage?{bad}"), None).await.is(400);
    }
    control.ask(Method::GET, "/api/v1/clients/nobody/usage", None).await.is(404);
}

#[tokio::test]
async fn that_an_operator_looks_at_lines_is_noted_first() {
    let control = with_volume().await;
    // Whether or not they can be read.
    control.ask(Method::GET, "/api/v1/clients/c83/lines?count=5", None).await;
    let own = control.client_token("c83").await;
    control.ask_as(&own, Method::GET, "/api/v1/clients/c83/lines", None).await;
    let said = control.audited("client:c83").await;
    let views: Vec<_> = said.iter().filter(|(_, what)| what == "lines.view").collect();
    assert_eq!(views, [&("operator:test".to_owned(), "lines.view".to_owned())]);
    for bad in ["0", "201", "x", "-1"] {
        control.ask(Method::GET, &format!("/api/v1/clients/c83/lines?count={bad}"), None).await.is(400);
    }
    control.ask(Method::GET, "/api/v1/clients/nobody/lines", None).await.is(404);
    assert!(control.audited("client:nobody").await.is_empty());
}

#[tokio::test]
async fn the_audit_log_comes_in_parts() {
    let control = with_volume().await;
    let mut seen = Vec::new();
    let mut path = "/api/v1/audit?limit=2".to_owned();
    loop {
        let page = control.ask(Method::GET, &path, None).await.is(200).json();
        seen.extend(page["rows"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()));
        let Some(next) = page["next"].as_i64() else { break };
        path = format!("/api/v1/audit?limit=2&before={next}");
    }
    let all = control.app.store().audit_log(None, None, 1000).await.unwrap();
    assert_eq!(seen, all.iter().map(|row| row.id).collect::<Vec<_>>());
    let of_one = control.ask(Method::GET, "/api/v1/audit?subject=client%3Ac83", None).await.is(200).json();
    assert_eq!(of_one["rows"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&of_one["rows"][0]["who"], &of_one["rows"][0]["what"]),
        (&json!("operator:test"), &json!("client.add"))
    );
    for bad in ["subject=", "subject=%00", "before=0", "before=x", "limit=0"] {
        control.ask(Method::GET, &format!("/api/v1/audit?{bad}"), None).await.is(400);
    }
}

#[tokio::test]
async fn metrics_and_status_agree_with_what_is_there() {
    let control = with_volume().await;
    control.ask(Method::DELETE, "/api/v1/clients/c84", None).await.is(202);
    control.ask(Method::POST, "/api/v1/clients/c83/credentials", None).await.is(201);
    control.ask(Method::GET, "/api/v1/clients/nobody", None).await.is(404);
    const DAY: i64 = 24 * 3600 * 1000;
    for (name, end) in [("edge-1", 20 * DAY), ("over", -DAY), ("later", 40 * DAY), ("retired", DAY)] {
        let (store, who, name) = (control.app.store(), Actor::operator("test"), EdgeName::new(name).unwrap());
        store.add_edge(&who, &name, now()).await.unwrap();
        store.certify_edge(&who, &name, "f", now() + end, now()).await.unwrap();
        if end == DAY {
            store.retire_edge(&who, &name, now()).await.unwrap();
        }
    }
    let page = control.ask(Method::GET, "/metrics", None).await.is(200);
    assert!(page.header("content-type").starts_with("text/plain; version=0.0.4"));
    let page = page.text();
    for line in [
        "tel_control_clients{state=\"pending\"} 1",
        "tel_control_clients{state=\"leaving\"} 1",
        "tel_control_edges_known 1",
        "tel_control_edges_current 1",
        "tel_control_credentials_expiring 0",
        "tel_control_edge_certificates_expiring 2",
        "tel_lines_delivered_total 105",
        "tel_lines_delivered_total{client=\"c83\"} 100",
        "tel_lines_dropped_total{client=\"c83\"} 3",
        "tel_control_requests_total{route=\"/api/v1/clients/{id}\",method=\"GET\",status=\"404\"} 1",
        "tel_control_requests_total{route=\"/api/v1/clients\",method=\"POST\",status=\"201\"} 2",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    for line in page.lines() {
        let is_sample = |line: &str| line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(line.starts_with("# HELP ") || line.starts_with("# TYPE ") || is_sample(line), "{line}");
    }
    let status = control.ask(Method::GET, "/api/v1/status", None).await.is(200).json();
    assert_eq!(status["clients"], json!({"pending": 1, "active": 0, "failing": 0, "leaving": 1}));
    assert_eq!(status["edges"]["known"], 1);
}

#[tokio::test]
async fn who_asks_for_what_kafka_knows_is_told_soon_that_it_is_away() {
    let control = with_volume().await;
    // Each of the calls that would follow may take half a minute.
    let soon = Duration::from_secs(15);
    for (method, path) in [
        (Method::GET, "/api/v1/plan"),
        (Method::POST, "/api/v1/database/accept"),
        (Method::POST, "/api/v1/clients/c83/take-over"),
        (Method::GET, "/api/v1/clients/c83/lines"),
        (Method::GET, "/api/v1/clients/c83/reading"),
    ] {
        let asked = tokio::time::timeout(soon, control.ask(method, path, None)).await;
        let answer = asked.unwrap_or_else(|_| panic!("{path} waits longer than {soon:?}")).is(503);
        assert!(answer.detail().contains("Kafka"), "{path}: {}", answer.detail());
    }
}

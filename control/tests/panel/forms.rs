//! Nothing changes but by a form of the visitor's own session, and by nobody who may not.

use crate::site::{Site, ORIGIN};
use crate::{id, run, stage};
use axum::http::{header, StatusCode};
use std::io::Read;
use tel_control::app::now;
use tel_control::store::{Actor, Step, StepState};

/// Names and values of fields.
type Filled = &'static [(&'static str, &'static str)];

/// Every form: where, what, and who may.
const FORMS: &[(&str, Filled, bool)] = &[
    ("/clients/c83/subscribe", &[], false),
    ("/clients/c83/unsubscribe", &[], false),
    ("/clients/c83/bundle.zip", &[], false),
    ("/clients/c83/credentials/1/revoke", &[], false),
    ("/logout", &[], false),
    ("/clients", &[("id", "c84")], true),
    ("/clients/c83/retry", &[], true),
    ("/clients/c83/take-over", &[], true),
    ("/clients/c83/settings", &[("sample", "0.5")], true),
    ("/clients/c83/lines", &[], true),
    ("/edges", &[("name", "edge-9")], true),
    ("/edges/edge-1/retire", &[], true),
    ("/tokens", &[("label", "new")], true),
    ("/tokens/0000000000000000/revoke", &[], true),
    ("/status/accept-database", &[], true),
    ("/status/accept-list", &[], true),
];

/// These wait for Kafka, which is away.
const NEED_KAFKA: &[&str] = &["/clients/c83/take-over", "/edges/edge-1/retire", "/status/accept-database"];

/// Pages for operators alone.
const OPERATORS_PAGES: &[&str] = &[
    "/clients",
    "/clients/table",
    "/clients/c83/settings",
    "/clients/c83/audit",
    "/edges",
    "/edges/table",
    "/edges/edge-1/retire",
    "/tokens",
    "/usage",
    "/audit",
    "/status",
];

/// The others.
const PAGES: &[&str] = &[
    "/",
    "/login",
    "/launch",
    "/clients/c83",
    "/clients/c83/progress",
    "/clients/c83/connection",
    "/clients/c83/reading",
    "/clients/c83/volume",
    "/clients/c83/unsubscribe",
    "/clients/c83/credentials",
    "/clients/c83/credentials/table",
    "/clients/c83/credentials/1/revoke",
    "/clients/c83/bundle.zip",
    "/clients/c83/lines",
    "/clients/c83/lines/latest",
];

fn every_page() -> impl Iterator<Item = &'static str> {
    PAGES.iter().chain(OPERATORS_PAGES).copied()
}

async fn with_client() -> Site {
    let site = Site::new().await;
    let c83 = site.add("c83").await;
    stage::active(&site.app, &c83, 2).await;
    let made =
        tel_control::onboarding::credentials::issue(&site.app, &Actor::command_line(), &c83, None).await.unwrap();
    assert_eq!(made.generation, 1);
    site
}

#[test]
fn a_form_of_another_site_or_session_changes_nothing() {
    run(async {
        let site = with_client().await;
        let (mine, other) = (site.operator().await, site.operator().await);
        for (path, fields, _) in FORMS {
            let before = site.changes().await;
            let with = |csrf: &'static str| -> Vec<(&str, &str)> {
                [("csrf", csrf)].into_iter().chain(fields.iter().copied()).collect()
            };
            let right: Vec<_> = [("csrf", mine.csrf.as_str())].into_iter().chain(fields.iter().copied()).collect();
            let others: Vec<_> = [("csrf", other.csrf.as_str())].into_iter().chain(fields.iter().copied()).collect();
            for (origin, fields) in [
                (Some(ORIGIN), fields.to_vec()),
                (Some(ORIGIN), with("")),
                (Some(ORIGIN), with("0")),
                (Some(ORIGIN), others),
                (Some("https://evil.example"), right.clone()),
                (Some("null"), right.clone()),
                (Some("http://panel.example.evil.example"), right.clone()),
                (Some("https://panel.example"), right.clone()),
                (None, right.clone()),
            ] {
                let answer = site.post_from(origin, path, Some(&mine), &fields).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {origin:?} {fields:?}");
            }
            assert_eq!(site.changes().await, before, "{path}");
        }
        // The same forms, sent as they should be, are not forbidden: what was refused above was their origin.
        for (path, fields, _) in FORMS.iter().filter(|(path, ..)| *path != "/logout" && !NEED_KAFKA.contains(path)) {
            let answer = site.post(path, Some(&mine), fields).await;
            assert_ne!(answer.status, StatusCode::FORBIDDEN, "{path}");
        }
    });
}

#[test]
fn looking_changes_nothing() {
    run(async {
        let site = with_client().await;
        let (operator, client) = (site.operator().await, site.client("c83").await);
        let before = (site.changes().await, site.app.store().marker().await.unwrap().revision);
        // Together, for some wait for Kafka, which is away.
        let site = std::sync::Arc::new(site);
        let mut looks = tokio::task::JoinSet::new();
        for session in [&operator, &client] {
            let forms = FORMS.iter().map(|(path, ..)| *path);
            for (path, may_fail) in every_page().map(|path| (path, false)).chain(forms.map(|path| (path, true))) {
                let (site, session) = (site.clone(), session.clone());
                looks.spawn(async move {
                    let answer = site.get(path, Some(&session)).await;
                    assert!(may_fail || answer.status.as_u16() < 500, "{path}: {}", answer.text());
                    let head =
                        axum::http::Request::head(path).header(header::COOKIE, format!("tel={}", session.cookie));
                    site.ask(head.body(axum::body::Body::empty()).unwrap()).await;
                });
            }
        }
        looks.join_all().await;
        assert_eq!((site.changes().await, site.app.store().marker().await.unwrap().revision), before);
    });
}

#[test]
fn a_client_sees_and_changes_nothing_of_others() {
    run(async {
        let site = with_client().await;
        for other in ["c8", "c83_", "c83-2", "admin"] {
            let session = site.client(other).await;
            let before = site.changes().await;
            for path in every_page().filter(|path| path.contains("c83")) {
                let answer = site.get(path, Some(&session)).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{other}: {path}");
                assert!(!answer.text().contains("c83"), "{other}: {path}");
            }
            assert_eq!(site.get("/events?client=c83", Some(&session)).await.status, StatusCode::FORBIDDEN);
            assert_eq!(site.get("/events", Some(&session)).await.status, StatusCode::FORBIDDEN);
            for (path, fields, _) in FORMS.iter().filter(|(path, ..)| path.contains("c83")) {
                let answer = site.post(path, Some(&session), fields).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{other}: {path}");
            }
            assert_eq!(site.changes().await, before, "{other}");
        }
    });
}

#[test]
fn what_is_for_operators_is_refused_to_clients() {
    run(async {
        let site = with_client().await;
        let client = site.client("c83").await;
        let before = site.changes().await;
        for path in OPERATORS_PAGES {
            assert_eq!(site.get(path, Some(&client)).await.status, StatusCode::FORBIDDEN, "{path}");
        }
        for (path, fields, _) in FORMS.iter().filter(|(.., is_operators)| *is_operators) {
            assert_eq!(site.post(path, Some(&client), fields).await.status, StatusCode::FORBIDDEN, "{path}");
        }
        assert_eq!(site.changes().await, before);
    });
}

#[test]
fn a_client_s_whole_life() {
    run(async {
        let site = Site::new().await;
        let session = site.client("c83").await;
        assert!(site.get("/", Some(&session)).await.text().contains(">Subscribe</button>"));
        let answer = site.post("/clients/c83/subscribe", Some(&session), &[]).await;
        assert_eq!(answer.header(header::LOCATION), "/clients/c83?said=subscribed");
        assert!(site.get("/", Some(&session)).await.text().contains("Setting up"));
        assert_eq!(
            site.post("/clients/c83/subscribe", Some(&session), &[]).await.header(header::LOCATION),
            "/clients/c83?said=same"
        );

        let zip = site.post("/clients/c83/bundle.zip", Some(&session), &[]).await;
        assert_eq!(zip.header(header::CONTENT_TYPE), "application/zip");
        assert_eq!(zip.header(header::CONTENT_DISPOSITION), "attachment; filename=\"tel-c83.zip\"");
        let names = |bytes: &[u8]| {
            let archive = zip::ZipArchive::new(std::io::Cursor::new(bytes.to_vec())).unwrap();
            archive.file_names().map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(names(&zip.body).contains(&"tel-c83/certs/client.key".to_owned()));
        let without = site.get("/clients/c83/bundle.zip", Some(&session)).await;
        assert!(!names(&without.body).iter().any(|name| name.ends_with(".key") || name.ends_with(".p12")));
        for _ in 0..4 {
            assert_eq!(site.post("/clients/c83/bundle.zip", Some(&session), &[]).await.status, StatusCode::OK);
        }
        assert_eq!(site.post("/clients/c83/bundle.zip", Some(&session), &[]).await.status, StatusCode::CONFLICT);
        let bad = site.post("/clients/c83/bundle.zip", Some(&session), &[("request", "no request")]).await;
        assert_eq!(bad.status, StatusCode::BAD_REQUEST);

        let credentials = site.app.store().credentials(&id("c83")).await.unwrap();
        assert_eq!(credentials.len(), 5);
        let answer = site.post("/clients/c83/credentials/5/revoke", Some(&session), &[]).await;
        assert_eq!(answer.header(header::LOCATION), "/clients/c83/credentials?said=revoked");
        assert!(!site.app.store().credentials(&id("c83")).await.unwrap()[0].is_live(now()));

        assert!(site.get("/clients/c83/unsubscribe", Some(&session)).await.text().contains("3 days"));
        site.post("/clients/c83/unsubscribe", Some(&session), &[]).await;
        assert!(site.get("/", Some(&session)).await.text().contains("Undo: subscribe again"));
        assert_eq!(site.post("/clients/c83/bundle.zip", Some(&session), &[]).await.status, StatusCode::CONFLICT);
        let answer = site.post("/clients/c83/subscribe", Some(&session), &[]).await;
        assert_eq!(answer.header(header::LOCATION), "/clients/c83?said=back");
    });
}

#[test]
fn an_operator_s_work() {
    run(async {
        let site = with_client().await;
        let session = site.operator().await;
        let answer = site.post("/clients", Some(&session), &[("id", " c84 ")]).await;
        assert_eq!(answer.header(header::LOCATION), "/clients/c84?said=subscribed");
        for bad in ["", "..", "../etc", "a\0b", "a\u{202e}b", &"x".repeat(10_000)] {
            assert_eq!(site.post("/clients", Some(&session), &[("id", bad)]).await.status, StatusCode::BAD_REQUEST);
        }

        let revision = site.app.store().client(&id("c83")).await.unwrap().unwrap().revision.to_string();
        let fields =
            [("sample", "0.5"), ("retention_hours", "1.5"), ("partitions", ""), ("revision", revision.as_str())];
        assert_eq!(site.post("/clients/c83/settings", Some(&session), &fields).await.status, StatusCode::SEE_OTHER);
        let settings = site.app.store().client(&id("c83")).await.unwrap().unwrap().settings;
        assert_eq!((settings.sample, settings.retention_ms, settings.partitions), (Some(0.5), Some(5_400_000), None));
        // Of a page that was loaded before.
        assert_eq!(site.post("/clients/c83/settings", Some(&session), &fields).await.status, StatusCode::CONFLICT);
        for bad in [
            ("sample", "2"),
            ("sample", "NaN"),
            ("partitions", "-1"),
            ("partitions", "10001"),
            ("retention_hours", "inf"),
            ("retention_hours", "0.001"),
        ] {
            let answer = site.post("/clients/c83/settings", Some(&session), &[bad]).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad:?}");
        }

        stage::step(&site.app, &id("c84"), Step::Acls, StepState::Failed, "Kafka says no").await;
        let list = site.get("/clients", Some(&session)).await.text();
        assert!(list.find("/clients/c84").unwrap() < list.find("/clients/c83").unwrap(), "failing first");
        assert!(list.contains("Kafka says no"));
        assert!(!site.get("/clients?q=C84", Some(&session)).await.text().contains("\"/clients/c83\""));
        assert!(site.get("/clients?q=%25", Some(&session)).await.text().contains("No client is like that"));
        let button = "action=\"/clients/c84/take-over\"";
        assert!(!site.get("/clients/c84", Some(&session)).await.text().contains(button));
        let foreign = "topic logs.c84: it was made by somebody else (tel-control client take-over c84)";
        stage::step(&site.app, &id("c84"), Step::Topic, StepState::Failed, foreign).await;
        assert!(site.get("/clients/c84", Some(&session)).await.text().contains(button));
        assert_eq!(site.post("/clients/c84/retry", Some(&session), &[]).await.status, StatusCode::SEE_OTHER);
        assert!(site.app.store().failing(None, 10).await.unwrap().is_empty());

        let zip = site.post("/edges", Some(&session), &[("name", "edge-9")]).await;
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip.body)).unwrap();
        let mut config = String::new();
        archive.by_name("tel-edge-edge-9/teld.json").unwrap().read_to_string(&mut config).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["sync"]["edge"], "edge-9");
        assert!(archive.by_name("tel-edge-edge-9/edge.key").is_ok());
        assert!(site.get("/edges", Some(&session)).await.text().contains("edge-9"));

        let made =
            site.post("/tokens", Some(&session), &[("label", "their panel"), ("client", "c84"), ("days", "7")]).await;
        let text = made.text();
        let secret = text.split("class=\"secret\">").nth(1).unwrap().split('<').next().unwrap();
        let who = site.app.store().authenticate(secret, now()).await.unwrap().unwrap();
        assert_eq!(who.client, Some(id("c84")));
        assert!(!site.get("/tokens", Some(&session)).await.text().contains(secret));
        let token = who.token.unwrap();
        site.post(&format!("/tokens/{token}/revoke"), Some(&session), &[]).await;
        assert_eq!(site.app.store().authenticate(secret, now()).await.unwrap(), None);
    });
}

#[test]
fn an_operator_s_look_at_lines_is_noted_each_time() {
    run(async {
        let site = with_client().await;
        let (operator, client) = (site.operator().await, site.client("c83").await);
        let looks = |rows: Vec<String>| rows.iter().filter(|what| *what == "lines.view").count();
        assert!(site.get("/clients/c83/lines", Some(&operator)).await.text().contains("noted in the audit log"));
        assert_eq!(looks(site.audited("client:c83").await), 0);
        for n in 1..=3 {
            assert_eq!(site.post("/clients/c83/lines", Some(&operator), &[]).await.status, StatusCode::OK);
            assert_eq!(looks(site.audited("client:c83").await), n);
        }
        assert_eq!(site.get("/clients/c83/lines/latest", Some(&operator)).await.status, StatusCode::FORBIDDEN);
        assert_eq!(site.post("/clients/nobody/lines", Some(&operator), &[]).await.status, StatusCode::NOT_FOUND);
        for path in ["/clients/c83/lines", "/clients/c83/lines/latest"] {
            assert_eq!(site.get(path, Some(&client)).await.status, StatusCode::OK);
        }
        assert_eq!(looks(site.audited("client:c83").await), 3);
    });
}

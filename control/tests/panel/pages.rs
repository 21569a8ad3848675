//! What pages say, and that texts of others stay texts.

use crate::site::{encoded, Site};
use crate::{id, run, stage};
use std::collections::BTreeMap;
use tel_control::app::now;
use tel_control::store::{Actor, Step, StepState};

const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{7*7}}";

#[test]
fn hostile_texts_stay_texts() {
    run(async {
        let site = Site::new().await;
        let c83 = site.add("c83").await;
        stage::edges(&site.app, 1, 2).await;
        stage::ack(&site.app, 1, 5, &[HOSTILE], BTreeMap::new()).await;
        stage::refusal(&site.app, 2, HOSTILE).await;
        stage::step(&site.app, &c83, Step::Topic, StepState::Failed, HOSTILE).await;
        let details = serde_json::json!({ HOSTILE: HOSTILE, "why": HOSTILE });
        site.app.store().audit(&Actor::operator(HOSTILE), HOSTILE, "client:c83", details, now()).await.unwrap();
        let operator = site.session_until(HOSTILE, None, now() + 3_600_000).await;
        let client = site.session_until(HOSTILE, Some(c83), now() + 3_600_000).await;
        let hostile = encoded(HOSTILE);
        let mut seen = 0;
        for session in [&operator, &client] {
            for path in [
                "/".to_owned(),
                "/clients/c83".to_owned(),
                "/clients/c83/credentials".to_owned(),
                "/clients/c83/audit".to_owned(),
                "/clients/c83/settings".to_owned(),
                "/edges".to_owned(),
                "/tokens".to_owned(),
                "/audit".to_owned(),
                "/status".to_owned(),
                format!("/clients?q={hostile}&state={hostile}&after={hostile}"),
                format!("/audit?subject={hostile}&before={hostile}"),
                format!("/usage?from={hostile}&line_bytes={hostile}"),
                format!("/clients/c83?said={hostile}"),
                format!("/login?next={hostile}"),
                format!("/clients/{hostile}"),
                format!("/edges/{hostile}/retire"),
                format!("/events?client={hostile}"),
            ] {
                let text = site.get(&path, Some(session)).await.text();
                for bad in ["<script>alert", "<img", HOSTILE] {
                    assert!(!text.contains(bad), "{path}: {bad}");
                }
                seen += usize::from(text.contains("&#60;script&#62;alert(1)"));
            }
        }
        assert!(seen > 10, "the texts are shown: {seen}");
    });
}

#[test]
fn each_state_says_what_it_is_and_what_comes_next() {
    run(async {
        let site = Site::new().await;
        let session = site.client("c83").await;
        let c83 = site.add("c83").await;
        let text = |path: &'static str| {
            let (site, session) = (&site, &session);
            async move { site.get(path, Some(session)).await.text() }
        };
        stage::edges(&site.app, 0, 20).await;
        stage::listed(&site.app, &c83).await;
        stage::edges(&site.app, 12, 20).await;
        let pending = text("/").await;
        for part in [
            "state pending",
            "Setting up",
            "1 of 5 steps are done",
            "12 of 20 edges have it",
            "value=\"12\"",
            "<noscript><meta http-equiv=\"refresh\" content=\"2\">",
        ] {
            assert!(pending.contains(part), "{part}: {pending}");
        }
        stage::step(&site.app, &c83, Step::Acls, StepState::Failed, "no right to alter the cluster").await;
        let failing = text("/").await;
        for part in [
            "state failing",
            "Something failed",
            "Give access rights",
            "no right to alter the cluster",
            "Tried again <time",
            ">in 1",
        ] {
            assert!(failing.contains(part), "{part}");
        }
        assert!(!failing.contains("/retry"), "a client does not restart steps");
        stage::active(&site.app, &c83, 20).await;
        let active = text("/").await;
        for part in ["state active", "20 of 20 edges have it", "logs.c83", "c83:", "kafka-2.example.com:9093", "1 day"]
        {
            assert!(active.contains(part), "{part}");
        }
        site.post("/clients/c83/unsubscribe", Some(&session), &[]).await;
        let leaving = text("/").await;
        for part in ["state leaving", "Unsubscribed", "deleted for good", "Undo: subscribe again", "Delete the topic"] {
            assert!(leaving.contains(part), "{part}");
        }
        assert!(!leaving.contains("Download the zip"));
    });
}

#[test]
fn an_edge_that_refuses_the_list_is_told_of_with_its_reason() {
    run(async {
        let site = Site::new().await;
        let operator = site.operator().await;
        stage::edges(&site.app, 3, 3).await;
        let why = "the list has lost 40 of 120 clients at once";
        for path in ["/edges", "/status"] {
            assert!(!site.get(path, Some(&operator)).await.text().contains(why));
        }
        stage::refusal(&site.app, 2, why).await;
        stage::refusal(&site.app, 3, why).await;
        assert!(site.get("/edges", Some(&operator)).await.text().contains(&format!("the list: {why}")));
        let said = format!("edge-2 and 1 more will not take the client list: {why}");
        assert!(site.get("/status", Some(&operator)).await.text().contains(&said));
        stage::edges(&site.app, 3, 3).await;
        for path in ["/edges", "/status"] {
            assert!(!site.get(path, Some(&operator)).await.text().contains(why));
        }
    });
}

#[test]
fn volume_is_plotted_and_told() {
    run(async {
        let site = Site::new().await;
        let c83 = site.add("c83").await;
        let (operator, client) = (site.operator().await, site.client("c83").await);
        assert!(site.get("/usage", Some(&operator)).await.text().contains("Not known: no line was delivered"));
        stage::volume(&site.app, &c83).await;
        let page = site.get("/", Some(&client)).await.text();
        for part in [
            "<svg class=\"plot\" role=\"img\"",
            "<title id=\"daysdelivered-title\">",
            "<desc id=\"daysdelivered-text\">From ",
            "As figures",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.matches("<svg class=\"plot\"").count(), 2);
        let usage = site.get("/usage?line_bytes=500", Some(&operator)).await.text();
        for part in ["plan for the upper figure", "at 500 bytes a line", "kept for 1 day", ">c83</a>"] {
            assert!(usage.contains(part), "{part}");
        }
        let figures = usage.split_once("<p class=\"big\">").unwrap().1.split_once("</p>").unwrap().0;
        let (least, most) = figures.split_once(" to ").unwrap();
        let number = |figure: &str| {
            let (number, unit) = figure.split_once(' ').unwrap();
            let power = ["B", "kB", "MB", "GB", "TB"].iter().position(|known| *known == unit).unwrap();
            number.parse::<f64>().unwrap() * 1000f64.powi(i32::try_from(power).unwrap())
        };
        assert!((1.9..2.1).contains(&(number(most) / number(least))), "twice the retention: {figures}");
    });
}

#[test]
fn a_long_list_has_pages() {
    run(async {
        let site = Site::new().await;
        let operator = site.operator().await;
        let new: Vec<_> = (0..120).map(|n| (id(&format!("m{n:03}")), Default::default())).collect();
        tel_control::onboarding::clients::import(&site.app, &Actor::command_line(), new).await.unwrap();
        stage::step(&site.app, &id("m115"), Step::Topic, StepState::Failed, "x").await;
        let mut seen = Vec::new();
        let mut path = "/clients".to_owned();
        loop {
            let text = site.get(&path, Some(&operator)).await.text();
            seen.extend(text.split("<a href=\"/clients/").skip(1).map(|rest| rest[..4].to_owned()));
            let Some(before) = text.split("\">Next page").next().filter(|before| before.len() < text.len()) else {
                break;
            };
            path = before.rsplit("href=\"").next().unwrap().replace("&amp;", "&");
        }
        assert_eq!((seen.len(), seen[0].as_str(), seen[1].as_str()), (120, "m115", "m000"));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 120);
    });
}

#[test]
fn certificates_of_edges_that_end_are_on_the_status_page() {
    run(async {
        const DAY: i64 = 24 * 3600 * 1000;
        let site = Site::new().await;
        let operator = site.operator().await;
        let status = async || site.get("/status", Some(&operator)).await.text();
        let (store, who) = (site.app.store(), Actor::operator("test"));
        let certify = async |name: &str, end: i64| {
            let name = tel_control::names::EdgeName::new(name).unwrap();
            store.add_edge(&who, &name, now()).await.unwrap();
            store.certify_edge(&who, &name, "f", now() + end, now()).await.unwrap();
            name
        };
        certify("later", 40 * DAY).await;
        assert!(!status().await.contains("Edges whose certificate expires"));
        certify("soon", 20 * DAY).await;
        let gone = certify("gone", -DAY).await;
        let page = status().await;
        let (one, other) = (page.find(">gone</a>").unwrap(), page.find(">soon</a>").unwrap());
        assert!(one < other && page.contains("Edges whose certificate expires") && !page.contains(">later</a>"));
        store.retire_edge(&who, &gone, now()).await.unwrap();
        assert!(!status().await.contains(">gone</a>"));
    });
}

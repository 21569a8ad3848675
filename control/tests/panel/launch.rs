//! Links from another panel.

use crate::run;
use crate::site::{encoded, Site, LAUNCH_SECRET};
use axum::http::{header, StatusCode};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use std::process::Command;
use tel_control::app::now;

fn link(secret: &str, client: &str, name: &str, expires: i64, nonce: &str) -> String {
    let query = format!("client={client}&name={}&expires={expires}&nonce={nonce}", encoded(name));
    let key = PKey::hmac(secret.as_bytes()).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    let signature = signer.sign_oneshot_to_vec(query.as_bytes()).unwrap();
    let signature: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/launch?{query}&signature={signature}")
}

fn good(nonce: &str) -> String {
    link(LAUNCH_SECRET, "c83", "Ada & Co <b>", now() / 1000 + 120, nonce)
}

#[test]
fn a_link_lets_a_person_in_once() {
    run(async {
        let site = Site::new().await;
        let link = good("0123456789abcdef");
        // Previews and scanners open links, too.
        for _ in 0..3 {
            let answer = site.get(&link, None).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.text().contains("Ada &#38; Co &#60;b&#62;"), "{}", answer.text());
            assert!(answer.header(header::SET_COOKIE).is_empty());
        }
        let before = site.changes().await;
        assert_eq!(site.post_from(Some("https://evil.example"), &link, None, &[]).await.status, StatusCode::FORBIDDEN);
        assert_eq!(site.changes().await, before);
        let answer = site.post(&link, None, &[]).await;
        assert_eq!((answer.status, answer.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/"));
        let cookie = answer.header(header::SET_COOKIE).split([';', '=']).nth(1).unwrap().to_owned();
        let session = site.app.store().session(&cookie, now()).await.unwrap().unwrap();
        assert_eq!((session.who.client, session.who.label.as_str()), (Some(crate::id("c83")), "Ada & Co <b>"));
        assert_eq!(site.audited("client:c83").await, ["session.begin"]);

        let again = site.post(&link, None, &[]).await;
        assert_eq!(again.status, StatusCode::FORBIDDEN);
        assert!(again.text().contains("used before") && again.header(header::SET_COOKIE).is_empty());
        assert_eq!(site.post(&good("another-nonce-16"), None, &[]).await.status, StatusCode::SEE_OTHER);
    });
}

#[test]
fn a_link_that_two_use_at_once_lets_one_in() {
    run(async {
        let site = std::sync::Arc::new(Site::new().await);
        let link = good("0123456789abcdef");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (site, link) = (site.clone(), link.clone());
            tasks.spawn(async move { site.post(&link, None, &[]).await.status });
        }
        let statuses = tasks.join_all().await;
        assert_eq!(statuses.iter().filter(|status| **status == StatusCode::SEE_OTHER).count(), 1, "{statuses:?}");
    });
}

#[test]
fn other_links_let_nobody_in() {
    run(async {
        let site = Site::new().await;
        let soon = now() / 1000 + 120;
        let nonce = "0123456789abcdef";
        let signed = |client: &str, expires: i64, nonce: &str| link(LAUNCH_SECRET, client, "Ada", expires, nonce);
        for (why, link) in [
            ("forged", link("another secret of enough bytes!!", "c83", "Ada", soon, nonce)),
            ("another client", good(nonce).replace("client=c83", "client=c84")),
            ("later", signed("c83", soon, nonce).replace(&soon.to_string(), &(soon + 60).to_string())),
            ("something added", format!("{}&client=c84", good(nonce))),
            ("something before", good(nonce).replace("/launch?", "/launch?client=c84&")),
            ("expired", signed("c83", now() / 1000 - 1, nonce)),
            ("too long", signed("c83", now() / 1000 + 310, nonce)),
            ("a guessable nonce", signed("c83", soon, "1")),
            ("no client", signed("", soon, nonce)),
            ("no id", signed("..%2Fc83", soon, nonce)),
            ("unsigned", "/launch?client=c83&name=Ada&expires=1&nonce=0123456789abcdef".to_owned()),
            ("nothing", "/launch".to_owned()),
        ] {
            let before = site.changes().await;
            for answer in [site.get(&link, None).await, site.post(&link, None, &[]).await] {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{why}");
                assert!(answer.header(header::SET_COOKIE).is_empty(), "{why}");
                assert!(!answer.text().contains(LAUNCH_SECRET));
            }
            assert_eq!(site.changes().await, before, "{why}");
        }
    });
}

/// The program in docs/panel.md makes a link that lets a person in.
#[test]
fn the_documented_program_works() {
    run(async {
        let site = Site::new().await;
        let text = include_str!("../../../docs/panel.md");
        let program = text.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
        let folder = site.app.config().launch_key.as_ref().unwrap().parent().unwrap().to_owned();
        let python = Command::new("python3").args(["-c", program]).current_dir(folder).output().unwrap();
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
        let made = String::from_utf8(python.stdout).unwrap();
        let link = made.trim().strip_prefix("https://logs.example.com").unwrap();
        assert!(site.get(link, None).await.text().contains("Ada Lovelace"));
        assert_eq!(site.post(link, None, &[]).await.status, StatusCode::SEE_OTHER);
    });
}

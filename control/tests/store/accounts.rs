//! Who may ask, and what is done once although it is asked for twice.

use crate::database::{Database, NOW};
use crate::{added, audited, id, on_both, operator};
use tel_control::error::Kind;
use tel_control::store::{Actor, Claim, Who};

on_both!(
    a_token_works_until_it_is_revoked_or_over,
    a_session_ends_with_its_token,
    no_secret_is_stored,
    a_request_is_done_once,
    a_link_works_once,
    settings_are_kept,
    looking_is_noted,
);

const HOUR: i64 = 3_600_000;

async fn a_token_works_until_it_is_revoked_or_over(database: &Database) {
    let store = database.open().await;
    let first = store.create_token(&Actor::command_line(), "first", None, None, NOW).await.unwrap();
    let who = store.authenticate(&first.secret, NOW).await.unwrap().unwrap();
    assert!(who.is_operator());
    assert_eq!(who.actor(), Actor::operator("first"));
    let c83 = id("c83");
    let client = store.create_token(&who.actor(), "their panel", Some(&c83), Some(NOW + HOUR), NOW).await.unwrap();
    let who = store.authenticate(&client.secret, NOW + HOUR - 1).await.unwrap().unwrap();
    assert_eq!((who.client.as_ref(), who.actor()), (Some(&c83), Actor::client(&c83)));
    assert_eq!(store.authenticate(&client.secret, NOW + HOUR).await.unwrap(), None);

    let wrong = format!("tel_{}", "0".repeat(64));
    let upper = first.secret.to_uppercase();
    for bad in ["", "tel_", &wrong, &upper, &first.id, &first.secret[1..], &format!("{}\0", first.secret)] {
        assert_eq!(store.authenticate(bad, NOW).await.unwrap(), None, "{bad}");
    }
    let known = store.tokens(None).await.unwrap();
    assert_eq!(known.len(), 2);
    assert_eq!(store.tokens(Some(&c83)).await.unwrap()[0].last_used, Some(NOW + HOUR - 1));
    assert!(store.revoke_token(&operator(), &first.id, NOW).await.unwrap());
    assert!(!store.revoke_token(&operator(), &first.id, NOW).await.unwrap());
    assert_eq!(store.authenticate(&first.secret, NOW).await.unwrap(), None);
    assert_eq!(store.revoke_token(&operator(), "none", NOW).await.unwrap_err().kind, Kind::NotFound);
    for bad in ["", " ", "two\nlines", &"x".repeat(101)] {
        let error = store.create_token(&operator(), bad, None, None, NOW).await.err().unwrap();
        assert_eq!(error.kind, Kind::Invalid);
    }
    assert_eq!(audited(&store, &format!("token:{}", first.id)).await, ["token.create", "token.revoke"]);
}

async fn a_session_ends_with_its_token(database: &Database) {
    let store = database.open().await;
    let token = store.create_token(&operator(), "panel", None, None, NOW).await.unwrap();
    let who = store.authenticate(&token.secret, NOW).await.unwrap().unwrap();
    let begun = store.create_session(&who, NOW + HOUR, NOW).await.unwrap();
    let session = store.session(&begun.cookie, NOW).await.unwrap().unwrap();
    assert_eq!(session.who, who);
    assert!(session.is_csrf(&begun.csrf) && session.csrf() == begun.csrf);
    assert!(!session.is_csrf("") && !session.is_csrf(&begun.cookie) && begun.csrf != begun.cookie);
    assert!(store.session(&begun.cookie, NOW + HOUR).await.unwrap().is_none());
    assert!(store.session(&begun.csrf, NOW).await.unwrap().is_none());
    store.revoke_token(&operator(), &token.id, NOW).await.unwrap();
    assert!(store.session(&begun.cookie, NOW).await.unwrap().is_none());

    // Nor does it outlast a token that is over.
    let token = store.create_token(&operator(), "short", None, Some(NOW + 5), NOW).await.unwrap();
    let who = store.authenticate(&token.secret, NOW).await.unwrap().unwrap();
    let begun = store.create_session(&who, NOW + HOUR, NOW).await.unwrap();
    assert!(store.session(&begun.cookie, NOW + 4).await.unwrap().is_some());
    assert!(store.session(&begun.cookie, NOW + 5).await.unwrap().is_none());

    // After a launch link there is no token.
    let linked = Who { token: None, label: "Ada".into(), client: Some(id("c83")) };
    let begun = store.create_session(&linked, NOW + HOUR, NOW).await.unwrap();
    assert_eq!(store.session(&begun.cookie, NOW).await.unwrap().unwrap().who, linked);
    assert!(store.end_session(&begun.cookie, NOW).await.unwrap());
    assert!(!store.end_session(&begun.cookie, NOW).await.unwrap());
    assert!(store.session(&begun.cookie, NOW).await.unwrap().is_none());
    assert_eq!(audited(&store, "client:c83").await, ["session.begin", "session.end"]);
}

async fn no_secret_is_stored(database: &Database) {
    let store = database.open().await;
    let token = store.create_token(&operator(), "visible label", None, None, NOW).await.unwrap();
    let who = store.authenticate(&token.secret, NOW).await.unwrap().unwrap();
    let session = store.create_session(&who, NOW + HOUR, NOW).await.unwrap();
    store.take_once("secret-link", NOW + HOUR).await.unwrap();
    let dump = database.dump();
    assert!(dump.contains("visible label") && dump.contains(&token.id));
    let bare = token.secret.trim_start_matches("tel_");
    for secret in [bare, &session.cookie, &session.csrf, "secret-link"] {
        assert!(!dump.contains(secret));
    }
}

async fn a_request_is_done_once(database: &Database) {
    let store = database.open().await;
    let other = database.again(&store).await;
    let until = NOW + 24 * HOUR;
    let mut tasks = Vec::new();
    for n in 0..8 {
        let store = if n % 2 == 0 { store.clone() } else { other.clone() };
        tasks.push(tokio::spawn(async move { store.claim_request("op", "k", "POST /x", until, NOW).await.unwrap() }));
    }
    let mut claims = Vec::new();
    for task in tasks {
        claims.push(task.await.unwrap());
    }
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::New).count(), 1);
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::Running).count(), 7);

    assert_eq!(store.claim_request("op", "k", "POST /y", until, NOW).await.unwrap(), Claim::Different);
    // Of someone else it is another.
    assert_eq!(store.claim_request("c83", "k", "POST /y", until, NOW).await.unwrap(), Claim::New);
    store.release_request("c83", "k").await.unwrap();
    assert_eq!(store.claim_request("c83", "k", "POST /z", until, NOW).await.unwrap(), Claim::New);

    // The process that had it is gone: a minute later another may.
    assert_eq!(store.claim_request("op", "k", "POST /x", until, NOW + 59_999).await.unwrap(), Claim::Running);
    assert_eq!(store.claim_request("op", "k", "POST /x", until, NOW + 60_000).await.unwrap(), Claim::New);
    store.finish_request("op", "k", 201, Some("{}")).await.unwrap();
    let replay = Claim::Replay { status: 201, body: Some("{}".into()) };
    assert_eq!(store.claim_request("op", "k", "POST /x", until, NOW + HOUR).await.unwrap(), replay);
    assert_eq!(store.finish_request("op", "k", 500, None).await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(store.claim_request("op", "k", "POST /other", until + 1, until).await.unwrap(), Claim::New);
    for bad in ["", "a\0b", &"x".repeat(256)] {
        assert_eq!(store.claim_request("op", bad, "", until, NOW).await.unwrap_err().kind, Kind::Invalid);
    }
    store.tidy(until).await.unwrap();
    assert_eq!(store.claim_request("c83", "k", "POST /a", until, NOW).await.unwrap(), Claim::New);
}

async fn a_link_works_once(database: &Database) {
    let store = database.open().await;
    assert!(store.take_once("a", NOW + HOUR).await.unwrap());
    assert!(!store.take_once("a", NOW + HOUR).await.unwrap());
    assert!(store.take_once("b", NOW + HOUR).await.unwrap());
}

async fn settings_are_kept(database: &Database) {
    let store = database.open().await;
    store.set_setting(&operator(), "retention", Some("1d"), NOW).await.unwrap();
    store.set_setting(&operator(), "retention", Some("1d"), NOW).await.unwrap();
    store.set_setting(&operator(), "retention", Some("2d"), NOW).await.unwrap();
    assert_eq!(store.setting("retention").await.unwrap().as_deref(), Some("2d"));
    assert_eq!(store.settings().await.unwrap().len(), 1);
    store.set_setting(&operator(), "retention", None, NOW).await.unwrap();
    assert_eq!(store.setting("retention").await.unwrap(), None);
    assert_eq!(audited(&store, "setting:retention").await, ["setting"; 3]);
    assert_eq!(store.set_setting(&operator(), "x", Some("\0"), NOW).await.unwrap_err().kind, Kind::Invalid);
}

async fn looking_is_noted(database: &Database) {
    let store = database.open().await;
    added(&store, "c83").await;
    let details = serde_json::json!({ "lines": 20 });
    store.audit(&operator(), "lines.view", "client:c83", details.clone(), NOW + 5).await.unwrap();
    let rows = store.audit_log(None, None, 1).await.unwrap();
    let row = &rows[0];
    assert_eq!((row.who.as_str(), row.what.as_str(), row.at), ("operator:test", "lines.view", NOW + 5));
    assert_eq!((row.subject.as_str(), &row.details), ("client:c83", &details));
    let before = store.audit_log(None, Some(row.id), 10).await.unwrap();
    assert_eq!(before.iter().map(|row| row.what.as_str()).collect::<Vec<_>>(), ["client.add"]);
}

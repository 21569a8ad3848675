//! Signing in and out, the cookie, and what browsers are told.

use crate::run;
use crate::site::{Site, ORIGIN};
use axum::http::{header, StatusCode};
use tel_control::app::now;
use tel_control::store::Actor;

#[test]
fn a_token_begins_a_session_of_twelve_hours() {
    run(async {
        let site = Site::new().await;
        let token = site.app.store().create_token(&Actor::command_line(), "Ada", None, None, now()).await.unwrap();
        let answer = site.post("/login", None, &[("token", &format!(" {} ", token.secret)), ("next", "/edges")]).await;
        assert_eq!((answer.status, answer.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/edges"));
        let cookie = answer.header(header::SET_COOKIE).to_owned();
        assert!(
            cookie.starts_with("tel=") && cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        let value = cookie.split([';', '=']).nth(1).unwrap();
        assert!(site.app.store().session(value, now() + 43_190_000).await.unwrap().is_some());
        assert!(site.app.store().session(value, now() + 43_200_001).await.unwrap().is_none());

        for next in ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"] {
            let answer = site.post("/login", None, &[("token", &token.secret), ("next", next)]).await;
            assert_eq!((answer.status, answer.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/"), "{next}");
        }
    });
}

#[test]
fn over_https_cookies_are_secure() {
    run(async {
        let site = Site::reached_at("https://panel.example").await;
        let token = site.app.store().create_token(&Actor::command_line(), "Ada", None, None, now()).await.unwrap();
        let origin = Some("https://panel.example");
        let answer = site.post_from(origin, "/login", None, &[("token", &token.secret)]).await;
        let cookie = answer.header(header::SET_COOKIE);
        assert!(cookie.starts_with("__Host-tel=") && cookie.ends_with("; Secure"), "{cookie}");
        assert!(!answer.header(header::STRICT_TRANSPORT_SECURITY).is_empty());
        let other = site.post_from(Some(ORIGIN), "/login", None, &[("token", &token.secret)]).await;
        assert_eq!(other.status, StatusCode::FORBIDDEN);
    });
}

#[test]
fn guessing_is_slowed_down() {
    run(async {
        let site = Site::new().await;
        let token = site.app.store().create_token(&Actor::command_line(), "Ada", None, None, now()).await.unwrap();
        for _ in 0..3 {
            // Who has a token has as many attempts as they like.
            assert_eq!(site.post("/login", None, &[("token", &token.secret)]).await.status, StatusCode::SEE_OTHER);
        }
        for _ in 0..10 {
            let answer = site.post("/login", None, &[("token", "tel_wrong")]).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
            assert!(answer.text().contains("not known") && !answer.text().contains("tel_wrong"));
            assert!(answer.header(header::SET_COOKIE).is_empty());
        }
        let answer = site.post("/login", None, &[("token", "tel_wrong")]).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(!answer.header(header::RETRY_AFTER).is_empty());
    });
}

#[test]
fn without_a_session_there_is_only_the_way_to_one() {
    run(async {
        let site = Site::new().await;
        site.add("c83").await;
        let over = site.session_until("Ada", None, now() - 1).await;
        let ended = site.operator().await;
        assert_eq!(site.get("/", Some(&ended)).await.status, StatusCode::OK);
        let answer = site.post("/logout", Some(&ended), &[]).await;
        assert_eq!(answer.header(header::LOCATION), "/login");
        assert!(answer.header(header::SET_COOKIE).contains("Max-Age=0"));
        for session in [None, Some(&over), Some(&ended)] {
            for path in [
                "/",
                "/clients/c83",
                "/clients/c83/progress",
                "/edges",
                "/events?client=c83",
                "/clients/c83/bundle.zip",
            ] {
                let answer = site.get(path, session).await;
                assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
                assert!(answer.header(header::LOCATION).starts_with("/login"), "{path}");
                assert!(answer.body.is_empty(), "{path}");
            }
            let before = site.changes().await;
            assert_eq!(site.post("/clients/c83/unsubscribe", session, &[]).await.status, StatusCode::FORBIDDEN);
            assert_eq!(site.changes().await, before);
        }
        let answer = site.get("/clients/c83/lines?a=b", None).await;
        assert_eq!(answer.header(header::LOCATION), "/login?next=/clients/c83/lines%3Fa%3Db");
    });
}

#[test]
fn answers_tell_browsers_what_they_may() {
    run(async {
        let site = Site::new().await;
        site.add("c83").await;
        let session = site.client("c83").await;
        for path in ["/", "/login", "/clients/c83/credentials", "/clients/c83/progress", "/no-such-page", "/launch"] {
            let answer = site.get(path, Some(&session)).await;
            assert_eq!(answer.header(header::CACHE_CONTROL), "no-store", "{path}");
            let policy = answer.header(header::CONTENT_SECURITY_POLICY);
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
            assert!(!policy.contains("unsafe"));
            assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
            let text = answer.text();
            for inline in ["<style", " style=", " onclick=", "javascript:", "<script>", "http://", "https://"] {
                // The namespace of SVG is none of them: inline SVG needs none.
                assert!(!text.contains(inline), "{path}: {inline}");
            }
        }
        for path in ["/static/panel.css", "/static/panel.js", "/static/icon.svg"] {
            let answer = site.get(path, None).await;
            assert_eq!(answer.status, StatusCode::OK);
            let tag = answer.header(header::ETAG).to_owned();
            let again =
                axum::http::Request::get(path).header(header::IF_NONE_MATCH, tag).body(axum::body::Body::empty());
            assert_eq!(site.ask(again.unwrap()).await.status, StatusCode::NOT_MODIFIED);
        }
    });
}

#[test]
fn the_panel_stands_beside_the_api() {
    run(async {
        let mut site = Site::new().await;
        site.router = tel_control::http::router(site.app.clone());
        let session = site.operator().await;
        assert!(site.get("/clients", Some(&session)).await.text().contains("There is no client yet"));
        let page = site.get("/no/such/page", Some(&session)).await;
        assert_eq!(
            (page.status, page.header(header::CONTENT_TYPE)),
            (StatusCode::NOT_FOUND, "text/html; charset=utf-8")
        );
        let api = site.get("/api/v1/no-such-thing", None).await;
        assert_eq!((api.status, api.header(header::CONTENT_TYPE)), (StatusCode::NOT_FOUND, "application/problem+json"));
        // The API knows no cookies, and the panel's policy stays its own.
        assert_eq!(site.get("/api/v1/clients", Some(&session)).await.status, StatusCode::UNAUTHORIZED);
        assert!(site
            .get("/clients", Some(&session))
            .await
            .header(header::CONTENT_SECURITY_POLICY)
            .contains("script-src 'self'"));
        assert_eq!(site.get("/clients", Some(&session)).await.header(header::REFERRER_POLICY), "same-origin");
    });
}

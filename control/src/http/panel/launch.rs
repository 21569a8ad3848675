//! Launch links: another panel, whose users are known there, sends one of them here as a client, with a signed link.
//!
//! `/launch?client=c83&name=Ada&expires=1790000000&nonce=…&signature=…`: the signature is the HMAC-SHA256, in lower-case
//! hexadecimal, of the query as it stands before `&signature=`, under the secret in the file that `launch_key` names.
//!
//! Opening the link shows a page, whose button uses it up: previews of links, scanners of mail and browsers that load ahead open
//! links, too, and would leave the person one that is used. It also shows who one will be, before one is.

use super::page::{html, Page, Problem};
use super::session::{begin, FirstForm};
use super::Panel;
use crate::app::now;
use crate::ca::Secret;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::names::ClientId;
use crate::store::Who;
use askama::Template;
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::Response;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use std::path::Path;

/// A link may be good for so many seconds.
const LONGEST: i64 = 300;
/// Characters of a nonce: fewer can be guessed, and two people could be given the same.
const NONCE: std::ops::RangeInclusive<usize> = 16..=128;
/// Bytes of a secret below which it could be found by trying.
const SHORTEST_SECRET: usize = 32;

/// What a link says.
struct Link<'a> {
    /// What is signed.
    query: &'a str,
    client: ClientId,
    name: String,
    /// Seconds since 1970.
    expires: i64,
}

#[derive(Template)]
#[template(path = "launch.html")]
struct Launch<'a> {
    page: Page,
    client: &'a ClientId,
    name: &'a str,
    action: String,
}

/// `GET /launch`
pub(super) async fn page(State(panel): State<Panel>, uri: Uri) -> std::result::Result<Response, Problem> {
    let link = checked(&panel, &uri)?;
    let action = uri.path_and_query().map_or(String::new(), |path| path.as_str().to_owned());
    html(&Launch { page: Page::without_session("Sign in"), client: &link.client, name: &link.name, action })
}

/// `POST /launch`
pub(super) async fn enter(
    State(panel): State<Panel>,
    uri: Uri,
    _form: FirstForm,
) -> std::result::Result<Response, Problem> {
    let link = checked(&panel, &uri)?;
    let until = link.expires.saturating_mul(1000);
    if !panel.app.store().take_once(&format!("launch:{}", link.query), until).await? {
        return Err(Problem::forbidden("This link was used before. Ask the panel that it came from for another one."));
    }
    begin(&panel, &Who { token: None, label: link.name, client: Some(link.client) }, "/").await
}

fn checked<'a>(panel: &Panel, uri: &'a Uri) -> std::result::Result<Link<'a>, Problem> {
    let Some(file) = &panel.app.config().launch_key else {
        return Err(Problem::not_found("Links from another panel are not set up here."));
    };
    read(secret(file)?.bytes(), uri, now() / 1000).map_err(|error| Problem::forbidden(error.text))
}

/// What links are signed with.
fn secret(file: &Path) -> Result<Secret> {
    let bytes =
        std::fs::read(file).map_err(|error| Error::unavailable(format!("launch_key: {}: {error}", file.display())))?;
    let secret = Secret::new(bytes.trim_ascii().to_vec());
    if secret.bytes().len() < SHORTEST_SECRET {
        return Err(Error::unavailable(format!("launch_key: shorter than {SHORTEST_SECRET} bytes")));
    }
    Ok(secret)
}

/// A link as another panel makes it, good for as long as one can be: for trying.
///
/// # Errors
/// `Invalid` if no links are taken; `Unavailable` if the secret cannot be read.
pub fn link(config: &Config, client: &ClientId, name: &str, at: i64) -> Result<String> {
    let Some(file) = &config.launch_key else {
        return Err(Error::invalid("launch_key: not in the configuration, so that no links are taken"));
    };
    let mut nonce = [0; 16];
    openssl::rand::rand_bytes(&mut nonce).map_err(|error| Error::unavailable(format!("nonce: {error}")))?;
    let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let query = format!("client={client}&name={name}&expires={}&nonce={}", at + LONGEST, hex(&nonce));
    let signature = sign(secret(file)?.bytes(), &query)?;
    Ok(format!("{}/launch?{query}&signature={signature}", config.panel()))
}

/// Takes a link apart and believes it if it is signed and in time.
fn read<'a>(secret: &[u8], uri: &'a Uri, at: i64) -> Result<Link<'a>> {
    let refused =
        |why: &str| Error::invalid(format!("This link is {why}. Ask the panel that it came from for another one."));
    let (query, signature) = uri.query().unwrap_or("").rsplit_once("&signature=").ok_or(refused("not signed"))?;
    let wanted = sign(secret, query)?;
    // The signature first: of what is not signed nothing is told.
    if signature.len() != wanted.len() || !openssl::memcmp::eq(signature.as_bytes(), wanted.as_bytes()) {
        return Err(refused("not signed by a panel that is known here"));
    }
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| refused("not readable"))?.0;
    let value = |name: &str| {
        let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (Some(value), None) if !value.is_empty() => Ok(value),
            _ => Err(refused(&format!("without one {name}"))),
        }
    };
    let expires: i64 = value("expires")?.parse().map_err(|_| refused("without a time at which it ends"))?;
    if expires <= at {
        return Err(refused("over"));
    }
    if expires > at + LONGEST {
        return Err(refused("good for longer than 5 minutes, which is not taken"));
    }
    if !NONCE.contains(&value("nonce")?.chars().count()) {
        return Err(refused("without a nonce of 16 to 128 characters"));
    }
    let name = value("name")?;
    if name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(refused("with a name that is longer than 100 characters or not one line"));
    }
    Ok(Link { query, client: ClientId::new(value("client")?)?, name: name.to_owned(), expires })
}

/// The signature of a query.
fn sign(secret: &[u8], query: &str) -> Result<String> {
    let signed = || {
        let key = PKey::hmac(secret)?;
        let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
        signer.sign_oneshot_to_vec(query.as_bytes())
    };
    let bytes = signed().map_err(|error| Error::unavailable(format!("signature: {error}")))?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const GOOD: &str = "client=c83&name=Ada%20L.&expires=1000&nonce=0123456789abcdef";

    fn link(query: &str) -> Result<(String, String)> {
        let uri: Uri = format!("/launch?{query}&signature={}", sign(SECRET, query)?).parse().unwrap();
        read(SECRET, &uri, 900).map(|link| (link.client.to_string(), link.name))
    }

    #[test]
    fn a_signed_link_says_who_it_is() {
        assert_eq!(link(GOOD).unwrap(), ("c83".into(), "Ada L.".into()));
        // As Python's hmac has it.
        let signature = "3bcbfb3ffad9bef31fc95c8f40118728469828daba8af511d73ebf2303691700";
        assert_eq!(sign(SECRET, GOOD).unwrap(), signature);
    }

    #[test]
    fn what_is_not_right_is_refused() {
        for (from, to, why) in [
            ("expires=1000", "expires=900", "over"),
            ("expires=1000", "expires=1201", "longer than 5 minutes"),
            ("expires=1000", "expires=x", "time at which it ends"),
            ("nonce=0123456789abcdef", "nonce=short", "nonce"),
            ("client=c83", "client=c83&client=c84", "without one client"),
            ("client=c83", "client=..%2Fc83", "client id"),
            ("name=Ada%20L.", "name=a%0Ab", "not one line"),
            ("&name=Ada%20L.", "", "without one name"),
        ] {
            let error = link(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.text.contains(why), "{to}: {error}");
        }
        let good = sign(SECRET, GOOD).unwrap();
        for query in [
            GOOD.to_owned(),
            format!("{GOOD}&signature="),
            format!("{GOOD}&signature={}", good.to_uppercase()),
            format!("{GOOD}&signature={}", sign(b"another secret of enough bytes!!", GOOD).unwrap()),
            format!("{}&signature={good}", GOOD.replace("c83", "c84")),
            format!("{GOOD}&signature={good}&client=c84"),
        ] {
            let uri: Uri = format!("/launch?{query}").parse().unwrap();
            assert!(read(SECRET, &uri, 900).is_err(), "{query}");
        }
    }
}

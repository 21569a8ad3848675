//! Who it is: signing in and out, the cookie, and whether a form was sent from a page of ours.

use super::page::{html, query, Page, Problem};
use super::Panel;
use crate::app::now;
use crate::http::limits::{household, Limiter, Rate};
use crate::http::{address, Peer};
use crate::names::ClientId;
use crate::store::{Actor, Millis, Session, Who};
use askama::Template;
use axum::extract::{Form, FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{header, HeaderMap, HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use std::net::IpAddr;
use std::time::Instant;

/// A session ends after so long, whatever happens in it.
pub(super) const SESSION: Millis = 12 * 3600 * 1000;
/// Failures to sign in from one address: so many at once, and one in six seconds in the long run.
const FAILURES: Rate = Rate { burst: 10.0, per_second: 1.0 / 6.0 };

/// Someone with a session.
pub(super) struct Visitor {
    pub session: Session,
    pub cookie: String,
}

impl Visitor {
    pub fn is_operator(&self) -> bool {
        self.session.who.is_operator()
    }

    /// The client that this session is of.
    pub fn client(&self) -> Option<&ClientId> {
        self.session.who.client.as_ref()
    }

    pub fn actor(&self) -> Actor {
        self.session.who.actor()
    }

    /// # Errors
    /// 403 for clients.
    pub fn operator(&self) -> Result<Actor, Problem> {
        if self.is_operator() {
            return Ok(self.actor());
        }
        Err(Problem::forbidden("This page is for operators."))
    }

    /// The client that a page is about, if this session may see it.
    ///
    /// # Errors
    /// 403 for another client's, whether there is one or not; 400 for what is no id.
    pub fn may_see(&self, id: &str) -> Result<ClientId, Problem> {
        match self.client() {
            Some(own) if own.as_str() == id => Ok(own.clone()),
            Some(_) => Err(Problem::forbidden("This page is of another client.")),
            None => Ok(ClientId::new(id)?),
        }
    }
}

impl FromRequestParts<Panel> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Visitor, Response> {
        let found = match cookie(&parts.headers, panel.is_https()) {
            Some(cookie) => {
                let session = panel.app.store().session(&cookie, now()).await;
                session.map_err(|error| Problem::from(error).into_response())?.map(|session| (session, cookie))
            }
            None => None,
        };
        match found {
            Some((session, cookie)) => Ok(Visitor { session, cookie }),
            None if parts.method == Method::GET => {
                let next = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                let to = if is_place(next) && next != "/" {
                    format!("/login?next={}", escaped(next))
                } else {
                    "/login".to_owned()
                };
                Err(Redirect::to(&to).into_response())
            }
            None => Err(Problem::forbidden("You are not signed in, or your session is over. Sign in and try again.")
                .into_response()),
        }
    }
}

/// A form of one of our pages, sent by its visitor.
pub(super) struct Posted {
    pub visitor: Visitor,
    pub fields: Fields,
}

/// A form's fields.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// A field without the spaces around it; empty if it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
    }
}

impl FromRequest<Panel> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, panel: &Panel) -> Result<Posted, Response> {
        let (mut parts, body) = request.into_parts();
        check_origin(panel, &parts).map_err(IntoResponse::into_response)?;
        let visitor = Visitor::from_request_parts(&mut parts, panel).await?;
        let fields = fields(Request::from_parts(parts, body), panel).await?;
        if !visitor.session.is_csrf(fields.get("csrf")) {
            let text = "This form is not of your session. Load the page again and repeat what you did.";
            return Err(Problem::forbidden(text).into_response());
        }
        Ok(Posted { visitor, fields })
    }
}

/// A form of someone who has no session yet, sent from a page of ours.
pub(super) struct FirstForm {
    pub fields: Fields,
    pub from: IpAddr,
}

impl FromRequest<Panel> for FirstForm {
    type Rejection = Response;

    async fn from_request(request: Request, panel: &Panel) -> Result<FirstForm, Response> {
        let (parts, body) = request.into_parts();
        check_origin(panel, &parts).map_err(IntoResponse::into_response)?;
        let from = household(address(parts.extensions.get::<Peer>()));
        let fields = fields(Request::from_parts(parts, body), panel).await?;
        Ok(FirstForm { fields, from })
    }
}

async fn fields(request: Request, panel: &Panel) -> Result<Fields, Response> {
    match Form::<Vec<(String, String)>>::from_request(request, panel).await {
        Ok(Form(fields)) => Ok(Fields(fields)),
        Err(error) => Err(Problem::invalid(format!("The form cannot be read: {error}")).into_response()),
    }
}

/// Browsers say from which site a form was sent. It must be this one.
fn check_origin(panel: &Panel, parts: &Parts) -> Result<(), Problem> {
    let text = |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let ours = match text(header::ORIGIN) {
        Some(origin) if origin.eq_ignore_ascii_case(&panel.app.config().panel()) => true,
        // Without a known address the panel is reached under several, such as localhost and 127.0.0.1.
        Some(origin) if panel.app.config().panel_url.is_none() => {
            let host = text(header::HOST).or(parts.uri.authority().map(|host| host.as_str()));
            let site = origin.split_once("://").map(|(_, site)| site);
            host.is_some() && site == host
        }
        Some(_) => false,
        None => text(header::HeaderName::from_static("sec-fetch-site")) == Some("same-origin"),
    };
    if ours {
        return Ok(());
    }
    Err(Problem::forbidden("This form was not sent from a page of this panel."))
}

/// Places of this panel to which signing in leads back; nothing that a browser takes for another site.
fn is_place(path: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/?=&%:".contains(c);
    path.starts_with('/') && !path.starts_with("//") && path.len() <= 500 && path.chars().all(is_plain)
}

fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    let of = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(of).collect()
}

fn cookie_name(is_https: bool) -> &'static str {
    // The prefix has browsers refuse one that another host or an unencrypted page has set.
    if is_https {
        "__Host-tel"
    } else {
        "tel"
    }
}

fn cookie(headers: &HeaderMap, is_https: bool) -> Option<String> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == cookie_name(is_https)).map(|(_, value)| value.to_owned())
}

fn set_cookie(is_https: bool, value: &str, seconds: i64) -> Option<HeaderValue> {
    let secure = if is_https { "; Secure" } else { "" };
    let name = cookie_name(is_https);
    HeaderValue::from_str(&format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")).ok()
}

/// Begins a session and leads to `next`.
pub(super) async fn begin(panel: &Panel, who: &Who, next: &str) -> Result<Response, Problem> {
    let at = now();
    let session = panel.app.store().create_session(who, at + SESSION, at).await?;
    let mut response = Redirect::to(if is_place(next) { next } else { "/" }).into_response();
    if let Some(value) = set_cookie(panel.is_https(), &session.cookie, SESSION / 1000) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    Ok(response)
}

#[derive(Template)]
#[template(path = "login.html")]
struct SignIn {
    page: Page,
    next: String,
    wrong: bool,
}

/// `GET /login`
pub(super) async fn sign_in_page(uri: Uri) -> Result<Response, Problem> {
    let next = query(&uri, "next").unwrap_or_default();
    html(&SignIn { page: Page::without_session("Sign in"), next, wrong: false })
}

/// `POST /login`
pub(super) async fn sign_in(State(panel): State<Panel>, form: FirstForm) -> Result<Response, Problem> {
    panel.failures.check(&form.from, Instant::now()).map_err(Problem::too_many)?;
    let next = form.fields.get("next");
    match panel.app.store().authenticate(form.fields.get("token"), now()).await? {
        Some(who) => begin(&panel, &who, next).await,
        None => {
            panel.failures.take(form.from, Instant::now()).map_err(Problem::too_many)?;
            let page = SignIn { page: Page::without_session("Sign in"), next: next.to_owned(), wrong: true };
            let mut response = html(&page)?;
            *response.status_mut() = axum::http::StatusCode::FORBIDDEN;
            Ok(response)
        }
    }
}

/// `POST /logout`
pub(super) async fn sign_out(State(panel): State<Panel>, posted: Posted) -> Result<Response, Problem> {
    panel.app.store().end_session(&posted.visitor.cookie, now()).await?;
    let mut response = Redirect::to("/login").into_response();
    if let Some(value) = set_cookie(panel.is_https(), "", 0) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    Ok(response)
}

/// Failures to sign in, by address.
pub(super) fn failures() -> Limiter<IpAddr> {
    Limiter::new(FAILURES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_to_no_other_site() {
        for good in ["/", "/clients/c83?said=left", "/audit?subject=client%3Ac83"] {
            assert!(is_place(good), "{good}");
        }
        for bad in ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", "/a b", "clients"] {
            assert!(!is_place(bad), "{bad}");
        }
        assert_eq!(escaped("/a?b=c&d"), "/a%3Fb%3Dc%26d");
    }
}

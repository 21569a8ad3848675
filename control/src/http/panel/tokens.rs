//! Tokens, for operators: of people, and of programs that speak for a client.

use super::page::{html, see, Page, Problem};
use super::session::{Posted, Visitor};
use super::words::When;
use super::Panel;
use crate::app::now;
use crate::names::ClientId;
use crate::store::{Millis, Token};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};

const DAY: Millis = 24 * 3600 * 1000;
/// Days after which a token may end at the latest, if it ends at all.
const MOST_DAYS: i64 = 3650;

/// A token in words.
struct Row {
    id: String,
    label: String,
    client: Option<ClientId>,
    created: When,
    used: Option<When>,
    expires: Option<When>,
    /// `live`, `over` or `revoked`.
    state: &'static str,
    /// It is the one that this session began with.
    is_own: bool,
}

impl Row {
    fn new(token: &Token, visitor: &Visitor) -> Row {
        let is_over = token.expires_at.is_some_and(|end| end <= now());
        Row {
            id: token.id.clone(),
            label: token.label.clone(),
            client: token.client.clone(),
            created: When::at(token.created_at),
            used: token.last_used.map(When::at),
            expires: token.expires_at.map(When::at),
            state: match token.revoked_at {
                Some(_) => "revoked",
                None if is_over => "over",
                None => "live",
            },
            is_own: visitor.session.who.token.as_deref() == Some(&token.id),
        }
    }
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    page: Page,
    rows: Vec<Row>,
    /// One that was just made: shown this once.
    made: Option<(String, String)>,
}

#[derive(Template)]
#[template(path = "revoke-token.html")]
struct RevokePage {
    page: Page,
    row: Row,
}

async fn rows(panel: &Panel, visitor: &Visitor) -> Result<Vec<Row>, Problem> {
    let tokens = panel.app.store().tokens(None).await?;
    let mut rows: Vec<Row> = tokens.iter().map(|token| Row::new(token, visitor)).collect();
    rows.sort_by_key(|row| row.state != "live");
    Ok(rows)
}

/// `GET /tokens`
pub(super) async fn page(State(panel): State<Panel>, visitor: Visitor, uri: Uri) -> Result<Response, Problem> {
    visitor.operator()?;
    let rows = rows(&panel, &visitor).await?;
    html(&TokensPage { page: Page::new("Tokens", "tokens", &visitor.session).said(&uri), rows, made: None })
}

/// `POST /tokens`: the answer shows the token, and nothing does so again.
pub(super) async fn create(State(panel): State<Panel>, posted: Posted) -> Result<Response, Problem> {
    let who = posted.visitor.operator()?;
    let (label, client, days) = (posted.fields.get("label"), posted.fields.get("client"), posted.fields.get("days"));
    let client = if client.is_empty() { None } else { Some(ClientId::new(client)?) };
    let at = now();
    let expires_at = match days {
        "" => None,
        days => match days.parse::<i64>() {
            Ok(days) if (1..=MOST_DAYS).contains(&days) => Some(at + days * DAY),
            _ => return Err(Problem::invalid(format!("Days until it ends: from 1 to {MOST_DAYS}, or empty."))),
        },
    };
    let made = panel.app.store().create_token(&who, label, client.as_ref(), expires_at, at).await?;
    let rows = rows(&panel, &posted.visitor).await?;
    let page = Page::new("Tokens", "tokens", &posted.visitor.session);
    html(&TokensPage { page, rows, made: Some((label.to_owned(), made.secret)) })
}

/// `GET /tokens/{id}/revoke`
pub(super) async fn revoke_page(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    visitor.operator()?;
    let tokens = panel.app.store().tokens(None).await?;
    let token = tokens.iter().find(|token| token.id == id);
    let token = token.ok_or_else(|| Problem::not_found("There is no such token."))?;
    if token.revoked_at.is_some() {
        return Ok(Redirect::to("/tokens").into_response());
    }
    html(&RevokePage { page: Page::new("Revoke a token", "tokens", &visitor.session), row: Row::new(token, &visitor) })
}

/// `POST /tokens/{id}/revoke`
pub(super) async fn revoke(
    State(panel): State<Panel>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let who = posted.visitor.operator()?;
    panel.app.store().revoke_token(&who, &id, now()).await?;
    Ok(see("/tokens", "token-revoked"))
}

//! A client's credentials: the zip that one is handed out in, how old ones are replaced, and their end.

use super::client::Tabs;
use super::page::{html, see, zip, Page, Problem};
use super::session::{Posted, Visitor};
use super::words::When;
use super::Panel;
use crate::error::Error;
use crate::names::ClientId;
use crate::onboarding::{clients, credentials, download, CredentialView};
use crate::store::MOST_LIVE;
use askama::Template;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};

/// Days before its end at which a certificate's holder is warned.
const WARN_DAYS: i64 = 30;

/// A credential in words.
struct Row {
    generation: u32,
    /// `unused`, `used`, `revoked` or `expired`.
    state: &'static str,
    label: &'static str,
    created: Option<When>,
    used: Option<When>,
    expires: Option<When>,
    expires_soon: bool,
    is_live: bool,
    fingerprint: String,
}

impl Row {
    fn new(view: &CredentialView) -> Row {
        let when = |text: &Option<String>| text.as_deref().and_then(When::of);
        let (state, label) = match (view.state, view.live) {
            ("revoked", _) => ("revoked", "Revoked"),
            (_, false) => ("expired", "Expired"),
            ("active", true) => ("used", "In use"),
            _ => ("unused", "Not used yet"),
        };
        let expires = when(&view.not_after);
        Row {
            generation: view.generation,
            state,
            label,
            created: When::of(&view.created_at),
            used: when(&view.last_used_at),
            expires_soon: view.live && expires.as_ref().is_some_and(|at| at.is_within_days(WARN_DAYS)),
            expires,
            is_live: view.live,
            fingerprint: view.fingerprint_sha256.clone().unwrap_or_default(),
        }
    }
}

/// The credentials, renewed while the page is open.
#[derive(Template)]
#[template(path = "credentials-table.html")]
struct Table {
    id: ClientId,
    rows: Vec<Row>,
    live: usize,
    most: usize,
    can_issue: bool,
    /// A new one that was not seen at work yet, and the old ones that go on until it is.
    waiting: Option<(u32, Vec<u32>)>,
    /// The newest one at work, and older ones that can go now.
    replaced: Option<(u32, Vec<u32>)>,
    csrf: String,
}

impl Table {
    fn new(id: &ClientId, views: &[CredentialView], is_leaving: bool, csrf: &str) -> Table {
        let rows: Vec<Row> = views.iter().map(Row::new).collect();
        // The latest first.
        let live: Vec<&Row> = rows.iter().filter(|row| row.is_live).collect();
        let older = |than: u32| -> Vec<u32> {
            live.iter().map(|row| row.generation).filter(|generation| *generation < than).collect()
        };
        let newest_used = live.iter().find(|row| row.state == "used").map(|row| row.generation);
        let waiting = live.first().filter(|row| row.state == "unused").map(|row| row.generation);
        let with_older = |generation: u32| (generation, older(generation));
        let count = live.len();
        Table {
            id: id.clone(),
            waiting: waiting.map(with_older),
            replaced: newest_used.map(with_older).filter(|(_, older)| !older.is_empty()),
            live: count,
            most: MOST_LIVE,
            can_issue: count < MOST_LIVE && !is_leaving,
            csrf: csrf.to_owned(),
            rows,
        }
    }
}

#[derive(Template)]
#[template(path = "credentials.html")]
struct CredentialsPage {
    page: Page,
    tabs: Tabs,
    table: Table,
    is_leaving: bool,
    unused_hours: u64,
}

#[derive(Template)]
#[template(path = "revoke.html")]
struct RevokePage {
    page: Page,
    id: ClientId,
    row: Row,
    is_last: bool,
}

/// `GET /clients/{id}/credentials`
pub(super) async fn page(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    let view = clients::view(&panel.app, &id).await?;
    let views = credentials::views(&panel.app, &id).await?;
    let is_leaving = view.leaving.is_some();
    let page = Page::new(format!("Credentials of {id}"), "clients", &visitor.session).said(&uri);
    html(&CredentialsPage {
        page: page.live(format!("/events?client={id}")),
        tabs: Tabs::new(&id, "credentials", &visitor),
        table: Table::new(&id, &views, is_leaving, visitor.session.csrf()),
        is_leaving,
        unused_hours: panel.app.config().unused_credential.as_secs() / 3600,
    })
}

/// `GET /clients/{id}/credentials/table`
pub(super) async fn table(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    let view = clients::view(&panel.app, &id).await?;
    let views = credentials::views(&panel.app, &id).await?;
    html(&Table::new(&id, &views, view.leaving.is_some(), visitor.session.csrf()))
}

/// `POST /clients/{id}/bundle.zip`: a new credential, in the zip and nowhere else.
pub(super) async fn download(
    State(panel): State<Panel>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let id = posted.visitor.may_see(&id)?;
    let request = posted.fields.get("request");
    let request = (!request.is_empty()).then_some(request.as_bytes());
    let made = download::with_credential(&panel.app, &posted.visitor.actor(), &id, request).await?;
    Ok(zip(&format!("tel-{id}.zip"), made.zip.bytes()))
}

/// `GET /clients/{id}/bundle.zip`: the same files without a key.
pub(super) async fn files(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    let made = download::without_key(&panel.app, &id).await?;
    Ok(zip(&format!("tel-{id}-without-key.zip"), made.zip.bytes()))
}

/// `GET /clients/{id}/credentials/{generation}/revoke`
pub(super) async fn revoke_page(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path((id, generation)): Path<(String, u32)>,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    let views = credentials::views(&panel.app, &id).await?;
    let view = views.iter().find(|view| view.generation == generation);
    let view = view.ok_or_else(|| Error::not_found(format!("There is no credential {generation} of {id}.")))?;
    if view.state == "revoked" {
        return Ok(Redirect::to(&format!("/clients/{id}/credentials")).into_response());
    }
    let is_last = view.live && views.iter().filter(|view| view.live).count() == 1;
    let page = Page::new(format!("Revoke credential {generation} of {id}"), "", &visitor.session);
    html(&RevokePage { page, row: Row::new(view), id, is_last })
}

/// `POST /clients/{id}/credentials/{generation}/revoke`
pub(super) async fn revoke(
    State(panel): State<Panel>,
    Path((id, generation)): Path<(String, u32)>,
    posted: Posted,
) -> Result<Response, Problem> {
    let id = posted.visitor.may_see(&id)?;
    credentials::revoke(&panel.app, &posted.visitor.actor(), &id, generation, "asked for on the panel").await?;
    Ok(see(&format!("/clients/{id}/credentials"), "revoked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(generation: u32, state: &'static str) -> CredentialView {
        CredentialView {
            generation,
            common_name: format!("c83:{generation}"),
            state,
            live: state != "revoked",
            fingerprint_sha256: None,
            not_after: None,
            created_at: "2026-11-28T03:09:00Z".into(),
            first_used_at: None,
            last_used_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn an_old_one_goes_only_after_the_new_one_was_seen() {
        let id = ClientId::new("c83").unwrap();
        let table = |views: &[CredentialView]| {
            let table = Table::new(&id, views, false, "");
            (table.waiting, table.replaced)
        };
        assert_eq!(table(&[]), (None, None));
        assert_eq!(table(&[credential(1, "issued")]), (Some((1, vec![])), None));
        assert_eq!(table(&[credential(1, "active")]), (None, None));
        assert_eq!(table(&[credential(2, "issued"), credential(1, "active")]), (Some((2, vec![1])), None));
        assert_eq!(table(&[credential(2, "active"), credential(1, "active")]), (None, Some((2, vec![1]))));
        assert_eq!(table(&[credential(2, "active"), credential(1, "revoked")]), (None, None));
        let full: Vec<_> = (1..=5).rev().map(|generation| credential(generation, "active")).collect();
        assert!(!Table::new(&id, &full, false, "").can_issue && Table::new(&id, &full[1..], false, "").can_issue);
        assert!(!Table::new(&id, &[], true, "").can_issue);
    }
}

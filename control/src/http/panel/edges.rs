//! The edges, for operators: which are heard, how far they are, their certificates, and their end.

use super::page::{html, see, zip, Page, Problem};
use super::session::{Posted, Visitor};
use super::words::{count, When};
use super::Panel;
use crate::app::App;
use crate::bundle::{zip_folder, BundleFile};
use crate::ca::{IssuedCredential, Secret};
use crate::error::{Error, Result};
use crate::names::EdgeName;
use crate::onboarding::{edges, EdgeView};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::json;

/// Days before its end at which a certificate is pointed out.
const WARN_DAYS: i64 = 30;
/// Rejected ids that are named.
const NAMED: usize = 5;

/// An edge in words.
struct Row {
    name: String,
    /// `heard`, `silent`, `never` or `retired`.
    state: &'static str,
    label: &'static str,
    heard_at: Option<When>,
    position: String,
    /// Of those heard, this one has not come as far as the furthest.
    is_behind: bool,
    rejected: String,
    /// Why it keeps its list from before; empty if it does not.
    refused: String,
    expires: Option<When>,
    expires_soon: bool,
}

/// The edges, renewed while the page is open.
#[derive(Template)]
#[template(path = "edges-table.html")]
struct Table {
    rows: Vec<Row>,
    heard: usize,
    counted: usize,
}

#[derive(Template)]
#[template(path = "edges.html")]
struct EdgesPage {
    page: Page,
    table: Table,
}

#[derive(Template)]
#[template(path = "retire.html")]
struct RetirePage {
    page: Page,
    row: Row,
}

impl Row {
    fn new(view: &EdgeView, furthest: i64) -> Row {
        let when = |text: &Option<String>| text.as_deref().and_then(When::of);
        let (state, label) = match (&view.retired_at, view.heard, &view.heard_at) {
            (Some(_), _, _) => ("retired", "Retired"),
            (None, true, _) => ("heard", "Heard"),
            (None, false, Some(_)) => ("silent", "Silent"),
            (None, false, None) => ("never", "Never heard"),
        };
        let mut rejected = view.rejected.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if view.rejected.len() > NAMED {
            rejected.push_str(&format!(" and {} more", view.rejected.len() - NAMED));
        }
        let expires = when(&view.not_after);
        Row {
            name: view.name.clone(),
            state,
            label,
            heard_at: when(&view.heard_at),
            position: view.applied_offset.map_or_else(|| "none".to_owned(), count),
            is_behind: view.heard && view.applied_offset.is_none_or(|offset| offset < furthest),
            rejected,
            refused: view.refused.clone().unwrap_or_default(),
            expires_soon: state != "retired" && expires.as_ref().is_some_and(|at| at.is_within_days(WARN_DAYS)),
            expires,
        }
    }
}

async fn read(app: &App) -> Result<Table> {
    let views = edges::views(app).await?;
    let furthest = views.iter().filter(|view| view.heard).filter_map(|view| view.applied_offset).max().unwrap_or(0);
    let mut rows: Vec<Row> = views.iter().map(|view| Row::new(view, furthest)).collect();
    let has_trouble = |row: &Row| row.is_behind || !row.rejected.is_empty() || !row.refused.is_empty();
    let order = |row: &Row| match (row.state, has_trouble(row)) {
        ("silent", _) => 0,
        ("heard", true) => 1,
        ("heard", false) => 2,
        ("never", _) => 3,
        _ => 4,
    };
    rows.sort_by_key(order);
    let heard = rows.iter().filter(|row| row.state == "heard").count();
    let counted = rows.iter().filter(|row| row.state != "retired").count();
    Ok(Table { rows, heard, counted })
}

/// `GET /edges`
pub(super) async fn page(
    State(panel): State<Panel>,
    visitor: Visitor,
    uri: Uri,
) -> std::result::Result<Response, Problem> {
    visitor.operator()?;
    let mut page = Page::new("Edges", "edges", &visitor.session).said(&uri).live("/events");
    page.refresh = Some(10);
    html(&EdgesPage { page, table: read(&panel.app).await? })
}

/// `GET /edges/table`
pub(super) async fn table(State(panel): State<Panel>, visitor: Visitor) -> std::result::Result<Response, Problem> {
    visitor.operator()?;
    html(&read(&panel.app).await?)
}

/// `POST /edges`: a certificate for an edge, new or known, in a zip and nowhere else.
pub(super) async fn certify(State(panel): State<Panel>, posted: Posted) -> std::result::Result<Response, Problem> {
    let who = posted.visitor.operator()?;
    let name = EdgeName::new(posted.fields.get("name"))?;
    let request = posted.fields.get("request");
    let request = (!request.is_empty()).then_some(request.as_bytes());
    let credential = edges::certify(&panel.app, &who, &name, request).await?;
    let files = files(&panel.app, &name, &credential)?;
    let bytes = Secret::new(zip_folder(&format!("tel-edge-{name}"), &files)?);
    Ok(zip(&format!("tel-edge-{name}.zip"), bytes.bytes()))
}

/// What an edge needs of this: certificates, and a `teld.json` that follows the list.
fn files(app: &App, name: &EdgeName, credential: &IssuedCredential) -> Result<Vec<BundleFile>> {
    let config = json!({
        "producer": { "kafka": {
            "bootstrap.servers": app.config().public_bootstrap,
            "security.protocol": "ssl",
            "ssl.ca.location": "/etc/tel/brokers.pem",
            "ssl.certificate.location": "/etc/tel/edge.pem",
            "ssl.key.location": "/etc/tel/edge.key",
        }, "clients.file": "/etc/tel/clients.json" },
        "sync": { "edge": name.as_str() },
    });
    let config =
        serde_json::to_string_pretty(&config).map_err(|error| Error::unavailable(format!("teld.json: {error}")))?;
    let file = |name, mode, bytes: &[u8]| BundleFile { name, mode, contents: Secret::new(bytes.to_vec()) };
    let mut files = vec![
        file("teld.json", 0o644, format!("{config}\n").as_bytes()),
        file("brokers.pem", 0o644, app.brokers_ca_pem().as_bytes()),
        file("edge.pem", 0o644, credential.certificate_pem.as_bytes()),
    ];
    if let Some(key) = &credential.key_pem {
        files.push(file("edge.key", 0o600, key.bytes()));
    }
    Ok(files)
}

/// `GET /edges/{name}/retire`
pub(super) async fn retire_page(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> std::result::Result<Response, Problem> {
    visitor.operator()?;
    let views = edges::views(&panel.app).await?;
    let view = views.iter().find(|view| view.name == name);
    let view = view.ok_or_else(|| Problem::not_found("There is no edge of this name."))?;
    if view.retired_at.is_some() {
        return Ok(Redirect::to("/edges").into_response());
    }
    html(&RetirePage { page: Page::new(format!("Retire {name}"), "edges", &visitor.session), row: Row::new(view, 0) })
}

/// `POST /edges/{name}/retire`
pub(super) async fn retire(
    State(panel): State<Panel>,
    Path(name): Path<String>,
    posted: Posted,
) -> std::result::Result<Response, Problem> {
    let who = posted.visitor.operator()?;
    edges::retire(&panel.app, &who, &EdgeName::new(&name)?).await?;
    Ok(see("/edges", "retired"))
}

//! The audit log, for operators.

use super::client::Tabs;
use super::page::{html, query, Page, Problem};
use super::session::Visitor;
use super::words::{stamp, step, When};
use super::Panel;
use crate::store::AuditRow;
use askama::Template;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde_json::Value;

/// Rows on a page.
const ROWS: usize = 100;

/// A row of the log in words.
struct Row {
    at: When,
    who: String,
    what: String,
    subject: String,
    details: String,
    /// The page of its subject.
    link: Option<String>,
}

impl Row {
    fn new(row: &AuditRow) -> Row {
        let link = row.subject.strip_prefix("client:").map(|id| format!("/clients/{id}"));
        Row {
            at: When::at(row.at),
            who: row.who.clone(),
            what: row.what.clone(),
            subject: row.subject.clone(),
            details: details(&row.details),
            link,
        }
    }
}

/// `name: value, ...` of what is not nothing.
fn details(details: &Value) -> String {
    let Some(fields) = details.as_object() else { return String::new() };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    if let (name, from, to @ ("pending" | "done" | "failed")) = (text("step"), text("from"), text("to")) {
        let why = match text("detail") {
            "" => String::new(),
            detail => format!(" ({detail})"),
        };
        return format!("{}: {from} \u{2192} {to}{why}", step(name));
    }
    let known = fields.iter().filter(|(_, value)| {
        !value.is_null() && value.as_str() != Some("") && value.as_object().is_none_or(|object| !object.is_empty())
    });
    known
        .map(|(name, value)| format!("{}: {}", name.replace('_', " "), value_of(name, value)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn value_of(name: &str, value: &Value) -> String {
    match (name, value.as_i64(), value.as_str()) {
        ("not_after" | "delete_after" | "expires_at", Some(at), _) => stamp(at),
        // Enough to find it again.
        ("fingerprint", _, Some(text)) => text.chars().take(16).chain(['\u{2026}']).collect(),
        (_, _, Some(text)) => text.to_owned(),
        _ => value.to_string(),
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    page: Page,
    /// Of one client.
    tabs: Option<Tabs>,
    rows: Vec<Row>,
    subject: String,
    /// Before which row the next page starts.
    next: Option<i64>,
}

async fn read(panel: &Panel, subject: Option<&str>, uri: &Uri) -> Result<(Vec<Row>, Option<i64>), Problem> {
    let before = query(uri, "before").and_then(|text| text.parse().ok());
    let mut found = panel.app.store().audit_log(subject, before, ROWS + 1).await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let next = if more { found.last().map(|row| row.id) } else { None };
    Ok((found.iter().map(Row::new).collect(), next))
}

/// `GET /audit`
pub(super) async fn page(State(panel): State<Panel>, visitor: Visitor, uri: Uri) -> Result<Response, Problem> {
    visitor.operator()?;
    let subject = query(&uri, "subject").unwrap_or_default();
    let (rows, next) = read(&panel, (!subject.is_empty()).then_some(&subject), &uri).await?;
    html(&AuditPage { page: Page::new("Audit log", "audit", &visitor.session), tabs: None, rows, subject, next })
}

/// `GET /clients/{id}/audit`
pub(super) async fn of_client(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    visitor.operator()?;
    let id = visitor.may_see(&id)?;
    let (rows, next) = read(&panel, Some(&format!("client:{id}")), &uri).await?;
    let page = Page::new(format!("Audit log of {id}"), "clients", &visitor.session);
    html(&AuditPage { page, tabs: Some(Tabs::new(&id, "audit", &visitor)), rows, subject: String::new(), next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn details_are_read_by_people() {
        for (of, text) in [
            (
                json!({ "step": "acls", "from": "pending", "to": "failed", "detail": "no" }),
                "Give access rights: pending \u{2192} failed (no)",
            ),
            (json!({ "delete_after": 1_795_835_340_000i64, "none": null }), "delete after: 28 Nov 2026, 03:09 UTC"),
            (json!({ "fingerprint": "0123456789abcdef0123", "settings": {} }), "fingerprint: 0123456789abcdef\u{2026}"),
            (json!({ "generation": 2, "why": "x" }), "generation: 2, why: x"),
            (json!([1]), ""),
        ] {
            assert_eq!(details(&of), text);
        }
    }
}

//! The audit log.

use super::limit;
use crate::app::App;
use crate::http::auth::Operator;
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::onboarding::date_text;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which rows.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Of one subject: `client:<id>`, `edge:<name>`, `token:<id>`, `setting:<name>`, `database`.
    #[param(pattern = "^[ -~]{1,200}$", min_length = 1, max_length = 200, example = "client:c83")]
    subject: Option<String>,
    /// Those before this one: `next` of the part before.
    #[param(minimum = 1, maximum = 9223372036854775807i64)]
    before: Option<i64>,
    /// How many, 100 without it.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A part of the audit log.
#[derive(Serialize, ToSchema)]
pub struct AuditList {
    /// The latest first.
    rows: Vec<AuditView>,
    /// `before` of the next part; none if this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// A row of the audit log.
#[derive(Serialize, ToSchema)]
pub struct AuditView {
    /// Its number; later ones are higher.
    id: i64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Who: `operator:<label>`, `client:<id>`, `edge:<name>`, `reconciler`, `command line`.
    who: String,
    /// What, such as `client.add`.
    what: String,
    /// Of whom or what.
    subject: String,
    /// More.
    #[schema(value_type = Object)]
    details: serde_json::Value,
}

/// Who changed or looked at what, and when.
#[utoipa::path(get, path = "/api/v1/audit", tag = "service", operation_id = "listAudit", params(AuditQuery),
    responses((status = 200, description = "The latest first.", body = AuditList)))]
pub async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<AuditQuery>,
) -> Result<axum::Json<AuditList>, Problem> {
    let limit = limit(query.limit)?;
    let is_subject =
        |text: &str| (1..=200).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if query.subject.as_deref().is_some_and(|text| !is_subject(text)) {
        return Err(Problem::bad_request("subject must be 1 to 200 characters of printable ASCII"));
    }
    if query.before.is_some_and(|before| before < 1) {
        return Err(Problem::bad_request("before must be 1 or more"));
    }
    let rows = app.store().audit_log(query.subject.as_deref(), query.before, limit).await?;
    let next = if rows.len() < limit { None } else { rows.last().map(|row| row.id) };
    let rows = rows.into_iter().map(|row| AuditView {
        id: row.id,
        at: date_text(row.at),
        who: row.who,
        what: row.what,
        subject: row.subject,
        details: if row.details.is_object() { row.details } else { serde_json::json!({}) },
    });
    Ok(axum::Json(AuditList { rows: rows.collect(), next }))
}

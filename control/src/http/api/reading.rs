//! What comes of a client's service: its reading, its volume, its last lines.

use super::clients::ClientPath;
use super::credentials::known;
use crate::app::{now, App};
use crate::http::extract::{About, Query};
use crate::http::problem::Problem;
use crate::observe::{consumers, history as histories, lines as last_lines, HistoryPoint, LineView, ReadingView};
use crate::store::day_of;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::macros::format_description;
use time::Date;
use utoipa::{IntoParams, ToSchema};

/// Lines, if nobody says how many.
const LINES: usize = 20;
/// Lines, whatever is said.
const MOST_LINES: usize = 200;
/// Days of usage, if nobody says which.
const DAYS: i64 = 30;
/// Days of usage of one request.
const MOST_DAYS: i64 = 1100;

/// How far a client's consumers are, and what may be wrong.
#[utoipa::path(get, path = "/api/v1/clients/{id}/reading", tag = "reading", operation_id = "showReading", params(ClientPath),
    responses((status = 200, description = "Its reading.", body = ReadingView)))]
pub async fn reading(State(app): State<App>, About { id, .. }: About) -> Result<axum::Json<ReadingView>, Problem> {
    known(&app, &id).await?;
    Ok(axum::Json(consumers::reading(&app, &id).await?))
}

/// The last hour of a client's volume.
#[derive(Serialize, ToSchema)]
pub struct History {
    /// The oldest first.
    points: Vec<HistoryPoint>,
}

/// The last hour of a client's volume and lag, for plots.
#[utoipa::path(get, path = "/api/v1/clients/{id}/history", tag = "reading", operation_id = "showHistory", params(ClientPath),
    responses((status = 200, description = "The points.", body = History)))]
pub async fn history(State(app): State<App>, About { id, .. }: About) -> Result<axum::Json<History>, Problem> {
    known(&app, &id).await?;
    Ok(axum::Json(History { points: histories::of_client(&app, &id) }))
}

/// How many lines.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LinesQuery {
    /// At most so many, 20 without it.
    #[param(minimum = 1, maximum = 200)]
    count: Option<usize>,
}

/// A client's last lines.
#[derive(Serialize, ToSchema)]
pub struct Lines {
    /// The oldest first.
    lines: Vec<LineView>,
}

/// A client's last lines. They hold addresses of people: that an operator looks is noted in the audit log first.
#[utoipa::path(get, path = "/api/v1/clients/{id}/lines", tag = "reading", operation_id = "showLines", params(ClientPath, LinesQuery),
    responses((status = 200, description = "The lines.", body = Lines)))]
pub async fn lines(
    State(app): State<App>,
    About { caller, id }: About,
    Query(query): Query<LinesQuery>,
) -> Result<axum::Json<Lines>, Problem> {
    let count = query.count.unwrap_or(LINES);
    if !(1..=MOST_LINES).contains(&count) {
        return Err(Problem::bad_request(format!("count must be from 1 to {MOST_LINES}")));
    }
    known(&app, &id).await?;
    if caller.client().is_none() {
        let details = json!({ "count": count });
        app.store().audit(caller.actor(), "lines.view", &format!("client:{id}"), details, now()).await?;
    }
    Ok(axum::Json(Lines { lines: last_lines::last(&app, &id, count).await? }))
}

/// Which days.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// The first day, UTC; without it, 29 days before the last.
    #[param(format = Date, value_type = Option<String>, example = "2026-01-31")]
    from: Option<String>,
    /// The last day, UTC; without it, today.
    #[param(format = Date, value_type = Option<String>, example = "2026-02-28")]
    to: Option<String>,
}

/// A client's volume.
#[derive(Serialize, ToSchema)]
pub struct Usage {
    /// The first day asked about.
    #[schema(format = Date)]
    from: String,
    /// The last one.
    #[schema(format = Date)]
    to: String,
    /// Those days on which there was any.
    days: Vec<UsageDay>,
}

/// A client's volume on a day.
#[derive(Serialize, ToSchema)]
pub struct UsageDay {
    /// The day, UTC.
    #[schema(format = Date)]
    day: String,
    /// Lines delivered.
    delivered: u64,
    /// Lines dropped.
    dropped: u64,
}

/// A client's volume by day.
#[utoipa::path(get, path = "/api/v1/clients/{id}/usage", tag = "reading", operation_id = "showUsage", params(ClientPath, UsageQuery),
    responses((status = 200, description = "Its volume.", body = Usage)))]
pub async fn usage(
    State(app): State<App>,
    About { id, .. }: About,
    Query(query): Query<UsageQuery>,
) -> Result<axum::Json<Usage>, Problem> {
    let last = query.to.as_deref().map(|text| day("to", text)).transpose()?.unwrap_or_else(|| day_of(now()));
    let first = query.from.as_deref().map(|text| day("from", text)).transpose()?.unwrap_or(last - DAYS + 1);
    if first > last || last - first >= MOST_DAYS {
        return Err(Problem::bad_request(format!("from must not be after to, nor {MOST_DAYS} days or more before it")));
    }
    known(&app, &id).await?;
    let days = app.store().usage_by_day(&id, first, last).await?;
    let days = days.into_iter().map(|usage| UsageDay {
        day: text_of(usage.day),
        delivered: usage.lines.delivered,
        dropped: usage.lines.dropped,
    });
    Ok(axum::Json(Usage { from: text_of(first), to: text_of(last), days: days.collect() }))
}

/// The days between 1970 and this one.
fn day(what: &str, text: &str) -> Result<i64, Problem> {
    let date = Date::parse(text, format_description!("[year]-[month]-[day]"));
    let date = date.map_err(|_| Problem::bad_request(format!("{what} must be a day such as 2026-01-31")))?;
    Ok(i64::from(date.to_julian_day()) - i64::from(epoch()))
}

fn text_of(day: i64) -> String {
    let date = i32::try_from(day).ok().and_then(|day| day.checked_add(epoch()));
    let date = date.and_then(|day| Date::from_julian_day(day).ok());
    date.and_then(|date| date.format(format_description!("[year]-[month]-[day]")).ok()).unwrap_or_default()
}

fn epoch() -> i32 {
    time::OffsetDateTime::UNIX_EPOCH.to_julian_day()
}

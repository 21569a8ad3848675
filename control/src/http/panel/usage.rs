//! How much there was, by client and day, and how much disk it will take, for operators.

use super::page::{html, query, Page, Problem};
use super::session::Visitor;
use super::words::{bytes, count, day, duration};
use super::Panel;
use crate::app::now;
use crate::reconcile::longest_kept_ms;
use crate::store::{day_of, Lines};
use askama::Template;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use std::collections::BTreeMap;

/// Days shown, today included.
const DAYS: i64 = 7;
/// Clients on a page, those with most lines first.
const ROWS: usize = 100;
/// Bytes of a line if nobody says otherwise: of the access lines that tel is measured with.
const LINE_BYTES: f64 = 250.0;
const DAY_MS: f64 = 86_400_000.0;

struct Row {
    id: String,
    days: Vec<String>,
    delivered: String,
    dropped: String,
}

/// How much disk the topics will take, and why one thinks so.
struct Forecast {
    /// While Kafka deletes lines as soon as it may.
    least: String,
    /// While the segments in use are about to end.
    most: String,
    lines_per_day: String,
    days: String,
    retention: String,
    copies: String,
    line_bytes: String,
}

#[derive(Template)]
#[template(path = "usage.html")]
struct UsagePage {
    page: Page,
    days: Vec<String>,
    rows: Vec<Row>,
    clients: String,
    /// Which page of rows this is, from 0.
    from: usize,
    next: Option<usize>,
    forecast: Option<Forecast>,
    line_bytes: f64,
}

/// `GET /usage`
pub(super) async fn page(State(panel): State<Panel>, visitor: Visitor, uri: Uri) -> Result<Response, Problem> {
    visitor.operator()?;
    let line_bytes = query(&uri, "line_bytes").and_then(|text| text.parse::<f64>().ok());
    let line_bytes = line_bytes.filter(|bytes| (1.0..=1_000_000.0).contains(bytes)).unwrap_or(LINE_BYTES);
    let from: usize = query(&uri, "from").and_then(|text| text.parse().ok()).unwrap_or(0);
    let today = day_of(now());
    let first = today - DAYS + 1;

    let mut clients: BTreeMap<String, (Lines, Vec<u64>)> = BTreeMap::new();
    for (place, day) in (0..).zip(first..=today) {
        for usage in panel.app.store().usage_by_client(day, day).await? {
            let (sum, days) = clients.entry(usage.of).or_insert_with(|| (Lines::default(), vec![0; DAYS as usize]));
            sum.delivered = sum.delivered.saturating_add(usage.lines.delivered);
            sum.dropped = sum.dropped.saturating_add(usage.lines.dropped);
            if let Some(lines) = days.get_mut(place) {
                *lines = usage.lines.delivered;
            }
        }
    }
    let forecast = forecast(&panel, clients.values().map(|(sum, _)| sum.delivered), today, line_bytes).await?;
    let mut all: Vec<_> = clients.into_iter().collect();
    all.sort_by_key(|(_, (sum, _))| std::cmp::Reverse(sum.delivered.saturating_add(sum.dropped)));
    let total = all.len();
    let rows = all.into_iter().skip(from).take(ROWS).map(|(id, (sum, days))| Row {
        id,
        days: days.into_iter().map(count).collect(),
        delivered: count(sum.delivered),
        dropped: count(sum.dropped),
    });
    html(&UsagePage {
        page: Page::new("Usage", "usage", &visitor.session),
        days: (first..=today).map(day).collect(),
        rows: rows.collect(),
        clients: count(total as u64),
        from,
        next: (from.saturating_add(ROWS) < total).then_some(from.saturating_add(ROWS)),
        forecast,
        line_bytes,
    })
}

/// None without any volume to base it on.
async fn forecast(
    panel: &Panel,
    delivered: impl Iterator<Item = u64>,
    today: i64,
    line_bytes: f64,
) -> Result<Option<Forecast>, Problem> {
    let lines: f64 = delivered.map(|lines| lines as f64).sum();
    let Some(first) = panel.app.store().first_usage_day().await?.filter(|_| lines > 0.0) else { return Ok(None) };
    // Of today only what has passed of it, and at least an hour: the first minutes of a day are no measure.
    let of_today = (now() as f64 / DAY_MS - today as f64).max(1.0 / 24.0);
    let span = (today - first).min(DAYS - 1) as f64 + of_today;
    let policy = panel.app.config().topic;
    // The brokers' own default, which is not known here, is usually 3.
    let copies = if policy.replication == 0 { 3.0 } else { f64::from(policy.replication) };
    let a_day = lines / span * copies * line_bytes;
    let days = |ms: u64| ms as f64 / DAY_MS;
    Ok(Some(Forecast {
        least: bytes(a_day * days(policy.retention_ms)),
        most: bytes(a_day * days(longest_kept_ms(policy.retention_ms))),
        lines_per_day: count((lines / span).round() as u64),
        days: format!("{span:.1}"),
        retention: duration(policy.retention_ms),
        copies: match policy.replication {
            0 => "3 copies (the brokers decide; 3 is assumed)".to_owned(),
            1 => "1 copy".to_owned(),
            n => format!("{n} copies"),
        },
        line_bytes: format!("{line_bytes}"),
    }))
}

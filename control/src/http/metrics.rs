//! What Prometheus reads.

use super::auth::caller;
use super::problem::Problem;
use super::{Peer, Shared};
use crate::app::{now, App};
use crate::error::Result;
use crate::onboarding::EDGE_HEARD_WITHIN;
use crate::store::{Millis, Usage};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients with series of their own: those with the most lines.
const MOST_SERIES: usize = 1000;
/// A certificate that ends within so long is about to expire.
const SOON: Millis = 30 * 24 * 3600 * 1000;
/// The database is asked at most as often.
const FRESH: Duration = Duration::from_secs(5);
const CONTENT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Requests since the start, by route, method and status.
#[derive(Debug, Default)]
pub struct Counters {
    requests: Mutex<BTreeMap<(String, &'static str, u16), u64>>,
}

impl Counters {
    /// Counts an answer; `route` is the route's pattern, none if there is none.
    pub fn count(&self, route: Option<&str>, method: &Method, status: StatusCode) {
        // Whatever is asked for, the number of series is bounded.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other");
        let key = (route.unwrap_or("none").to_owned(), method, status.as_u16());
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }

    fn write(&self, page: &mut String) {
        head(page, "tel_control_requests_total", "counter", "Requests answered, by route, method and status.");
        for ((route, method, status), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"");
            let _ = writeln!(page, "tel_control_requests_total{{{labels}}} {count}");
        }
    }
}

/// The part of the page that the database gave last.
#[derive(Debug, Default)]
pub struct Scrape {
    last: tokio::sync::Mutex<Option<(Instant, String)>>,
}

/// Prometheus' page, for an operator: it names clients, and says how much they log. That somebody asks from this machine says
/// nothing, for a proxy on it does so for everybody.
#[utoipa::path(get, path = "/metrics", tag = "service", operation_id = "metrics",
    responses((status = 200, description = "Prometheus' text format.", body = String, content_type = "text/plain")))]
pub async fn metrics(State(shared): State<Shared>, request: Request) -> std::result::Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().copied();
    caller(&shared, peer, request.headers()).await?.operator()?;
    let mut last = shared.scrape().last.lock().await;
    let fresh = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
    let mut page = match fresh {
        Some((_, page)) => page.clone(),
        None => {
            let page = stored(shared.app()).await?;
            *last = Some((Instant::now(), page.clone()));
            page
        }
    };
    drop(last);
    shared.counters().write(&mut page);
    Ok(([(CONTENT_TYPE, CONTENT)], page).into_response())
}

/// What the database has.
async fn stored(app: &App) -> Result<String> {
    let at = now();
    let store = app.store();
    let mut page = String::with_capacity(64 << 10);

    let states = store.count_states().await?;
    head(&mut page, "tel_control_clients", "gauge", "Clients, by state.");
    let by_state = [
        ("pending", states.pending),
        ("active", states.active),
        ("failing", states.failing),
        ("leaving", states.leaving),
    ];
    for (state, count) in by_state {
        let _ = writeln!(page, "tel_control_clients{{state=\"{state}\"}} {count}");
    }
    head(&mut page, "tel_control_steps_failing", "gauge", "Steps whose last attempt failed, by step.");
    for (step, count) in &states.failing_steps {
        let _ = writeln!(page, "tel_control_steps_failing{{step=\"{step}\"}} {count}");
    }

    let within = Millis::try_from(EDGE_HEARD_WITHIN.as_millis()).unwrap_or(Millis::MAX);
    let heard = store.edges_heard(at, within).await?;
    let current = heard.whole(states.listed.as_ref());
    gauge(&mut page, "tel_control_edges_known", "Edges heard of within 30 seconds.", heard.edges().len());
    gauge(&mut page, "tel_control_edges_current", "Of these, those that have the whole client list.", current);

    let expiring = store.expiring_credentials(at + SOON, MOST_SERIES).await?;
    let live = expiring.iter().filter(|credential| credential.is_live(at)).count();
    let help = "Live credentials that expire within 30 days; counted up to 1000.";
    gauge(&mut page, "tel_control_credentials_expiring", help, live);
    let ending = store.edges().await?.iter().filter(|edge| edge.ends_before(at + SOON)).count();
    let help = "Certificates of edges that are not retired which expire within 30 days, or have expired.";
    gauge(&mut page, "tel_control_edge_certificates_expiring", help, ending);

    let mut usage = store.usage_by_client(0, i64::MAX).await?;
    let sum = |of: fn(&Usage) -> u64| usage.iter().map(of).fold(0, u64::saturating_add);
    let all = (sum(|usage| usage.lines.delivered), sum(|usage| usage.lines.dropped));
    let without = usage.len().saturating_sub(MOST_SERIES);
    if without > 0 {
        usage.sort_by_key(|usage| Reverse(usage.lines.delivered));
        usage.truncate(MOST_SERIES);
        usage.sort_by(|one, other| one.of.cmp(&other.of));
    }
    let mut lines = |series: &str, help: &str, all: u64, of: fn(&Usage) -> u64| {
        head(&mut page, series, "counter", help);
        let _ = writeln!(page, "{series} {all}");
        for usage in &usage {
            let _ = writeln!(page, "{series}{{client=\"{}\"}} {}", usage.of, of(usage));
        }
    };
    let help = "Lines delivered, as the edges have acknowledged; without a client, of all clients.";
    lines("tel_lines_delivered_total", help, all.0, |usage| usage.lines.delivered);
    let help = "Lines dropped, as the edges have acknowledged; without a client, of all clients.";
    lines("tel_lines_dropped_total", help, all.1, |usage| usage.lines.dropped);
    gauge(&mut page, "tel_clients_without_series", "Clients that have no series here.", without);
    head(&mut page, "tel_control_info", "gauge", "The version.");
    let _ = writeln!(page, "tel_control_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    Ok(page)
}

fn head(page: &mut String, series: &str, kind: &str, help: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(page, "# HELP {series} {help}\n# TYPE {series} {kind}");
}

fn gauge(page: &mut String, series: &str, help: &str, value: usize) {
    head(page, series, "gauge", help);
    let _ = writeln!(page, "{series} {value}");
}

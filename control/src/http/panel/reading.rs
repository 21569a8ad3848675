//! What becomes of a client's lines: whether somebody reads them, how far behind, and how many there were.

use super::page::{html, Problem};
use super::plot::{Kind, Plot};
use super::session::Visitor;
use super::words::{clock, count, counted, day, duration, verdict, Said, When};
use super::Panel;
use crate::app::{now, App};
use crate::names::ClientId;
use crate::observe::{consumers, history, HistoryPoint, ReadingView};
use crate::onboarding::{clients, ClientView};
use crate::store::day_of;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use std::collections::BTreeMap;
use std::time::Duration;

/// Days of volume that are plotted.
const DAYS: i64 = 30;
const MINUTE: i64 = 60_000;

/// A consumer group in words.
struct Group {
    name: String,
    members: String,
    behind: String,
    loses: Option<String>,
}

/// What consumers do, renewed while the page is open.
#[derive(Template)]
#[template(path = "reading.html")]
pub(super) struct ReadingPart {
    said: Said,
    groups: Vec<Group>,
    lines: Option<String>,
    oldest: Option<When>,
    sees_refusals: bool,
    refused_at: Option<When>,
    refusal: String,
    group_prefix: String,
}

impl ReadingPart {
    /// Also if it is not known: then that is what is said. Kafka is waited for so long, if that is given.
    pub async fn new(app: &App, id: &ClientId, view: &ClientView, patience: Option<Duration>) -> ReadingPart {
        let edges = (view.edges.current, view.edges.known);
        if view.leaving.is_some() {
            let text = "The service has ended; consumers are refused.";
            return ReadingPart::without(id, "plain", "Nothing is read any more", text.into());
        }
        let reading = tokio::time::timeout(patience.unwrap_or(Duration::MAX), consumers::reading(app, id)).await;
        let Ok(reading) = reading else {
            let text = "Kafka is being asked; what it says is shown here.";
            return ReadingPart::without(id, "unknown", "Looking\u{2026}", text.into());
        };
        match reading {
            Ok(reading) => ReadingPart::known(id, edges, &reading),
            Err(error) => {
                let text = format!("What your consumers do is not known at the moment: {}.", error.text);
                ReadingPart::without(id, "unknown", "Not known", text)
            }
        }
    }

    fn without(id: &ClientId, tone: &'static str, headline: &str, text: String) -> ReadingPart {
        ReadingPart {
            said: Said { tone, headline: headline.to_owned(), text },
            groups: Vec::new(),
            lines: None,
            oldest: None,
            sees_refusals: true,
            refused_at: None,
            refusal: String::new(),
            group_prefix: id.group_prefix(),
        }
    }

    fn known(id: &ClientId, edges: (usize, usize), reading: &ReadingView) -> ReadingPart {
        let loses_in_ms = reading.groups.iter().filter_map(|group| group.loses_in_ms).min();
        let groups = reading.groups.iter().map(|group| Group {
            name: group.group.clone(),
            members: count(group.members as u64),
            behind: count(group.behind),
            loses: group.loses_in_ms.map(duration),
        });
        let refusal = reading.refusal.as_ref();
        ReadingPart {
            said: verdict(reading.verdict, id.as_str(), edges, refusal, loses_in_ms),
            groups: groups.collect(),
            lines: Some(counted(reading.lines, "line", "lines")),
            oldest: reading.oldest_at.as_deref().and_then(When::of),
            sees_refusals: reading.sees_refusals,
            refused_at: refusal.and_then(|refusal| When::of(&refusal.at)),
            refusal: refusal.map_or_else(String::new, |refusal| {
                format!("credential {}, from {}: {}", refusal.generation, refusal.host, refusal.why)
            }),
            group_prefix: id.group_prefix(),
        }
    }
}

/// The volume's plots, renewed while the page is open.
#[derive(Template)]
#[template(path = "volume.html")]
pub(super) struct VolumePart {
    hour: Vec<Plot>,
    days: Vec<Plot>,
    delivered: String,
    dropped: String,
}

impl VolumePart {
    /// # Errors
    /// Those of the database.
    pub async fn new(app: &App, id: &ClientId) -> Result<VolumePart, Problem> {
        let today = day_of(now());
        let usage = app.store().usage_by_day(id, today - DAYS + 1, today).await?;
        let of = |day: i64| {
            usage.iter().find(|usage| usage.day == day).map_or((0, 0), |u| (u.lines.delivered, u.lines.dropped))
        };
        let by_day = |name, title, value: &dyn Fn(i64) -> u64| Plot {
            name,
            title,
            unit: "lines",
            kind: Kind::Bars,
            points: (today - DAYS + 1..=today).map(|at| (day(at), Some(value(at)))).collect(),
        };
        let days = if usage.is_empty() {
            Vec::new()
        } else {
            vec![
                by_day("daysdelivered", "Delivered by day (UTC)", &|at| of(at).0),
                by_day("daysdropped", "Dropped by day (UTC)", &|at| of(at).1),
            ]
        };
        Ok(VolumePart {
            hour: hour(&history::of_client(app, id)),
            days,
            delivered: counted(of(today).0, "line", "lines"),
            dropped: counted(of(today).1, "line", "lines"),
        })
    }
}

/// Of a minute, as far as it is known.
#[derive(Default)]
struct Minute {
    delivered: Option<u64>,
    dropped: Option<u64>,
    behind: Option<u64>,
}

/// The last hour by the minute.
fn hour(points: &[HistoryPoint]) -> Vec<Plot> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let mut minutes: BTreeMap<i64, Minute> = BTreeMap::new();
    // An hour at least, however little of it is known, and two at most, whatever the points say.
    let end = last.at_ms.div_euclid(MINUTE);
    let start = first.at_ms.div_euclid(MINUTE).clamp(end.saturating_sub(119), end.saturating_sub(59));
    for minute in start..=end {
        minutes.insert(minute, Minute::default());
    }
    for point in points {
        let Some(minute) = minutes.get_mut(&point.at_ms.div_euclid(MINUTE)) else { continue };
        minute.delivered = Some(minute.delivered.unwrap_or(0).saturating_add(point.delivered));
        minute.dropped = Some(minute.dropped.unwrap_or(0).saturating_add(point.dropped));
        let behind = point.behind.map(|behind| u64::try_from(behind).unwrap_or(0));
        // The worst of a minute; of the last one how it is now.
        minute.behind = if point.at_ms == last.at_ms { behind } else { minute.behind.max(behind) };
    }
    let plot = |name, title, kind, value: fn(&Minute) -> Option<u64>| Plot {
        name,
        title,
        unit: "lines",
        kind,
        points: minutes.iter().map(|(minute, values)| (clock(minute * MINUTE), value(values))).collect(),
    };
    vec![
        plot("delivered", "Delivered by minute (UTC)", Kind::Bars, |of| of.delivered),
        plot("dropped", "Dropped by minute (UTC)", Kind::Bars, |of| of.dropped),
        plot("behind", "Not read yet by the group furthest behind (UTC)", Kind::Line, |of| of.behind),
    ]
}

/// `GET /clients/{id}/reading`
pub(super) async fn reading(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    let view = clients::view(&panel.app, &id).await?;
    html(&ReadingPart::new(&panel.app, &id, &view, None).await)
}

/// `GET /clients/{id}/volume`
pub(super) async fn volume(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    html(&VolumePart::new(&panel.app, &id).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_added_up_by_the_minute() {
        let point = |at_ms, delivered, behind| HistoryPoint { at_ms, delivered, dropped: 1, behind };
        let plots = hour(&[point(0, 5, None), point(10_000, 6, Some(3)), point(125_000, 7, Some(-1))]);
        let values = |at: usize| plots[at].points[57..].iter().map(|(_, value)| *value).collect::<Vec<_>>();
        assert_eq!((plots[0].points.len(), plots[0].points[56].1), (60, None));
        assert_eq!(values(0), [Some(11), None, Some(7)]);
        assert_eq!(values(1), [Some(2), None, Some(1)]);
        assert_eq!(values(2), [Some(3), None, Some(0)]);
        assert!(hour(&[]).is_empty());
        assert_eq!(hour(&[point(0, 1, None), point(i64::MAX, 1, None)])[0].points.len(), 120);
    }
}

//! A client's settings, for operators.

use super::client::Tabs;
use super::page::{html, see, Page, Problem};
use super::session::{Fields, Posted, Visitor};
use super::words::duration;
use super::Panel;
use crate::error::{Error, Result};
use crate::onboarding::clients;
use crate::store::ClientSettings;
use askama::Template;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;

const HOUR_MS: f64 = 3_600_000.0;
/// Hours that a retention may have: a hundred years.
const MOST_HOURS: f64 = 876_600.0;

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    page: Page,
    tabs: Tabs,
    sample: String,
    rate: String,
    partitions: String,
    retention: String,
    default_partitions: u32,
    default_retention: String,
    revision: i64,
    is_leaving: bool,
}

/// `GET /clients/{id}/settings`
pub(super) async fn page(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
    uri: Uri,
) -> std::result::Result<Response, Problem> {
    visitor.operator()?;
    let id = visitor.may_see(&id)?;
    let view = clients::view(&panel.app, &id).await?;
    let text = |value: Option<String>| value.unwrap_or_default();
    let policy = panel.app.config().topic;
    html(&SettingsPage {
        page: Page::new(format!("Settings of {id}"), "clients", &visitor.session).said(&uri),
        tabs: Tabs::new(&id, "settings", &visitor),
        sample: text(view.settings.sample.map(|share| share.to_string())),
        rate: text(view.settings.max_lines_per_second.map(|rate| rate.to_string())),
        partitions: text(view.settings.partitions.map(|number| number.to_string())),
        retention: text(view.settings.retention_ms.map(|ms| (ms as f64 / HOUR_MS).to_string())),
        default_partitions: policy.partitions,
        default_retention: duration(policy.retention_ms),
        revision: view.revision,
        is_leaving: view.leaving.is_some(),
    })
}

/// `POST /clients/{id}/settings`
pub(super) async fn change(
    State(panel): State<Panel>,
    Path(id): Path<String>,
    posted: Posted,
) -> std::result::Result<Response, Problem> {
    let who = posted.visitor.operator()?;
    let id = posted.visitor.may_see(&id)?;
    let settings = read(&posted.fields)?;
    let revision = number(&posted.fields, "revision", "revision")?;
    clients::change_settings(&panel.app, &who, &id, &settings, revision).await?;
    Ok(see(&format!("/clients/{id}"), "settings"))
}

/// The form's settings; an empty field is the default.
fn read(fields: &Fields) -> Result<ClientSettings> {
    let hours: Option<f64> = number(fields, "retention_hours", "Hours that lines are kept")?;
    let retention_ms = match hours {
        None => None,
        Some(hours) if hours > 0.0 && hours <= MOST_HOURS => {
            let ms = (hours * HOUR_MS).round() as u64;
            if ms < ClientSettings::LEAST_RETENTION_MS {
                return Err(Error::invalid("Hours that lines are kept: at least a minute, 0.017."));
            }
            Some(ms)
        }
        Some(_) => {
            return Err(Error::invalid(format!("Hours that lines are kept: more than 0, at most {MOST_HOURS}.")))
        }
    };
    let settings = ClientSettings {
        sample: number(fields, "sample", "Share of lines")?,
        max_lines_per_second: number(fields, "max_lines_per_second", "Lines a second")?,
        partitions: number(fields, "partitions", "Partitions")?,
        retention_ms,
    };
    settings.check()?;
    Ok(settings)
}

fn number<T: std::str::FromStr>(fields: &Fields, name: &str, label: &str) -> Result<Option<T>> {
    match fields.get(name) {
        "" => Ok(None),
        text => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::invalid(format!("{label}: this is no number that can be: {text:.40}"))),
        },
    }
}

//! A client's last lines. They hold addresses of people: an operator's every look at them is noted.

use super::client::Tabs;
use super::page::{html, Page, Problem};
use super::session::{Posted, Visitor};
use super::words::moment;
use super::Panel;
use crate::app::{now, App};
use crate::error::Error;
use crate::names::ClientId;
use crate::observe::lines;
use crate::onboarding::clients;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::json;

/// Lines that are shown.
const LINES: usize = 50;

/// The lines, renewed while a client's page is open.
#[derive(Template)]
#[template(path = "lines-list.html")]
struct Lines {
    /// When, and what; the latest first.
    lines: Vec<(String, String)>,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "lines.html")]
struct LinesPage {
    page: Page,
    tabs: Tabs,
    /// None: an operator has not asked for them yet.
    lines: Option<Lines>,
    most: usize,
}

async fn read(app: &App, id: &ClientId) -> Lines {
    match lines::last(app, id, LINES).await {
        Ok(found) => {
            let shown = found.into_iter().rev().map(|line| (moment(line.at_ms), line.text));
            Lines { lines: shown.collect(), problem: None }
        }
        Err(error) => Lines { lines: Vec::new(), problem: Some(error.text) },
    }
}

/// `GET /clients/{id}/lines`
pub(super) async fn page(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    clients::view(&panel.app, &id).await?;
    let mut page = Page::new(format!("Lines of {id}"), "clients", &visitor.session);
    let lines = if visitor.is_operator() {
        None
    } else {
        page.refresh = Some(5);
        Some(read(&panel.app, &id).await)
    };
    html(&LinesPage { page, tabs: Tabs::new(&id, "lines", &visitor), lines, most: LINES })
}

/// `GET /clients/{id}/lines/latest`, for a client's own open page.
pub(super) async fn latest(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    if visitor.is_operator() {
        return Err(Problem::forbidden("An operator looks at lines with the button, so that each look is noted."));
    }
    html(&read(&panel.app, &id).await)
}

/// `POST /clients/{id}/lines`: an operator's look, noted before anything is shown. A form, for a link could be followed unawares.
pub(super) async fn look(
    State(panel): State<Panel>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let who = posted.visitor.operator()?;
    let id = posted.visitor.may_see(&id)?;
    if panel.app.store().client(&id).await?.is_none() {
        return Err(Error::not_found(format!("client {id} is not known")).into());
    }
    let details = json!({ "most": LINES });
    panel.app.store().audit(&who, "lines.view", &format!("client:{id}"), details, now()).await?;
    let lines = Some(read(&panel.app, &id).await);
    let page = Page::new(format!("Lines of {id}"), "clients", &posted.visitor.session);
    html(&LinesPage { page, tabs: Tabs::new(&id, "lines", &posted.visitor), lines, most: LINES })
}

//! A client's service: how far it is, what it connects to, and the forms that begin and end it.

use super::page::{html, see, Page, Problem};
use super::reading::{ReadingPart, VolumePart};
use super::session::{Posted, Visitor};
use super::words::{duration, step, When};
use super::Panel;
use crate::app::now;
use crate::error::Kind;
use crate::names::ClientId;
use crate::onboarding::{clients, ClientView};
use crate::reconcile;
use crate::store::{Added, MOST_LIVE};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};
use std::time::Duration;

/// The whole page waits for Kafka no longer than that; what comes later is shown later.
const KAFKA: Duration = Duration::from_millis(700);

/// The links between a client's pages.
pub(super) struct Tabs {
    pub id: ClientId,
    pub here: &'static str,
    pub is_operator: bool,
}

impl Tabs {
    pub fn new(id: &ClientId, here: &'static str, visitor: &Visitor) -> Tabs {
        Tabs { id: id.clone(), here, is_operator: visitor.is_operator() }
    }
}

/// A step in words.
pub(super) struct StepShown {
    /// `done`, `pending` or `failed`.
    pub state: &'static str,
    pub title: &'static str,
    pub detail: String,
    pub next: Option<When>,
}

/// How far a service is, renewed while the page is open.
#[derive(Template)]
#[template(path = "progress.html")]
pub(super) struct Progress {
    pub id: String,
    /// `pending`, `active`, `failing` or `leaving`.
    pub state: &'static str,
    pub headline: String,
    pub text: String,
    pub steps: Vec<StepShown>,
    pub current: usize,
    pub known: usize,
    /// Whether the edges' part is shown as a bar.
    pub shows_edges: bool,
    pub can_undo: bool,
    pub can_retry: bool,
    /// A topic is somebody else's until an operator takes it over.
    pub can_take_over: bool,
    pub csrf: String,
}

impl Progress {
    pub fn new(view: &ClientView, csrf: &str, is_operator: bool) -> Progress {
        let is_done = |name: &str| view.steps.iter().any(|step| step.name == name && step.state == "done");
        let done = view.steps.iter().filter(|step| step.state == "done").count();
        let failed = view.steps.iter().find(|step| step.state == "failed");
        let next = |text: &Option<String>| text.as_deref().and_then(When::of);
        let (id, topic) = (&view.id, &view.topic);
        let (headline, text) = match (view.state, &view.leaving) {
            (_, Some(leaving)) if leaving.deleting => (
                "Its topic is being deleted".to_owned(),
                format!("The topic {topic} and the lines in it are being deleted. This cannot be undone any more."),
            ),
            (_, Some(leaving)) => {
                let stopped =
                    if is_done("unlisted") { "No more lines are collected." } else { "Edges are being told to stop." };
                let when = When::of(&leaving.delete_after);
                let until = when.as_ref().map_or_else(
                    || leaving.delete_after.clone(),
                    |when| format!("{} ({})", when.full(), when.relative()),
                );
                ("Unsubscribed".to_owned(), format!("{stopped} The topic and the lines in it are kept until {until}, then deleted for good. Until then you can undo this."))
            }
            ("failing", None) => {
                let what = failed.map_or("A step", |failed| step(failed.name));
                let who = if is_operator { "" } else { " There is nothing for you to do: the operators see it." };
                ("Something failed".to_owned(), format!("“{what}” did not work. It is tried again by itself.{who}"))
            }
            ("active", None) if view.edges.known == 0 => (
                "Active".to_owned(),
                "All is set up, but no edge has been heard of in the last 30 seconds. The operators see it.".to_owned(),
            ),
            ("active", None) => {
                ("Active".to_owned(), format!("Every edge has {id} on its list. Its lines go to the topic {topic}."))
            }
            _ if is_done("list") && is_done("edges") => (
                "Applying a change".to_owned(),
                format!("Lines flow on meanwhile. {done} of {} steps are done.", view.steps.len()),
            ),
            _ => (
                "Setting up".to_owned(),
                format!(
                    "{done} of {} steps are done. This takes seconds; this page follows by itself.",
                    view.steps.len()
                ),
            ),
        };
        let steps = view.steps.iter().map(|row| StepShown {
            state: row.state,
            title: step(row.name),
            detail: row.detail.clone(),
            next: next(&row.next_try_at),
        });
        Progress {
            id: view.id.clone(),
            state: view.state,
            headline,
            text,
            steps: steps.collect(),
            current: view.edges.current,
            known: view.edges.known,
            shows_edges: view.leaving.is_none(),
            can_undo: view.leaving.as_ref().is_some_and(|leaving| !leaving.deleting),
            can_retry: is_operator && failed.is_some(),
            can_take_over: is_operator && failed.is_some_and(|step| reconcile::can_take_over(&step.detail)),
            csrf: csrf.to_owned(),
        }
    }

    /// Whether something is under way, so that a page without JavaScript is loaded again.
    pub fn is_moving(&self) -> bool {
        self.state == "pending" || self.state == "failing"
    }
}

/// What to connect with, renewed while the page is open.
#[derive(Template)]
#[template(path = "connection.html")]
struct Connection {
    id: ClientId,
    topic: String,
    brokers: Vec<String>,
    /// Of the latest credential that works.
    principal: Option<String>,
    live: usize,
    most: usize,
    is_leaving: bool,
    csrf: String,
}

impl Connection {
    async fn new(panel: &Panel, id: &ClientId, view: &ClientView, csrf: &str) -> Result<Connection, Problem> {
        let at = now();
        let credentials = panel.app.store().credentials(id).await?;
        let live: Vec<u32> = credentials.iter().filter(|one| one.is_live(at)).map(|one| one.generation).collect();
        Ok(Connection {
            id: id.clone(),
            topic: view.topic.clone(),
            brokers: panel.app.config().public_bootstrap.split(',').map(str::to_owned).collect(),
            principal: live.first().map(|generation| id.principal(*generation)),
            live: live.len(),
            most: MOST_LIVE,
            is_leaving: view.leaving.is_some(),
            csrf: csrf.to_owned(),
        })
    }
}

/// A service.
#[derive(Template)]
#[template(path = "client.html")]
struct ClientPage {
    page: Page,
    tabs: Tabs,
    progress: Progress,
    reading: ReadingPart,
    volume: VolumePart,
    connection: Connection,
    retention: String,
    is_leaving: bool,
}

/// A client that is not there yet.
#[derive(Template)]
#[template(path = "subscribe.html")]
struct SubscribePage {
    page: Page,
    id: ClientId,
    topic: String,
    retention: String,
    is_operator: bool,
}

#[derive(Template)]
#[template(path = "unsubscribe.html")]
struct UnsubscribePage {
    page: Page,
    id: ClientId,
    topic: String,
    grace: String,
    live: usize,
}

/// The client's page, or the one that subscribes it.
pub(super) async fn show(panel: &Panel, visitor: &Visitor, id: &ClientId, uri: &Uri) -> Result<Response, Problem> {
    let here = if visitor.is_operator() { "clients" } else { "service" };
    let page = Page::new(id.to_string(), here, &visitor.session).said(uri);
    let view = match clients::view(&panel.app, id).await {
        Ok(view) => view,
        Err(error) if error.kind == Kind::NotFound => {
            let retention = duration(panel.app.config().topic.retention_ms);
            let topic = panel.app.namespace().topic(id);
            let is_operator = visitor.is_operator();
            return html(&SubscribePage { page, id: id.clone(), topic, retention, is_operator });
        }
        Err(error) => return Err(error.into()),
    };
    let progress = Progress::new(&view, visitor.session.csrf(), visitor.is_operator());
    let retention = view.settings.retention_ms.unwrap_or(panel.app.config().topic.retention_ms);
    let mut page = page.live(format!("/events?client={id}"));
    page.refresh = Some(if progress.is_moving() { 2 } else { 30 });
    html(&ClientPage {
        tabs: Tabs::new(id, "service", visitor),
        reading: ReadingPart::new(&panel.app, id, &view, Some(KAFKA)).await,
        volume: VolumePart::new(&panel.app, id).await?,
        connection: Connection::new(panel, id, &view, visitor.session.csrf()).await?,
        retention: duration(retention),
        is_leaving: view.leaving.is_some(),
        page,
        progress,
    })
}

/// `GET /clients/{id}`
pub(super) async fn page(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    show(&panel, &visitor, &id, &uri).await
}

/// `GET /clients/{id}/progress`
pub(super) async fn progress(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    let view = clients::view(&panel.app, &id).await?;
    html(&Progress::new(&view, visitor.session.csrf(), visitor.is_operator()))
}

/// `GET /clients/{id}/connection`
pub(super) async fn connection(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    let view = clients::view(&panel.app, &id).await?;
    html(&Connection::new(&panel, &id, &view, visitor.session.csrf()).await?)
}

/// `POST /clients/{id}/subscribe`; also undoes a leaving.
pub(super) async fn subscribe(
    State(panel): State<Panel>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let id = posted.visitor.may_see(&id)?;
    subscribed(&panel, &posted.visitor, &id).await
}

/// Subscribes a client and leads to its page.
pub(super) async fn subscribed(panel: &Panel, visitor: &Visitor, id: &ClientId) -> Result<Response, Problem> {
    let said = match clients::subscribe(&panel.app, &visitor.actor(), id, None).await? {
        Added::New => "subscribed",
        Added::Same => "same",
        Added::Back => "back",
        Added::Different(what) => return Err(crate::error::Error::conflict(format!("{what}.")).into()),
    };
    Ok(see(&format!("/clients/{id}"), said))
}

/// `GET /clients/{id}/unsubscribe`
pub(super) async fn unsubscribe_page(
    State(panel): State<Panel>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = visitor.may_see(&id)?;
    let view = clients::view(&panel.app, &id).await?;
    if view.leaving.is_some() {
        return Ok(Redirect::to(&format!("/clients/{id}")).into_response());
    }
    let at = now();
    let credentials = panel.app.store().credentials(&id).await?;
    let page = Page::new(format!("Unsubscribe {id}"), "", &visitor.session);
    let grace = u64::try_from(panel.app.config().grace_period.as_millis()).unwrap_or(u64::MAX);
    let live = credentials.iter().filter(|credential| credential.is_live(at)).count();
    html(&UnsubscribePage { page, id, topic: view.topic, grace: duration(grace), live })
}

/// `POST /clients/{id}/unsubscribe`
pub(super) async fn unsubscribe(
    State(panel): State<Panel>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let id = posted.visitor.may_see(&id)?;
    clients::unsubscribe(&panel.app, &posted.visitor.actor(), &id).await?;
    Ok(see(&format!("/clients/{id}"), "left"))
}

/// `POST /clients/{id}/retry`: an operator does not want to wait for the next try.
pub(super) async fn retry(
    State(panel): State<Panel>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let who = posted.visitor.operator()?;
    let id = posted.visitor.may_see(&id)?;
    clients::retry(&panel.app, &who, &id).await?;
    Ok(see(&format!("/clients/{id}"), "retry"))
}

/// `POST /clients/{id}/take-over`: an operator says that the topic of its name is its topic.
pub(super) async fn take_over(
    State(panel): State<Panel>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let who = posted.visitor.operator()?;
    let id = posted.visitor.may_see(&id)?;
    reconcile::take_over_topic(&panel.app, &who, &id).await?;
    Ok(see(&format!("/clients/{id}"), "taken-over"))
}

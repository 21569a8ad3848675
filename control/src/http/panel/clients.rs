//! All clients, for operators: what fails first.

use super::client::subscribed;
use super::page::{html, query, Page, Problem};
use super::session::{Posted, Visitor};
use super::words::{count, step, When};
use super::Panel;
use crate::names::ClientId;
use crate::onboarding::{clients, ClientView};
use crate::store::{Client, Rank};
use askama::Template;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

/// Clients on a page.
const ROWS: usize = 50;
/// Characters of a search; an id has at most 48.
const LONGEST_SEARCH: usize = 100;

/// A client in words.
struct Row {
    id: String,
    state: &'static str,
    /// What an operator wants to know of it.
    about: String,
    edges: String,
    created: Option<When>,
}

impl Row {
    fn new(view: &ClientView, rank: Rank) -> Row {
        let failed = view.steps.iter().find(|step| step.state == "failed");
        let waiting = view.steps.iter().find(|step| step.state == "pending");
        let about = match (failed, rank, &view.leaving) {
            (Some(failed), _, _) => format!("{}: {}", step(failed.name), failed.detail),
            (None, _, Some(leaving)) => {
                let when = When::of(&leaving.delete_after).map_or_else(String::new, |when| when.relative());
                format!("topic deleted {when}")
            }
            (None, Rank::Pending, None) => {
                waiting.map_or_else(String::new, |waiting| format!("next: {}", step(waiting.name)))
            }
            _ => String::new(),
        };
        Row {
            id: view.id.clone(),
            state: if failed.is_some() { "failing" } else { view.state },
            about,
            edges: format!("{} of {}", view.edges.current, view.edges.known),
            created: When::of(&view.created_at),
        }
    }
}

/// The list, renewed while the page is open.
#[derive(Template)]
#[template(path = "clients-table.html")]
struct Table {
    rows: Vec<Row>,
    search: String,
    /// Of what rank they are, as the address has it.
    state: String,
    /// Where the next part starts, as the address has it.
    next: Option<String>,
    is_first: bool,
}

/// A choice above the list.
struct Choice {
    key: &'static str,
    label: &'static str,
    count: String,
    is_here: bool,
}

#[derive(Template)]
#[template(path = "clients.html")]
struct ClientsPage {
    page: Page,
    table: Table,
    choices: Vec<Choice>,
    search: String,
    state: String,
    /// What the list is asked for with.
    query: String,
}

fn rank_of(key: &str) -> Option<Rank> {
    match key {
        "failing" => Some(Rank::Failing),
        "pending" => Some(Rank::Pending),
        "leaving" => Some(Rank::Leaving),
        "active" => Some(Rank::Active),
        _ => None,
    }
}

fn key_of(rank: Rank) -> &'static str {
    match rank {
        Rank::Failing => "failing",
        Rank::Pending => "pending",
        Rank::Leaving => "leaving",
        Rank::Active => "active",
    }
}

async fn read(panel: &Panel, uri: &Uri) -> Result<Table, Problem> {
    let search: String = query(uri, "q").unwrap_or_default().trim().chars().take(LONGEST_SEARCH).collect();
    let state = query(uri, "state").filter(|state| rank_of(state).is_some()).unwrap_or_default();
    let after = query(uri, "after").and_then(|text| {
        let (rank, id) = text.split_once(':')?;
        Some((rank_of(rank)?, ClientId::new(id).ok()?))
    });
    let page = panel.app.store().ranked_clients(&search, rank_of(&state), after.as_ref(), ROWS).await?;
    let (ranks, found): (Vec<Rank>, Vec<Client>) = page.clients.into_iter().unzip();
    let views = clients::views(&panel.app, &found).await?;
    Ok(Table {
        rows: views.iter().zip(ranks).map(|(view, rank)| Row::new(view, rank)).collect(),
        search,
        state,
        next: page.next.map(|(rank, id)| format!("{}:{id}", key_of(rank))),
        is_first: after.is_none(),
    })
}

/// All clients.
pub(super) async fn show(panel: &Panel, visitor: &Visitor, uri: &Uri) -> Result<Response, Problem> {
    visitor.operator()?;
    let table = read(panel, uri).await?;
    let counts = panel.app.store().count_ranks().await?;
    let all = counts.iter().map(|(_, count)| count).sum::<u64>();
    let mut choices = vec![Choice { key: "", label: "All", count: count(all), is_here: table.state.is_empty() }];
    for (rank, number) in counts {
        let (key, label) = match rank {
            Rank::Failing => ("failing", "Failing"),
            Rank::Pending => ("pending", "Setting up"),
            Rank::Leaving => ("leaving", "Leaving"),
            Rank::Active => ("active", "Active"),
        };
        choices.push(Choice { key, label, count: count(number), is_here: table.state == key });
    }
    let mut page = Page::new("Clients", "clients", &visitor.session).said(uri).live("/events");
    page.refresh = Some(10);
    let (search, state) = (table.search.clone(), table.state.clone());
    html(&ClientsPage { page, table, choices, search, state, query: uri.query().unwrap_or("").to_owned() })
}

/// `GET /clients`
pub(super) async fn page(State(panel): State<Panel>, visitor: Visitor, uri: Uri) -> Result<Response, Problem> {
    show(&panel, &visitor, &uri).await
}

/// `GET /clients/table`
pub(super) async fn table(State(panel): State<Panel>, visitor: Visitor, uri: Uri) -> Result<Response, Problem> {
    visitor.operator()?;
    html(&read(&panel, &uri).await?)
}

/// `POST /clients`
pub(super) async fn add(State(panel): State<Panel>, posted: Posted) -> Result<Response, Problem> {
    posted.visitor.operator()?;
    let id = ClientId::new(posted.fields.get("id"))?;
    subscribed(&panel, &posted.visitor, &id).await
}

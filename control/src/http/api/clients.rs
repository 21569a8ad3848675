//! Clients: their list, and each one's service.

use super::limit;
use crate::app::App;
use crate::http::auth::{Caller, Operator};
use crate::http::extract::{About, Json, Object, OptionalJson, Patch, Query};
use crate::http::problem::Problem;
use crate::names::ClientId;
use crate::onboarding::clients::{self as onboarding, ClientsPage};
use crate::onboarding::ClientView;
use crate::reconcile;
use crate::store::{Added, ClientSettings};
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Parts of the list that one request looks through for a state.
const PARTS: usize = 10;
/// Clients of a part.
const PART: usize = 1000;
/// Clients of one import.
const LONGEST_IMPORT: usize = 10_000;
/// A change of settings is tried again when another one comes between.
const TRIES: usize = 3;

/// The client in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)] // Read by the OpenAPI document alone.
pub struct ClientPath {
    /// The client's id.
    #[param(pattern = "^(?!-$|\\.{1,2}$|__)[A-Za-z0-9._-]{1,48}$", min_length = 1, max_length = 48, example = "c83")]
    id: String,
}

/// A client to be added.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddClient {
    /// Its id: for an operator to name. A client's token carries its own.
    #[schema(pattern = "^(?!-$|\\.{1,2}$|__)[A-Za-z0-9._-]{1,48}$", min_length = 1, max_length = 48)]
    id: Option<String>,
    /// What it is given, for an operator to say; without it, what it has or the defaults.
    #[schema(value_type = Option<ClientSettings>)]
    settings: Option<Object<ClientSettings>>,
}

/// Many clients to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Each once.
    #[schema(value_type = Vec<ImportClient>, max_items = 10000)]
    clients: Vec<Object<ImportClient>>,
}

/// One of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportClient {
    /// Its id.
    #[schema(pattern = "^(?!-$|\\.{1,2}$|__)[A-Za-z0-9._-]{1,48}$", min_length = 1, max_length = 48)]
    id: String,
    /// What it is given.
    #[serde(default)]
    #[schema(value_type = ClientSettings)]
    settings: Object<ClientSettings>,
}

/// What came of an import.
#[derive(Serialize, ToSchema)]
pub struct Imported {
    /// Clients that were not there.
    new: usize,
    /// Clients that were there just so.
    same: usize,
    /// Clients whose leaving is undone.
    back: usize,
    /// Clients that are there otherwise, and were not changed.
    different: Vec<ImportedOtherwise>,
}

/// A client that is there otherwise.
#[derive(Serialize, ToSchema)]
pub struct ImportedOtherwise {
    /// Its id.
    id: String,
    /// What differs.
    why: String,
}

/// A change of a client: a merge patch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeClient {
    /// The settings to change.
    #[schema(value_type = ChangeSettings)]
    settings: Object<ChangeSettings>,
}

/// Settings to change: what is not named stays, null is the default.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeSettings {
    /// The share of its lines that is sent.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1)]
    sample: Option<Option<f64>>,
    /// At most so many lines a second from one edge.
    #[serde(deserialize_with = "named_whole")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 9007199254740991u64)]
    max_lines_per_second: Option<Option<u64>>,
    /// Partitions of its topic.
    #[serde(deserialize_with = "named_whole")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    partitions: Option<Option<u32>>,
    /// For how long its topic keeps lines, in milliseconds.
    #[serde(deserialize_with = "named_whole")]
    #[schema(value_type = Option<u64>, minimum = 60000, maximum = 9007199254740991u64)]
    retention_ms: Option<Option<u64>>,
}

/// Tells a null from what is not there.
fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// The same of whole numbers.
fn named_whole<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    crate::whole::optional(from).map(Some)
}

impl ChangeSettings {
    fn over(&self, before: &ClientSettings) -> ClientSettings {
        ClientSettings {
            sample: self.sample.unwrap_or(before.sample),
            max_lines_per_second: self.max_lines_per_second.unwrap_or(before.max_lines_per_second),
            partitions: self.partitions.unwrap_or(before.partitions),
            retention_ms: self.retention_ms.unwrap_or(before.retention_ms),
        }
    }
}

/// Which clients, and how many.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// After which id the list starts: `next` of the part before.
    #[param(pattern = "^(?!-$|\\.{1,2}$|__)[A-Za-z0-9._-]{1,48}$", min_length = 1, max_length = 48)]
    after: Option<String>,
    /// How many, 100 without it.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only those in this state.
    #[param(inline)]
    state: Option<StateFilter>,
}

/// A state to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StateFilter {
    /// Something is still to be done.
    Pending,
    /// All is done.
    Active,
    /// Something failed.
    Failing,
    /// On the way out.
    Leaving,
}

/// A part of the list of clients.
#[derive(Serialize, ToSchema)]
pub struct ClientList {
    /// In the order of their ids. May be fewer than asked for, though there are more: what counts is `next`.
    clients: Vec<ClientView>,
    /// After which id the next part starts; none if this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A client's view under its revision.
fn viewed(status: StatusCode, view: ClientView) -> Response {
    (status, [(ETAG, format!("\"{}\"", view.revision))], axum::Json(view)).into_response()
}

/// Adds a client, or finds it there, or undoes its leaving.
#[utoipa::path(post, path = "/api/v1/clients", tag = "clients", operation_id = "addClient",
    request_body(content = Option<AddClient>),
    responses(
        (status = 201, description = "It was not there, and is added: pending.", body = ClientView, headers(("ETag" = String))),
        (status = 200, description = "It is there just so, or was leaving, which is undone.", body = ClientView, headers(("ETag" = String))),
        (status = 409, description = "It is there otherwise, or another whose name Kafka does not tell from it."),
    ))]
pub async fn add(
    State(app): State<App>,
    caller: Caller,
    OptionalJson(asked): OptionalJson<AddClient>,
) -> Result<Response, Problem> {
    let named = asked.id.as_deref().map(ClientId::new).transpose()?;
    let id = match (caller.client(), named) {
        (None, Some(id)) => id,
        (None, None) => return Err(Problem::unprocessable("id: an operator must name the client")),
        (Some(own), None) => own.clone(),
        (Some(_), Some(id)) => {
            caller.may(&id)?;
            id
        }
    };
    let settings = asked.settings.map(|Object(settings)| settings);
    if settings.is_some() && caller.client().is_some() {
        return Err(Problem::forbidden("settings: for an operator to say"));
    }
    if let Some(settings) = &settings {
        settings.check()?;
    }
    let status = match onboarding::subscribe(&app, caller.actor(), &id, settings).await? {
        Added::New => StatusCode::CREATED,
        Added::Same | Added::Back => StatusCode::OK,
        Added::Different(_) if caller.client().is_some() => {
            // What is there otherwise may be another client.
            return Err(Problem::conflict(format!("client {id} cannot be added as it is; ask an operator")));
        }
        Added::Different(why) => return Err(Problem::conflict(why)),
    };
    Ok(viewed(status, onboarding::view(&app, &id).await?))
}

/// Adds many clients at once: all that can be, or none.
#[utoipa::path(post, path = "/api/v1/import", tag = "clients", operation_id = "importClients",
    request_body(content = Import),
    responses((status = 200, description = "What came of it.", body = Imported)))]
pub async fn import(
    State(app): State<App>,
    Operator(caller): Operator,
    Json(asked): Json<Import>,
) -> Result<axum::Json<Imported>, Problem> {
    if asked.clients.len() > LONGEST_IMPORT {
        return Err(Problem::unprocessable(format!("clients: more than {LONGEST_IMPORT} at once")));
    }
    let mut clients = Vec::with_capacity(asked.clients.len());
    for (place, Object(client)) in asked.clients.into_iter().enumerate() {
        let at = |problem: String| Problem::unprocessable(format!("clients[{place}]: {problem}"));
        let id = ClientId::new(&client.id).map_err(|error| at(error.text))?;
        client.settings.0.check().map_err(|error| at(error.text))?;
        clients.push((id, client.settings.0));
    }
    let ids: Vec<ClientId> = clients.iter().map(|(id, _)| id.clone()).collect();
    let mut imported = Imported { new: 0, same: 0, back: 0, different: Vec::new() };
    for (id, added) in ids.iter().zip(onboarding::import(&app, caller.actor(), clients).await?) {
        match added {
            Added::New => imported.new += 1,
            Added::Same => imported.same += 1,
            Added::Back => imported.back += 1,
            Added::Different(why) => imported.different.push(ImportedOtherwise { id: id.to_string(), why }),
        }
    }
    Ok(axum::Json(imported))
}

/// The clients, in parts.
#[utoipa::path(get, path = "/api/v1/clients", tag = "clients", operation_id = "listClients", params(ListQuery),
    responses((status = 200, description = "A part of the list.", body = ClientList)))]
pub async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<ClientList>, Problem> {
    let limit = limit(query.limit)?;
    let after = query.after.as_deref().map(ClientId::new).transpose();
    let after = after.map_err(|error| Problem::bad_request(format!("after: {}", error.text)))?;
    let page = match query.state {
        None => onboarding::page(&app, None, after.as_ref(), limit).await?,
        Some(StateFilter::Leaving) => onboarding::page(&app, Some(true), after.as_ref(), limit).await?,
        Some(StateFilter::Failing) => failing(&app, after.as_ref(), limit).await?,
        Some(StateFilter::Pending) => filtered(&app, "pending", after, limit).await?,
        Some(StateFilter::Active) => filtered(&app, "active", after, limit).await?,
    };
    Ok(axum::Json(ClientList { clients: page.clients, next: page.next.map(|next| next.to_string()) }))
}

async fn failing(app: &App, after: Option<&ClientId>, limit: usize) -> Result<ClientsPage, Problem> {
    let ids = app.store().failing(after, limit).await?;
    let next = if ids.len() < limit { None } else { ids.last().cloned() };
    let mut clients = Vec::with_capacity(ids.len());
    for id in &ids {
        clients.extend(app.store().client(id).await?);
    }
    let mut clients = onboarding::views(app, &clients).await?;
    // Of one that leaves, a step may fail as well.
    clients.retain(|client| client.state == "failing");
    Ok(ClientsPage { clients, next })
}

async fn filtered(app: &App, state: &str, mut after: Option<ClientId>, limit: usize) -> Result<ClientsPage, Problem> {
    let mut found = Vec::new();
    for _ in 0..PARTS {
        let part = onboarding::page(app, Some(false), after.as_ref(), PART).await?;
        for client in part.clients.into_iter().filter(|client| client.state == state) {
            if found.len() == limit {
                let next = found.last().and_then(|last: &ClientView| ClientId::new(&last.id).ok());
                return Ok(ClientsPage { clients: found, next });
            }
            found.push(client);
        }
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    Ok(ClientsPage { clients: found, next: after })
}

/// A client, and how far its service is.
#[utoipa::path(get, path = "/api/v1/clients/{id}", tag = "clients", operation_id = "showClient", params(ClientPath),
    responses((status = 200, description = "The client.", body = ClientView, headers(("ETag" = String)))))]
pub async fn show(State(app): State<App>, About { id, .. }: About) -> Result<Response, Problem> {
    Ok(viewed(StatusCode::OK, onboarding::view(&app, &id).await?))
}

/// Changes a client's settings.
#[utoipa::path(patch, path = "/api/v1/clients/{id}", tag = "clients", operation_id = "changeClient",
    params(ClientPath,
        ("If-Match" = Option<String>, Header, pattern = "^([0-9]{1,18}|\"[0-9]{1,18}\")$",
            description = "The ETag of the client as it was read; with it, nothing is changed if the client has changed since.")),
    request_body(content(
        (ChangeClient = "application/json"),
        (ChangeClient = "application/merge-patch+json"))),
    responses(
        (status = 200, description = "The client with its settings as they are now.", body = ClientView, headers(("ETag" = String))),
        (status = 409, description = "It is leaving."),
        (status = 412, description = "It has changed since it was read."),
    ))]
pub async fn change(
    State(app): State<App>,
    Operator(caller): Operator,
    About { id, .. }: About,
    headers: HeaderMap,
    Patch(asked): Patch<ChangeClient>,
) -> Result<Response, Problem> {
    let read = if_match(&headers)?;
    // What can never be is refused whatever the client is now.
    asked.settings.0.over(&ClientSettings::default()).check()?;
    let mut tries = 0;
    loop {
        tries += 1;
        let before = app.store().client(&id).await?;
        let before = before.ok_or_else(|| Problem::not_found(format!("client {id} is not known")))?;
        if read.is_some_and(|read| read != before.revision) {
            let detail = format!("client {id} has changed since it was read; read it again");
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail));
        }
        let settings = asked.settings.0.over(&before.settings);
        settings.check()?;
        let changed = onboarding::change_settings(&app, caller.actor(), &id, &settings, Some(before.revision)).await;
        match changed {
            Ok(_) => return Ok(viewed(StatusCode::OK, onboarding::view(&app, &id).await?)),
            Err(error) if error.kind == crate::error::Kind::Conflict && tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The revision that a change is based on.
fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let wrong = || Problem::bad_request("the header If-Match must be the ETag of the client, such as \"7\"");
    let text = value.to_str().map_err(|_| wrong())?.trim();
    // Shells take the quotes away.
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    number.parse().map(Some).map_err(|_| wrong())
}

/// Ends a client's service: out of the list at once, the topic deleted after the grace period.
#[utoipa::path(delete, path = "/api/v1/clients/{id}", tag = "clients", operation_id = "removeClient", params(ClientPath),
    responses((status = 202, description = "It is leaving; adding it again undoes that until `leaving.delete_after`.", body = ClientView,
        headers(("ETag" = String)))))]
pub async fn remove(State(app): State<App>, About { caller, id }: About) -> Result<Response, Problem> {
    onboarding::unsubscribe(&app, caller.actor(), &id).await?;
    Ok(viewed(StatusCode::ACCEPTED, onboarding::view(&app, &id).await?))
}

/// Has the failed steps of a client tried again now.
#[utoipa::path(post, path = "/api/v1/clients/{id}/retry", tag = "clients", operation_id = "retryClient", params(ClientPath),
    responses((status = 200, description = "The client; steps that had failed are pending.", body = ClientView, headers(("ETag" = String)))))]
pub async fn retry(State(app): State<App>, About { caller, id }: About) -> Result<Response, Problem> {
    onboarding::retry(&app, caller.actor(), &id).await?;
    Ok(viewed(StatusCode::OK, onboarding::view(&app, &id).await?))
}

/// Takes the topic of the client's name for the client's, though somebody else made it: from then on it is configured as the client's, and
/// deleted when that has left. If it is the client's already, nothing is changed.
#[utoipa::path(post, path = "/api/v1/clients/{id}/take-over", tag = "clients", operation_id = "takeOverTopic", params(ClientPath),
    responses((status = 200, description = "The client; the step that its topic held up is pending.", body = ClientView, headers(("ETag" = String)))))]
pub async fn take_over(
    State(app): State<App>,
    Operator(caller): Operator,
    About { id, .. }: About,
) -> Result<Response, Problem> {
    reconcile::take_over_topic(&app, caller.actor(), &id).await?;
    Ok(viewed(StatusCode::OK, onboarding::view(&app, &id).await?))
}

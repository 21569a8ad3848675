//! A client's service: its beginning, its settings, its end, and what is told of it.

use super::{ClientView, EDGE_HEARD_WITHIN};
use crate::app::{now, App};
use crate::error::{Error, Result};
use crate::names::ClientId;
use crate::store::{Actor, Added, Client, ClientSettings, Millis, NewClient, Step, StepState};

/// A part of the list of clients.
pub struct ClientsPage {
    /// In the order of their ids.
    pub clients: Vec<ClientView>,
    /// After which id the next part starts, if there is one.
    pub next: Option<ClientId>,
}

/// Adds a client, or finds it there, or undoes its leaving. Without `settings` it keeps those it has.
///
/// # Errors
/// `Invalid` for impossible settings; `Unavailable`. That it is there otherwise is no error, but [`Added::Different`].
pub async fn subscribe(app: &App, who: &Actor, id: &ClientId, settings: Option<ClientSettings>) -> Result<Added> {
    let settings = match settings {
        Some(settings) => settings,
        None => app.store().client(id).await?.map(|client| client.settings).unwrap_or_default(),
    };
    let new = NewClient { id: id.clone(), topic: app.namespace().topic(id), settings };
    let added = app.store().add_client(who, &new, now()).await?;
    if matches!(added, Added::New | Added::Back) {
        app.wake();
    }
    Ok(added)
}

/// Adds many clients in one transaction; the results are in their order.
///
/// # Errors
/// As [`subscribe`]; then none is added.
pub async fn import(app: &App, who: &Actor, clients: Vec<(ClientId, ClientSettings)>) -> Result<Vec<Added>> {
    let topic = |id: &ClientId| app.namespace().topic(id);
    let new: Vec<NewClient> =
        clients.into_iter().map(|(id, settings)| NewClient { topic: topic(&id), id, settings }).collect();
    let added = app.store().add_clients(who, &new, now()).await?;
    app.wake();
    Ok(added)
}

/// Ends a client's service: out of the list at once, its topic deleted after the grace period.
///
/// # Errors
/// `NotFound`; `Unavailable`.
pub async fn unsubscribe(app: &App, who: &Actor, id: &ClientId) -> Result<Client> {
    let at = now();
    let grace = Millis::try_from(app.config().grace_period.as_millis()).unwrap_or(Millis::MAX);
    let client = app.store().leave(who, id, at.saturating_add(grace), at).await?;
    app.wake();
    Ok(client)
}

/// Gives a client other settings; `read` is the revision on which they are based, if that matters.
///
/// # Errors
/// As [`crate::store::Store::change_settings`].
pub async fn change_settings(
    app: &App,
    who: &Actor,
    id: &ClientId,
    settings: &ClientSettings,
    read: Option<i64>,
) -> Result<Client> {
    let client = app.store().change_settings(who, id, settings, read, now()).await?;
    app.wake();
    Ok(client)
}

/// Has the failed steps of a client tried again now. Without failed steps nothing is changed.
///
/// # Errors
/// `NotFound`; `Unavailable`.
pub async fn retry(app: &App, who: &Actor, id: &ClientId) -> Result<()> {
    let steps = app.store().steps(id).await?;
    let failed: Vec<Step> = steps.iter().filter(|row| row.state == StepState::Failed).map(|row| row.step).collect();
    if !failed.is_empty() {
        app.store().restart_steps(who, id, &failed, "asked for", now()).await?;
        app.wake();
    }
    Ok(())
}

/// What is told of a client.
///
/// # Errors
/// `NotFound`; `Unavailable`.
pub async fn view(app: &App, id: &ClientId) -> Result<ClientView> {
    let client = app.store().client(id).await?;
    let client = client.ok_or_else(|| Error::not_found(format!("client {id} is not known")))?;
    let steps = app.store().steps(id).await?;
    Ok(ClientView::new(&client, &steps, &heard(app).await?))
}

/// What is told of clients, in the order of their ids: from after `after` on, the leaving or the others only if that is said.
///
/// # Errors
/// `Unavailable`.
pub async fn page(app: &App, leaving: Option<bool>, after: Option<&ClientId>, limit: usize) -> Result<ClientsPage> {
    let page = app.store().clients(leaving, after, limit).await?;
    Ok(ClientsPage { clients: views(app, &page.clients).await?, next: page.next })
}

/// What is told of these clients.
///
/// # Errors
/// `Unavailable`.
pub async fn views(app: &App, clients: &[Client]) -> Result<Vec<ClientView>> {
    let ids: Vec<ClientId> = clients.iter().map(|client| client.id.clone()).collect();
    let steps = app.store().steps_of(&ids).await?;
    let heard = heard(app).await?;
    let of = |client: &Client| {
        let steps = steps.get(&client.id).map(Vec::as_slice).unwrap_or_default();
        ClientView::new(client, steps, &heard)
    };
    Ok(clients.iter().map(of).collect())
}

async fn heard(app: &App) -> Result<crate::store::EdgesHeard> {
    let within = Millis::try_from(EDGE_HEARD_WITHIN.as_millis()).unwrap_or(Millis::MAX);
    app.store().edges_heard(now(), within).await
}

//! Edges: which there are, their certificates, and their end.

use super::{credentials, EdgeView};
use crate::app::{now, App};
use crate::ca::IssuedCredential;
use crate::error::{Error, Result};
use crate::kafka::acks;
use crate::names::{EdgeName, ACKS_TOPIC};
use crate::store::{Actor, Millis};
use std::time::Duration;

/// Who asks for something in Kafka waits no longer; it goes on being tried for a while.
const PATIENCE: Duration = Duration::from_secs(5);

/// Adds an edge if need be and makes a certificate for it: with a new key, or for the key of the PEM certificate request.
///
/// # Errors
/// `Invalid` for the request; `Unavailable`.
pub async fn certify(app: &App, who: &Actor, name: &EdgeName, request: Option<&[u8]>) -> Result<IssuedCredential> {
    let days = credentials::validity_days(app);
    let credential = match request {
        None => app.authority().edge(name, days)?,
        Some(request) => app.authority().edge_for(name, days, request)?,
    };
    let not_after = Millis::try_from(credential.not_after.unix_timestamp_nanos() / 1_000_000).unwrap_or(Millis::MAX);
    app.store().add_edge(who, name, now()).await?;
    app.store().certify_edge(who, name, &credential.fingerprint_sha256, not_after, now()).await?;
    app.wake();
    Ok(credential)
}

/// Counts an edge no more and takes its rights. False if it was retired before.
///
/// # Errors
/// `NotFound`; `Unavailable` if the database or Kafka is: what it said last may then still be in `tel.acks`, and asking again removes it.
pub async fn retire(app: &App, who: &Actor, name: &EdgeName) -> Result<bool> {
    let retired = app.store().retire_edge(who, name, now()).await?;
    app.wake();
    let edge = name.clone();
    let told = tokio::time::timeout(PATIENCE, app.kafka(move |_, connection| acks::retire(connection, &edge))).await;
    told.unwrap_or_else(|_| Err(Error::unavailable("Kafka does not answer"))).map_err(|error| Error {
        text: format!("edge {name} is retired, but what it said last may still be in {ACKS_TOPIC}: {}", error.text),
        ..error
    })?;
    Ok(retired)
}

/// What is told of all edges, by name.
///
/// # Errors
/// `Unavailable`.
pub async fn views(app: &App) -> Result<Vec<EdgeView>> {
    let at = now();
    Ok(app.store().edges().await?.iter().map(|edge| EdgeView::new(edge, at)).collect())
}

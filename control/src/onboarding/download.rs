//! The zip that a client downloads.

use super::credentials::{self, Issued};
use crate::app::{now, App};
use crate::bundle::{files, zip, Bundle, Certificate};
use crate::ca::{KeyStore, Secret};
use crate::error::{Error, Result};
use crate::names::ClientId;
use crate::store::{Actor, Client};
use std::time::Duration;
use time::OffsetDateTime;

/// A zip with what is in it.
#[derive(Debug)]
pub struct Download {
    /// The credential in it; of one without a key the latest that works, 0 if there is none.
    pub generation: u32,
    /// The archive; holds a private key if one was made for it.
    pub zip: Secret,
}

/// Makes a credential, and the bundle with it.
///
/// # Errors
/// As [`credentials::issue`].
pub async fn with_credential(app: &App, who: &Actor, id: &ClientId, request: Option<&[u8]>) -> Result<Download> {
    let client = client(app, id).await?;
    let Issued { generation, credential } = credentials::issue(app, who, id, request).await?;
    let key_store = credential.key_pem.is_some().then(|| credential.key_store()).transpose()?;
    let bundle = bundle(app, &client, generation);
    let key = credential.key_pem.as_ref();
    pack(Bundle { certificate: Some((&credential).into()), key, key_store: key_store.as_ref(), ..bundle })
}

/// The same files without a private key, which is nowhere any more: with the certificate of the latest credential that works, or
/// without one if none is known.
///
/// # Errors
/// `NotFound`; `Unavailable`.
pub async fn without_key(app: &App, id: &ClientId) -> Result<Download> {
    let client = client(app, id).await?;
    let at = now();
    if let Some(noted) = app.store().live_certificate(id, at).await? {
        let not_after = OffsetDateTime::from_unix_timestamp_nanos(i128::from(noted.not_after) * 1_000_000);
        let not_after = not_after.map_err(|error| Error::unavailable(format!("a certificate's end: {error}")))?;
        let certificate = Some(Certificate { pem: &noted.pem, not_after });
        return pack(Bundle { certificate, ..bundle(app, &client, noted.generation) });
    }
    let credentials = app.store().credentials(id).await?;
    let generation = credentials.iter().find(|credential| credential.is_live(at)).map_or(0, |live| live.generation);
    pack(bundle(app, &client, generation))
}

async fn client(app: &App, id: &ClientId) -> Result<Client> {
    let client = app.store().client(id).await?;
    client.ok_or_else(|| Error::not_found(format!("client {id} is not known")))
}

fn bundle<'a>(app: &'a App, client: &'a Client, generation: u32) -> Bundle<'a> {
    let retention_ms = client.settings.retention_ms.unwrap_or(app.config().topic.retention_ms);
    Bundle {
        id: &client.id,
        generation,
        topic: &client.topic,
        bootstrap: &app.config().public_bootstrap,
        brokers_ca_pem: app.brokers_ca_pem(),
        certificate: None,
        key: None,
        key_store: None::<&KeyStore>,
        retention: Some(Duration::from_millis(retention_ms)),
        unused: app.config().unused_credential,
    }
}

fn pack(bundle: Bundle<'_>) -> Result<Download> {
    let files = files(&bundle)?;
    Ok(Download { generation: bundle.generation, zip: Secret::new(zip(bundle.id, &files)?) })
}

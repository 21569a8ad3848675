//! Credentials: made here and handed out once, or for the public key of a request.

use super::CredentialView;
use crate::app::{now, App};
use crate::ca::IssuedCredential;
use crate::error::Result;
use crate::halt;
use crate::names::ClientId;
use crate::store::{Actor, Certificate, Millis};

/// Whole days in which a certificate is valid.
const DAY_SECONDS: u64 = 24 * 3600;

/// A credential that was just made.
#[derive(Debug)]
pub struct Issued {
    /// Its number.
    pub generation: u32,
    /// Certificate and, unless it is the requester's own, key: nowhere else.
    pub credential: IssuedCredential,
}

/// Makes a credential for the client: with a new key, or for the key of the PEM certificate request, of which nothing else is taken.
///
/// # Errors
/// `NotFound`; `Conflict` if the client is leaving or has as many live ones as it may; `Invalid` for the request; `Unavailable`.
pub async fn issue(app: &App, who: &Actor, id: &ClientId, request: Option<&[u8]>) -> Result<Issued> {
    let days = validity_days(app);
    let sign = |generation| match request {
        None => app.authority().client(id, generation, days),
        Some(request) => app.authority().client_for(id, generation, days, request),
    };
    if request.is_some() {
        // A bad request takes no number.
        sign(1)?;
    }
    let taken = app.store().issue_credential(who, id, now()).await?;
    let generation = taken.generation;
    halt::at("credential-numbered");
    let signed = match sign(generation) {
        Ok(credential) => {
            let not_after = Millis::try_from(credential.not_after.unix_timestamp_nanos() / 1_000_000);
            let certificate = Certificate {
                fingerprint: &credential.fingerprint_sha256,
                not_after: not_after.unwrap_or(Millis::MAX),
                pem: &credential.certificate_pem,
            };
            app.store().certify_credential(who, id, generation, &certificate, now()).await.map(|()| credential)
        }
        Err(error) => Err(error),
    };
    if signed.is_err() {
        // Its number counts among the live ones until it is revoked.
        let _ = app.store().revoke_credential(who, id, generation, "its certificate was not made", now()).await;
    }
    app.wake();
    Ok(Issued { generation, credential: signed? })
}

/// Revokes a credential. False if it was revoked before.
///
/// # Errors
/// `NotFound`; `Unavailable`.
pub async fn revoke(app: &App, who: &Actor, id: &ClientId, generation: u32, why: &str) -> Result<bool> {
    let revoked = app.store().revoke_credential(who, id, generation, why, now()).await?;
    app.wake();
    Ok(revoked)
}

/// What is told of a client's credentials, the latest first.
///
/// # Errors
/// `Unavailable`.
pub async fn views(app: &App, id: &ClientId) -> Result<Vec<CredentialView>> {
    let at = now();
    let credentials = app.store().credentials(id).await?;
    Ok(credentials.iter().map(|credential| CredentialView::new(credential, at)).collect())
}

/// For how many days certificates are made.
pub(super) fn validity_days(app: &App) -> u32 {
    u32::try_from(app.config().certificate_validity.as_secs() / DAY_SECONDS).unwrap_or(u32::MAX)
}

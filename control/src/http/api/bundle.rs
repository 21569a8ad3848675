//! The zip that a client downloads.

use super::clients::ClientPath;
use super::credentials::KeyRequest;
use super::secret;
use crate::app::App;
use crate::http::extract::{About, OptionalJson};
use crate::http::problem::Problem;
use crate::names::ClientId;
use crate::onboarding::download::{with_credential, without_key, Download};
use axum::extract::State;
use axum::http::header::CONTENT_DISPOSITION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

/// Which credential is in the zip.
const GENERATION: HeaderName = HeaderName::from_static("tel-generation");

/// Makes a credential, and the bundle with it.
#[utoipa::path(post, path = "/api/v1/clients/{id}/bundle.zip", tag = "credentials", operation_id = "mintBundle",
    params(ClientPath), request_body(content = Option<KeyRequest>),
    responses(
        (status = 200, description = "The zip, with the private key if it was made here: the only time.", body = Vec<u8>,
            content_type = "application/zip", headers(("Tel-Generation" = u32, description = "The credential in it."))),
        (status = 409, description = "The client is leaving, or has as many live credentials as it may."),
    ))]
pub async fn mint(
    State(app): State<App>,
    About { caller, id }: About,
    OptionalJson(asked): OptionalJson<KeyRequest>,
) -> Result<Response, Problem> {
    zip(&id, with_credential(&app, caller.actor(), &id, asked.bytes()).await?)
}

/// The same files without a private key, with the certificate of the latest live credential.
#[utoipa::path(get, path = "/api/v1/clients/{id}/bundle.zip", tag = "credentials", operation_id = "showBundle", params(ClientPath),
    responses((status = 200, description = "The zip.", body = Vec<u8>, content_type = "application/zip",
        headers(("Tel-Generation" = u32, description = "The latest live credential, 0 without one.")))))]
pub async fn show(State(app): State<App>, About { id, .. }: About) -> Result<Response, Problem> {
    zip(&id, without_key(&app, &id).await?)
}

fn zip(id: &ClientId, download: Download) -> Result<Response, Problem> {
    let mut response = secret(StatusCode::OK, "application/zip", download.zip);
    // Ids hold nothing that would end the quotes.
    let name = format!("attachment; filename=\"tel-{id}.zip\"");
    let name = HeaderValue::from_str(&name).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(CONTENT_DISPOSITION, name);
    response.headers_mut().insert(GENERATION, HeaderValue::from(download.generation));
    Ok(response)
}

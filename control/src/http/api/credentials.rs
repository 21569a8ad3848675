//! Credentials of clients.

use super::clients::ClientPath;
use super::secret_json;
use crate::app::App;
use crate::ca::IssuedCredential;
use crate::http::extract::{About, OptionalJson, Path};
use crate::http::problem::Problem;
use crate::onboarding::credentials::{self as onboarding, Issued};
use crate::onboarding::{date_text, CredentialView};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// For whose key a certificate is made.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// A certificate request (PKCS#10) in PEM, of which the public key alone is taken; without it the key is made here.
    #[schema(format = "certificate-request", max_length = 16384)]
    pub csr: Option<String>,
}

impl KeyRequest {
    /// The request's bytes.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.csr.as_deref().map(str::as_bytes)
    }
}

/// A certificate that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewCertificate<'a> {
    /// The certificate, PEM.
    certificate_pem: &'a str,
    /// Its private key, PEM (PKCS#8, not encrypted), if it was made here: nowhere else, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    key_pem: Option<&'a str>,
    /// The authority that signed the certificate, PEM.
    ca_pem: &'a str,
    /// The authority that signed the brokers' certificates, PEM: the one to trust when connecting.
    brokers_ca_pem: &'a str,
    /// Where the brokers are.
    bootstrap: &'a str,
    /// When the certificate expires.
    #[schema(format = DateTime)]
    not_after: String,
    /// SHA-256 of the certificate.
    fingerprint_sha256: &'a str,
}

/// A client's credential that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewCredential<'a> {
    /// Its number.
    #[schema(minimum = 1)]
    generation: u32,
    /// The common name in the certificate.
    common_name: String,
    /// The topic that it may read.
    topic: String,
    /// What the names of its consumer groups must begin with.
    group_prefix: String,
    /// The certificate.
    #[serde(flatten)]
    certificate: NewCertificate<'a>,
}

impl<'a> NewCertificate<'a> {
    /// What is said of it once.
    pub fn of(app: &'a App, credential: &'a IssuedCredential) -> NewCertificate<'a> {
        NewCertificate {
            certificate_pem: &credential.certificate_pem,
            key_pem: credential.key_pem.as_ref().map(crate::ca::Secret::text),
            ca_pem: &credential.ca_pem,
            brokers_ca_pem: app.brokers_ca_pem(),
            bootstrap: &app.config().public_bootstrap,
            not_after: date_text(credential.not_after.unix_timestamp().saturating_mul(1000)),
            fingerprint_sha256: &credential.fingerprint_sha256,
        }
    }
}

/// An answer with a certificate: a secret if its key is in it.
pub(super) fn handed_out(credential: &IssuedCredential, answer: &impl Serialize) -> Result<Response, Problem> {
    match credential.key_pem {
        Some(_) => secret_json(StatusCode::CREATED, answer),
        None => Ok((StatusCode::CREATED, axum::Json(answer)).into_response()),
    }
}

/// Makes a credential: the first, or one more before the last one expires. Those there are stay as they are.
#[utoipa::path(post, path = "/api/v1/clients/{id}/credentials", tag = "credentials", operation_id = "issueCredential",
    params(ClientPath), request_body(content = Option<KeyRequest>),
    responses(
        (status = 201, description = "The certificate, and its key if it was made here: the only time.", body = inline(NewCredential)),
        (status = 409, description = "The client is leaving, or has as many live credentials as it may."),
    ))]
pub async fn issue(
    State(app): State<App>,
    About { caller, id }: About,
    OptionalJson(asked): OptionalJson<KeyRequest>,
) -> Result<Response, Problem> {
    let Issued { generation, credential } = onboarding::issue(&app, caller.actor(), &id, asked.bytes()).await?;
    let answer = NewCredential {
        generation,
        common_name: id.common_name(generation),
        topic: app.namespace().topic(&id),
        group_prefix: id.group_prefix(),
        certificate: NewCertificate::of(&app, &credential),
    };
    handed_out(&credential, &answer)
}

/// A client's credentials.
#[derive(Serialize, ToSchema)]
pub struct CredentialList {
    /// The latest first.
    credentials: Vec<CredentialView>,
}

/// A client's credentials; never a key.
#[utoipa::path(get, path = "/api/v1/clients/{id}/credentials", tag = "credentials", operation_id = "listCredentials", params(ClientPath),
    responses((status = 200, description = "The latest first.", body = CredentialList)))]
pub async fn list(State(app): State<App>, About { id, .. }: About) -> Result<axum::Json<CredentialList>, Problem> {
    known(&app, &id).await?;
    Ok(axum::Json(CredentialList { credentials: onboarding::views(&app, &id).await? }))
}

/// # Errors
/// 404 unless the client is known.
pub(super) async fn known(app: &App, id: &crate::names::ClientId) -> Result<crate::store::Client, Problem> {
    app.store().client(id).await?.ok_or_else(|| Problem::not_found(format!("client {id} is not known")))
}

/// A credential in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct GenerationPath {
    /// The credential's number.
    #[param(minimum = 1, maximum = 4294967295u32)]
    generation: u32,
}

/// Revokes a credential: Kafka refuses it within a second. Once it is revoked, nothing changes.
#[utoipa::path(delete, path = "/api/v1/clients/{id}/credentials/{generation}", tag = "credentials", operation_id = "revokeCredential",
    params(ClientPath, GenerationPath),
    responses((status = 200, description = "The credential, revoked.", body = CredentialView)))]
pub async fn revoke(
    State(app): State<App>,
    About { caller, id }: About,
    Path(GenerationPath { generation }): Path<GenerationPath>,
) -> Result<axum::Json<CredentialView>, Problem> {
    onboarding::revoke(&app, caller.actor(), &id, generation, "asked for").await?;
    let views = onboarding::views(&app, &id).await?;
    let view = views.into_iter().find(|view| view.generation == generation);
    view.map(axum::Json).ok_or_else(|| Problem::not_found(format!("client {id} has no credential {generation}")))
}

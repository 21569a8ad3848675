//! Edges.

use super::credentials::{handed_out, KeyRequest, NewCertificate};
use crate::app::App;
use crate::http::auth::Operator;
use crate::http::extract::{Json, OfEdge};
use crate::http::problem::Problem;
use crate::names::EdgeName;
use crate::onboarding::{edges as onboarding, EdgeView};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The edge in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)] // Read by the OpenAPI document alone.
pub struct EdgePath {
    /// The edge's name.
    #[param(
        pattern = "^(?!-$|\\.{1,2}$|__|[0-9]+$)[A-Za-z0-9._-]{1,59}$",
        min_length = 1,
        max_length = 59,
        example = "edge-1"
    )]
    name: String,
}

/// An edge, and for whose key its certificate is made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddEdge {
    /// Its name.
    #[schema(pattern = "^(?!-$|\\.{1,2}$|__|[0-9]+$)[A-Za-z0-9._-]{1,59}$", min_length = 1, max_length = 59)]
    name: String,
    /// A certificate request (PKCS#10) in PEM, of which the public key alone is taken; without it the key is made here.
    #[schema(format = "certificate-request", max_length = 16384)]
    csr: Option<String>,
}

/// An edge's certificate that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewEdge<'a> {
    /// Its name.
    name: String,
    /// The common name in the certificate.
    common_name: String,
    /// The certificate.
    #[serde(flatten)]
    certificate: NewCertificate<'a>,
}

/// Edges.
#[derive(Serialize, ToSchema)]
pub struct EdgeList {
    /// By name.
    edges: Vec<EdgeView>,
}

/// All edges.
#[utoipa::path(get, path = "/api/v1/edges", tag = "edges", operation_id = "listEdges",
    responses((status = 200, description = "By name.", body = EdgeList)))]
pub async fn list(State(app): State<App>, _: Operator) -> Result<axum::Json<EdgeList>, Problem> {
    Ok(axum::Json(EdgeList { edges: onboarding::views(&app).await? }))
}

/// Adds an edge if need be, or counts a retired one again, and makes a certificate for it.
#[utoipa::path(post, path = "/api/v1/edges", tag = "edges", operation_id = "addEdge", request_body = AddEdge,
    responses((status = 201, description = "The certificate, and its key if it was made here: the only time.", body = inline(NewEdge))))]
pub async fn add(
    State(app): State<App>,
    Operator(caller): Operator,
    Json(asked): Json<AddEdge>,
) -> Result<Response, Problem> {
    let name = EdgeName::new(&asked.name)?;
    let request = KeyRequest { csr: asked.csr };
    let credential = onboarding::certify(&app, caller.actor(), &name, request.bytes()).await?;
    let answer = NewEdge {
        name: name.to_string(),
        common_name: name.common_name(),
        certificate: NewCertificate::of(&app, &credential),
    };
    handed_out(&credential, &answer)
}

/// Retires an edge: it does not count any more, and its rights go. Once it is retired, nothing changes.
#[utoipa::path(delete, path = "/api/v1/edges/{name}", tag = "edges", operation_id = "retireEdge", params(EdgePath),
    responses((status = 200, description = "The edge, retired.", body = EdgeView)))]
pub async fn retire(
    State(app): State<App>,
    Operator(caller): Operator,
    OfEdge(name): OfEdge,
) -> Result<axum::Json<EdgeView>, Problem> {
    onboarding::retire(&app, caller.actor(), &name).await?;
    let view = onboarding::views(&app).await?.into_iter().find(|view| view.name == name.as_str());
    view.map(axum::Json).ok_or_else(|| Problem::not_found(format!("edge {name} is not known")))
}

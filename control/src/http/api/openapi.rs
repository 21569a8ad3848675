//! The OpenAPI document: the functions' parts, and what they have in common.

use super::{audit, bundle, clients, credentials, edges, reading, status, tokens};
use crate::http::{metrics, problem};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::sync::OnceLock;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, Response as Answer, ResponseBuilder};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "tel-control", description = "A client subscribes, and seconds later consumes its own logs."),
    paths(
        clients::add, clients::import, clients::list, clients::show, clients::change, clients::remove, clients::retry,
        clients::take_over,
        credentials::issue, credentials::list, credentials::revoke, bundle::mint, bundle::show,
        reading::reading, reading::history, reading::lines, reading::usage,
        edges::add, edges::list, edges::retire, tokens::create, tokens::list, tokens::revoke,
        audit::list, status::status, status::plan, status::accept_list, status::accept_database,
        status::health, metrics::metrics, openapi,
    ),
    components(schemas(problem::ProblemBody)),
    security(("token" = [])),
    modifiers(&Common),
)]
struct Document;

/// What all operations have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme =
            SecurityScheme::Http(Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("tel_…").build());
        document.components.get_or_insert_default().security_schemes.insert("token".to_owned(), scheme);
        for (path, item) in &mut document.paths.paths {
            let get = item.get.as_mut().map(|operation| ("GET", operation));
            let post = item.post.as_mut().map(|operation| ("POST", operation));
            let patch = item.patch.as_mut().map(|operation| ("PATCH", operation));
            let delete = item.delete.as_mut().map(|operation| ("DELETE", operation));
            for (method, operation) in [get, post, patch, delete].into_iter().flatten() {
                complete(path, method, operation);
            }
        }
    }
}

fn complete(path: &str, method: &str, operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        without_null(parameter);
    }
    for (status, answer) in &mut operation.responses.responses {
        if let RefOr::T(answer) = answer {
            // A refusal that was documented without a body is a problem; a success without one has none.
            if !status.starts_with('2') && answer.content.is_empty() {
                *answer = a_problem(&answer.description);
            }
        }
    }
    let mut has = |status: &str, what: &str| {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(a_problem(what)));
    };
    if path.ends_with("/openapi.json") {
        return;
    }
    has("500", "An error of tel-control's own.");
    has("503", "The database or Kafka does not answer now.");
    if path == "/healthz" {
        return;
    }
    has("401", "No token, or one that is not known, expired or revoked.");
    has("403", "The token may not ask this.");
    has("429", "Too many requests; `Retry-After` says when to ask again.");
    if path == "/metrics" {
        return;
    }
    let is_post = method == "POST";
    if path.contains('{') || is_post || operation.parameters.is_some() {
        has("400", "The path, the query, a header or the body cannot be read.");
    }
    if path.contains('{') {
        has("404", "It is not there.");
    }
    if is_post {
        has("409", "The same request is being done, or was done and its answer held a secret.");
    }
    if is_post || operation.request_body.is_some() {
        has("408", "The body did not come in time.");
        has("413", "The body is too long.");
        has("422", "The body can be read and cannot be, or the `Idempotency-Key` was used for another request.");
    }
    if operation.request_body.is_some() {
        has("415", "The body is not JSON.");
    }
    if is_post {
        operation.parameters.get_or_insert_default().push(idempotency_key());
    }
}

/// A parameter is there or not: there is no null in a path, a query or a header.
fn without_null(parameter: &mut Parameter) {
    let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema else { return };
    if let SchemaType::Array(types) = &mut schema.schema_type {
        types.retain(|one| *one != Type::Null);
        if let [one] = &types[..] {
            schema.schema_type = SchemaType::Type(one.clone());
        }
    }
}

fn a_problem(description: &str) -> Answer {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content(problem::CONTENT, content).build()
}

fn idempotency_key() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[!-~]{1,255}$"))
        .min_length(Some(1))
        .max_length(Some(255))
        .build();
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Chosen by who asks: a request that is sent again under the same key within a day is done once.",
        ))
        .schema(Some(schema))
        .build()
}

/// The document, as JSON.
pub fn document() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    // It is made of names and numbers, which always are JSON.
    TEXT.get_or_init(|| Document::openapi().to_pretty_json().unwrap_or_default())
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "service", operation_id = "openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
pub async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], document()).into_response()
}

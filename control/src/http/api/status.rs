//! How the whole is, and an operator's word when it stands still.

use crate::app::{now, App};
use crate::http::auth::Operator;
use crate::http::problem::Problem;
use crate::names::ClientId;
use crate::onboarding::{EdgesView, EDGE_HEARD_WITHIN};
use crate::reconcile::{self, Plan};
use crate::store::Millis;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Whether this tel-control answers.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether this tel-control and its database answer.
#[utoipa::path(get, path = "/healthz", tag = "service", operation_id = "health", security(()),
    responses((status = 200, description = "They do.", body = Health)))]
pub async fn health(State(app): State<App>) -> Result<axum::Json<Health>, Problem> {
    match app.store().marker().await {
        Ok(_) => Ok(axum::Json(Health { status: "ok" })),
        Err(error) => {
            // A stranger is told nothing of the database.
            crate::log::warning(error);
            Err(Problem::unavailable("the database does not answer"))
        }
    }
}

/// How the whole is.
#[derive(Serialize, ToSchema)]
pub struct Status {
    /// tel-control's.
    version: &'static str,
    /// `sqlite` or `postgres`.
    database: &'static str,
    /// Clients, by state.
    clients: StateNumbers,
    /// Failed steps, by name.
    failing_steps: BTreeMap<String, u64>,
    /// How many edges have the whole list.
    edges: EdgesView,
    /// What the reconciler of this process says of itself.
    reconciler: reconcile::Status,
}

/// How many clients are in each state.
#[derive(Serialize, ToSchema)]
pub struct StateNumbers {
    /// Something is still to be done.
    pending: u64,
    /// All is done.
    active: u64,
    /// Something failed.
    failing: u64,
    /// On the way out.
    leaving: u64,
}

/// How the whole is.
#[utoipa::path(get, path = "/api/v1/status", tag = "service", operation_id = "showStatus",
    responses((status = 200, description = "How it is.", body = Status)))]
pub async fn status(State(app): State<App>, _: Operator) -> Result<axum::Json<Status>, Problem> {
    let counts = app.store().count_states().await?;
    let within = Millis::try_from(EDGE_HEARD_WITHIN.as_millis()).unwrap_or(Millis::MAX);
    let heard = app.store().edges_heard(now(), within).await?;
    Ok(axum::Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        database: match app.store().engine() {
            crate::store::Engine::Sqlite => "sqlite",
            crate::store::Engine::Postgres => "postgres",
        },
        edges: EdgesView { current: heard.whole(counts.listed.as_ref()), known: heard.edges().len() },
        clients: StateNumbers {
            pending: counts.pending,
            active: counts.active,
            failing: counts.failing,
            leaving: counts.leaving,
        },
        failing_steps: counts.failing_steps,
        reconciler: reconcile::status(&app),
    }))
}

/// What the reconciler would do in Kafka, without doing it.
#[utoipa::path(get, path = "/api/v1/plan", tag = "service", operation_id = "showPlan",
    responses((status = 200, description = "What it would do.", body = Plan)))]
pub async fn plan(State(app): State<App>, _: Operator) -> Result<axum::Json<Plan>, Problem> {
    Ok(axum::Json(reconcile::plan(&app).await?))
}

/// Says that the client list is right as it is, though it is empty, begins anew or is much shorter than edges know it. The process
/// that leads writes it, once all that is due is done.
#[utoipa::path(post, path = "/api/v1/list/accept", tag = "service", operation_id = "acceptList",
    responses((status = 204, description = "It is said.")))]
pub async fn accept_list(State(app): State<App>, Operator(caller): Operator) -> Result<StatusCode, Problem> {
    reconcile::accept_list(&app, caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What was taken over from Kafka.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    /// Clients on Kafka's list that were not known.
    adopted: Vec<String>,
    /// Clients that were leaving, and are on the list.
    back: Vec<String>,
    /// Clients that were on the list and are not any more: they are leaving.
    left: Vec<String>,
    /// Clients on the list that cannot be adopted, and why. They stay on it.
    strange: Vec<String>,
    /// Credentials that were revoked.
    revoked: usize,
    /// Topics whose deletion was put off.
    put_off: u64,
}

/// Says that this database is the right one, though Kafka knows another or a later state of it. The clients on Kafka's list are
/// taken over.
#[utoipa::path(post, path = "/api/v1/database/accept", tag = "service", operation_id = "acceptDatabase",
    responses((status = 200, description = "It is said, and this was taken over.", body = Accepted)))]
pub async fn accept_database(
    State(app): State<App>,
    Operator(caller): Operator,
) -> Result<axum::Json<Accepted>, Problem> {
    let recovered = reconcile::accept(&app, caller.actor()).await?;
    let ids = |ids: &[ClientId]| ids.iter().map(ClientId::to_string).collect();
    Ok(axum::Json(Accepted {
        adopted: ids(&recovered.adopted),
        back: ids(&recovered.back),
        left: ids(&recovered.left),
        strange: recovered.strange.iter().map(|(id, why)| format!("{id}: {why}")).collect(),
        revoked: recovered.revoked,
        put_off: recovered.put_off,
    }))
}

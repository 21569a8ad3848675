//! What is told of clients, their credentials and edges: the API's objects, from which the panel's pages are made, too.

use super::EDGE_HEARD_WITHIN;
use crate::names::EdgeName;
use crate::store::{
    Client, ClientSettings, ClientState, Credential, CredentialState, Desired, Edge, EdgesHeard, Millis, Step, StepRow,
    StepState,
};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A client, as far as its service is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ClientView {
    /// Its id.
    pub id: String,
    /// `pending`, `active`, `failing` or `leaving`.
    pub state: &'static str,
    /// What is done for it, in this order.
    pub steps: Vec<StepView>,
    /// Its topic.
    pub topic: String,
    /// How many edges have the list with it.
    pub edges: EdgesView,
    /// What it is given; what is not named is the default.
    pub settings: ClientSettings,
    /// When it was added.
    pub created_at: String,
    /// If it is on the way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving: Option<LeavingView>,
    /// The number of the latest change of what is wanted of it.
    pub revision: i64,
}

/// Something that is done for a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StepView {
    /// `topic`, `acls`, `quota`, `list`, `edges`; of a client that leaves `unlisted`, `acls-removed`, `topic-deleted`.
    pub name: &'static str,
    /// `pending`, `done` or `failed`; what failed is tried again.
    pub state: &'static str,
    /// Why it is not done, or how far it is; may be empty.
    pub detail: String,
    /// When its state or detail last changed.
    pub changed_at: String,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<String>,
}

/// How many edges have what the client needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct EdgesView {
    /// Edges that have written the list with this client.
    pub current: usize,
    /// Edges heard of within 30 seconds.
    pub known: usize,
}

/// The end of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LeavingView {
    /// When it was asked for.
    pub since: String,
    /// Until then subscribing again undoes it; then the topic is deleted.
    pub delete_after: String,
    /// The deletion has begun, and is not undone.
    pub deleting: bool,
}

/// A credential; never its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CredentialView {
    /// Its number.
    pub generation: u32,
    /// The common name in its certificate.
    pub common_name: String,
    /// `issued` (not seen at work yet), `active` or `revoked`.
    pub state: &'static str,
    /// Whether it works now.
    pub live: bool,
    /// SHA-256 of its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint_sha256: Option<String>,
    /// When its certificate expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// When it was first seen at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<String>,
    /// When it was last seen at work, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EdgeView {
    /// Its name.
    pub name: String,
    /// Whether it counts: not retired, and heard of lately.
    pub heard: bool,
    /// When it was last heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<String>,
    /// How far it has read the client list: the next offset; none if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_offset: Option<i64>,
    /// Ids in the list that it could not take.
    pub rejected: Vec<String>,
    /// Why it does not take the list that it has read, and keeps the one from before; none if it takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// When its latest certificate expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// When it was retired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<String>,
}

impl ClientView {
    /// What there is to tell of a client.
    pub fn new(client: &Client, steps: &[StepRow], heard: &EdgesHeard) -> ClientView {
        let (current, known) = match &client.listed {
            Some(position) if client.desired == Desired::Wanted => heard.current(position, &client.id),
            _ => (0, heard.edges().len()),
        };
        let mut state = ClientState::of(client.desired, steps);
        let mut steps: Vec<StepView> = steps.iter().map(StepView::new).collect();
        if state == ClientState::Active && current < known {
            // It was on every edge; one that has been heard of since does not have it yet.
            state = ClientState::Pending;
            for step in steps.iter_mut().filter(|step| step.name == Step::Edges.as_str()) {
                (step.state, step.detail) = (StepState::Pending.as_str(), format!("{current} of {known} edges"));
            }
        }
        ClientView {
            id: client.id.to_string(),
            state: state.as_str(),
            steps,
            topic: client.topic.clone(),
            edges: EdgesView { current, known },
            settings: client.settings.clone(),
            created_at: date_text(client.created_at),
            leaving: match client.desired {
                Desired::Wanted => None,
                Desired::Leaving { since, delete_after, deleting } => {
                    Some(LeavingView { since: date_text(since), delete_after: date_text(delete_after), deleting })
                }
            },
            revision: client.revision,
        }
    }
}

impl StepView {
    fn new(row: &StepRow) -> StepView {
        StepView {
            name: row.step.as_str(),
            state: row.state.as_str(),
            detail: row.detail.clone(),
            changed_at: date_text(row.changed_at),
            next_try_at: (row.state == StepState::Failed).then(|| date_text(row.next_try)),
        }
    }
}

impl CredentialView {
    /// What there is to tell of a credential.
    pub fn new(credential: &Credential, now: Millis) -> CredentialView {
        CredentialView {
            generation: credential.generation,
            common_name: credential.id.common_name(credential.generation),
            state: credential.state.as_str(),
            live: credential.state != CredentialState::Revoked && credential.is_live(now),
            fingerprint_sha256: credential.fingerprint.clone(),
            not_after: credential.not_after.map(date_text),
            created_at: date_text(credential.created_at),
            first_used_at: credential.first_used.map(date_text),
            last_used_at: credential.last_used.map(date_text),
            revoked_at: credential.revoked_at.map(date_text),
        }
    }
}

impl EdgeView {
    /// What there is to tell of an edge.
    pub fn new(edge: &Edge, now: Millis) -> EdgeView {
        let within = Millis::try_from(EDGE_HEARD_WITHIN.as_millis()).unwrap_or(Millis::MAX);
        let is_heard = |at: Millis| at >= now - within;
        EdgeView {
            name: EdgeName::to_string(&edge.name),
            heard: edge.retired_at.is_none() && edge.heard_at.is_some_and(is_heard),
            heard_at: edge.heard_at.map(date_text),
            applied_offset: edge.applied.as_ref().map(|position| position.offset),
            rejected: edge.rejected.clone(),
            refused: Some(edge.refused.clone()).filter(|why| !why.is_empty()),
            not_after: edge.not_after.map(date_text),
            retired_at: edge.retired_at.map(date_text),
        }
    }
}

/// A time as RFC 3339 has it, in UTC.
pub fn date_text(at: Millis) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| "out of range".to_owned())
}

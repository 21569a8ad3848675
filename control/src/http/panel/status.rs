//! How tel-control itself is, for operators.

use super::page::{html, see, Page, Problem};
use super::session::{Posted, Visitor};
use super::words::{count, counted, When};
use super::Panel;
use crate::app::{now, App};
use crate::error::Error;
use crate::names::LIST_TOPIC;
use crate::onboarding::{edges, EdgeView};
use crate::reconcile::{self, Role};
use crate::store::Rank;
use askama::Template;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

/// Days before which ends of certificates are pointed out.
const WARN_DAYS: i64 = 30;
const DAY_MS: i64 = 24 * 3600 * 1000;
/// Kafka is asked for so long; the page waits for it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);
/// Credentials that are named.
const NAMED: usize = 20;

/// Something that is checked.
struct Check {
    /// `ok`, `warn` or `bad`.
    tone: &'static str,
    title: &'static str,
    text: String,
    link: Option<(&'static str, &'static str)>,
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    page: Page,
    /// What waits for an operator's decision.
    holding: Option<String>,
    notices: Vec<String>,
    checks: Vec<Check>,
    /// Whose, which, until when.
    expiring: Vec<(String, u32, Option<When>)>,
    /// Edges, until when.
    edges: Vec<(String, Option<When>)>,
    facts: Vec<(&'static str, String)>,
}

/// `GET /status`
pub(super) async fn page(State(panel): State<Panel>, visitor: Visitor, uri: Uri) -> Result<Response, Problem> {
    visitor.operator()?;
    let app = &panel.app;
    let at = now();
    let mut page = Page::new("Status", "status", &visitor.session).said(&uri);
    page.refresh = Some(10);
    let mut checks = Vec::new();

    let counts = app.store().count_ranks().await?;
    let of = |wanted: Rank| counts.iter().find(|(rank, _)| *rank == wanted).map_or(0, |(_, count)| *count);
    let failing = of(Rank::Failing);
    checks.push(Check {
        tone: if failing == 0 { "ok" } else { "bad" },
        title: "Clients",
        text: match failing {
            0 => format!("{} active, none failing.", count(of(Rank::Active))),
            _ => format!("{} failing, {} active.", count(failing), count(of(Rank::Active))),
        },
        link: (failing > 0).then_some(("/clients?state=failing", "See them")),
    });

    let soon = at + WARN_DAYS * DAY_MS;
    let mut ending: Vec<_> = app.store().edges().await?.into_iter().filter(|edge| edge.ends_before(soon)).collect();
    ending.sort_by_key(|edge| edge.not_after);
    checks.push(heard(&edges::views(app).await?));

    let status = reconcile::status(app);
    checks.push(reconciler(&status));
    checks.push(kafka(app, &status).await);

    let authority = app.authority().not_after()?.saturating_mul(1000);
    let left = authority - at;
    checks.push(Check {
        tone: if left < WARN_DAYS * DAY_MS {
            "bad"
        } else if left < 365 * DAY_MS {
            "warn"
        } else {
            "ok"
        },
        title: "Authority",
        text: format!("Its certificate is good until {}.", super::words::stamp(authority)),
        link: None,
    });

    let expiring = app.store().expiring_credentials(soon, NAMED).await?;
    let expiring = expiring.into_iter().filter(|credential| credential.is_live(at));
    let marker = app.store().marker().await?;
    let policy = app.config().topic;
    html(&StatusPage {
        page,
        holding: status.holding,
        notices: status.notices,
        checks,
        expiring: expiring.map(|c| (c.id.to_string(), c.generation, c.not_after.map(When::at))).collect(),
        edges: ending.into_iter().map(|edge| (edge.name.to_string(), edge.not_after.map(When::at))).collect(),
        facts: vec![
            ("Version", env!("CARGO_PKG_VERSION").to_owned()),
            ("Database", app.store().place().to_owned()),
            ("Latest change", count(marker.revision)),
            ("Brokers for clients", app.config().public_bootstrap.clone()),
            ("Topics begin with", app.namespace().as_str().to_owned()),
            ("Lines are kept", super::words::duration(policy.retention_ms)),
            ("Topics of those who left are kept", super::words::duration(millis(app.config().grace_period))),
            ("Unused credentials are revoked after", super::words::duration(millis(app.config().unused_credential))),
        ],
    })
}

/// How the edges are, and which of them do not take the list.
fn heard(all: &[EdgeView]) -> Check {
    let counted: Vec<_> = all.iter().filter(|edge| edge.retired_at.is_none()).collect();
    let heard: Vec<_> = counted.iter().filter(|edge| edge.heard).collect();
    let refusing: Vec<(&str, &str)> =
        heard.iter().filter_map(|edge| Some((edge.name.as_str(), edge.refused.as_deref()?))).collect();
    let mut text = match (heard.len(), counted.len()) {
        (_, 0) => "None is known yet: no client gets lines.".to_owned(),
        (heard, all) => format!("{heard} of {all} heard of in the last 30 seconds."),
    };
    if let Some((name, why)) = refusing.first() {
        let others = match refusing.len() - 1 {
            0 => String::new(),
            others => format!(" and {} more", count(others as u64)),
        };
        text.push_str(&format!(" {name}{others} will not take the client list: {why}"));
    }
    Check {
        tone: if heard.is_empty() || !refusing.is_empty() {
            "bad"
        } else if heard.len() < counted.len() {
            "warn"
        } else {
            "ok"
        },
        title: "Edges",
        text,
        link: Some(("/edges", "See them")),
    }
}

/// What the reconciler says of itself.
fn reconciler(status: &reconcile::Status) -> Check {
    let pass = status.last_pass.as_ref().map_or_else(String::new, |pass| {
        let at = When::of(&pass.at).map_or_else(|| pass.at.clone(), |at| at.relative());
        let compared = counted(pass.clients as u64, "client", "clients");
        match pass.differing {
            0 => format!(" All of Kafka was compared {at}: {compared}, none differing."),
            differing => format!(
                " All of Kafka was compared {at}: {compared}, {} differing, done again.",
                count(differing as u64)
            ),
        }
    });
    let (tone, text) = match (status.role, &status.database) {
        (_, Some(why)) => ("bad", why.clone()),
        (Role::Leading, None) => ("ok", format!("It works.{pass}")),
        (Role::Standby, None) => ("ok", "Another process does the work; this one stands by.".to_owned()),
        (Role::Holding, None) => ("bad", "It waits for your decision, and changes nothing meanwhile.".to_owned()),
        (Role::Starting, None) => ("warn", "It has not begun yet.".to_owned()),
        (Role::Stopped, None) => ("bad", "It has ended.".to_owned()),
    };
    Check { tone, title: "Reconciler", text, link: None }
}

/// Who leads knows how Kafka is; others ask it.
async fn kafka(app: &App, status: &reconcile::Status) -> Check {
    let answer = match (status.role, &status.kafka) {
        (_, Some(why)) => Err(Error::unavailable(why)),
        (Role::Leading, None) => Ok(()),
        _ => {
            let asking = app.kafka(|admin, _| {
                let topics = admin.describe_topics(&[LIST_TOPIC.to_owned()])?;
                topics.into_iter().try_for_each(|topic| topic.map(|_| ()))
            });
            tokio::time::timeout(PATIENCE, asking)
                .await
                .unwrap_or_else(|_| Err(Error::unavailable("It does not answer.")))
        }
    };
    let (tone, text) = match answer {
        Ok(()) => ("ok", "It answers, and has the client list.".to_owned()),
        Err(error) => ("bad", error.text),
    };
    Check { tone, title: "Kafka", text, link: None }
}

/// `POST /status/accept-database`
pub(super) async fn accept_database(State(panel): State<Panel>, posted: Posted) -> Result<Response, Problem> {
    let who = posted.visitor.operator()?;
    reconcile::accept(&panel.app, &who).await?;
    Ok(see("/status", "database-accepted"))
}

/// `POST /status/accept-list`
pub(super) async fn accept_list(State(panel): State<Panel>, posted: Posted) -> Result<Response, Problem> {
    let who = posted.visitor.operator()?;
    reconcile::accept_list(&panel.app, &who).await?;
    Ok(see("/status", "list-accepted"))
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

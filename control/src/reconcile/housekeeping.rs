//! What is looked after now and then: credentials that end, and rows that are over.

use crate::app::{now, App};
use crate::error::Result;
use crate::log;
use crate::store::{day_of, Actor, Credential, Millis, Restart, Step};
use std::time::{Duration, Instant};

/// Between two looks at credentials.
const EVERY: Duration = Duration::from_secs(10);
/// Between two clearances of what is over.
const TIDIED: Duration = Duration::from_secs(3600);
/// Credentials that are looked at in one go.
const MOST: usize = 1000;
/// For so many days each edge's share of a client's volume is kept.
const SHARES_DAYS: i64 = 35;
/// Who looks at consumer groups does so every few seconds, with many clients every minute: a look that was longer ago says little.
const LOOK_HOLDS: Millis = 5 * 60_000;
/// So long before its end a certificate is warned of.
const WARNED: Millis = 30 * 24 * 3600 * 1000;
/// Credentials, and edges, that are named in a day's warning.
const NAMED: usize = 20;

/// When what was last done.
pub(super) struct Housekeeping {
    /// When this process began to lead.
    begun: Millis,
    looked: Option<Instant>,
    tidied: Option<Instant>,
    /// Credentials that expired before are done with: the full pass finds what remains of them.
    expired_until: Millis,
    warned_on: Option<i64>,
}

impl Housekeeping {
    pub fn new(at: Millis) -> Housekeeping {
        Housekeeping { begun: at, looked: None, tidied: None, expired_until: at, warned_on: None }
    }
}

/// Does what it is time for.
pub(super) async fn go_on(state: &mut Housekeeping, app: &App) -> Result<()> {
    if state.looked.is_some_and(|at| at.elapsed() < EVERY) {
        return Ok(());
    }
    state.looked = Some(Instant::now());
    let at = now();
    revoke_unused(app, state.begun, at).await?;
    end_expired(app, state.expired_until, at).await?;
    state.expired_until = at;
    if state.warned_on != Some(day_of(at)) {
        warn_of_expiring(app, at).await?;
        state.warned_on = Some(day_of(at));
    }
    if state.tidied.is_none_or(|tidied| tidied.elapsed() >= TIDIED) {
        app.store().tidy(at).await?;
        app.store().fold_usage(day_of(at) - SHARES_DAYS).await?;
        state.tidied = Some(Instant::now());
    }
    Ok(())
}

/// A credential has to be unused while somebody looked: from when it was made, or from when looks began, whichever is later, and at the
/// last look, which was made since this process leads.
async fn revoke_unused(app: &App, begun: Millis, at: Millis) -> Result<()> {
    let Some(looks) = app.store().looks().await? else { return Ok(()) };
    let unused = Millis::try_from(app.config().unused_credential.as_millis()).unwrap_or(Millis::MAX);
    let before = at.saturating_sub(unused);
    if looks.last < begun.max(at.saturating_sub(LOOK_HOLDS)) || looks.since >= before {
        return Ok(());
    }
    let hours = app.config().unused_credential.as_secs() / 3600;
    let why = format!("it was not seen at work within {hours} hours");
    let credentials = app.store().unused_credentials(before, MOST).await?;
    for Credential { id, generation, .. } in &credentials {
        app.store().revoke_credential(&Actor::reconciler(), id, *generation, &why, at).await?;
    }
    if !credentials.is_empty() {
        app.wake();
    }
    Ok(())
}

async fn end_expired(app: &App, from: Millis, at: Millis) -> Result<()> {
    let expired = app.store().credentials_expiring(from, at, MOST).await?;
    if expired.is_empty() {
        return Ok(());
    }
    let restart = |credential: Credential| Restart {
        why: format!("credential {} has expired", credential.id.common_name(credential.generation)),
        id: credential.id,
        steps: vec![Step::Acls],
    };
    let restarts: Vec<Restart> = expired.into_iter().map(restart).collect();
    app.store().restart_many(&Actor::reconciler(), &restarts, at).await?;
    app.wake();
    Ok(())
}

async fn warn_of_expiring(app: &App, at: Millis) -> Result<()> {
    let by = at.saturating_add(WARNED);
    let credentials = app.store().credentials_expiring(at, by, MOST).await?;
    let credentials: Vec<_> = credentials
        .iter()
        .map(|credential| {
            (format!("credential {}", credential.id.common_name(credential.generation)), credential.not_after)
        })
        .collect();
    let edges = app.store().edges().await?;
    let mut edges: Vec<_> = edges
        .iter()
        .filter(|edge| edge.ends_before(by))
        .map(|edge| (format!("the certificate of edge {}", edge.name), edge.not_after))
        .collect();
    edges.sort_by_key(|(_, end)| *end);
    for text in warnings(&edges, "edges' certificates", at).into_iter().chain(warnings(&credentials, "credentials", at))
    {
        log::warning(text);
    }
    Ok(())
}

/// What is said of certificates that end soon, those first that end first: their names and when they end.
fn warnings(ending: &[(String, Option<Millis>)], what: &str, at: Millis) -> Vec<String> {
    let text = |(name, end): &(String, Option<Millis>)| match end {
        Some(end) if *end <= at => format!("{name} has expired"),
        end => format!("{name} expires in {} days", end.map_or(0, |end| day_of(end) - day_of(at))),
    };
    let mut said: Vec<String> = ending.iter().take(NAMED).map(text).collect();
    if ending.len() > NAMED {
        said.push(format!("and {} more {what} expire within 30 days", ending.len() - NAMED));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_named_up_to_a_number() {
        const DAY: Millis = 24 * 3600 * 1000;
        let ending = [("a".to_owned(), Some(DAY - 1)), ("b".to_owned(), Some(4 * DAY))];
        assert_eq!(warnings(&ending, "things", DAY), ["a has expired", "b expires in 3 days"]);
        let many: Vec<_> = (0..NAMED + 2).map(|n| (n.to_string(), Some(2 * DAY))).collect();
        let said = warnings(&many, "things", DAY);
        assert_eq!((said.len(), said[NAMED].as_str()), (NAMED + 1, "and 2 more things expire within 30 days"));
        assert!(warnings(&[], "things", DAY).is_empty());
    }
}

//! Who asks the API: an operator's or a client's token, or the command line's socket. Never a cookie.

use super::limits::{household, Limiter, Rate};
use super::problem::{Problem, Which};
use super::{address, Peer, Shared};
use crate::app::now;
use crate::names::ClientId;
use crate::store::{Actor, Who};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::time::Instant;

/// An operator's scripts bring in many clients at once.
const OPERATOR: Rate = Rate { burst: 2000.0, per_second: 200.0 };
/// A client looks at its own.
const CLIENT: Rate = Rate { burst: 200.0, per_second: 20.0 };
/// Tokens that are not taken, from one address.
const FAILURES: Rate = Rate { burst: 20.0, per_second: 0.5 };

/// How often askers ask. A token stands as its SHA-256, and only if it was taken.
#[derive(Debug)]
pub struct Limits {
    operators: Limiter<[u8; 32]>,
    clients: Limiter<[u8; 32]>,
    failures: Limiter<IpAddr>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { operators: Limiter::new(OPERATOR), clients: Limiter::new(CLIENT), failures: Limiter::new(FAILURES) }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    actor: Actor,
    client: Option<ClientId>,
    scope: String,
}

impl Caller {
    /// Whoever has the machine's command line.
    fn command_line() -> Caller {
        Caller { actor: Actor::command_line(), client: None, scope: "command line".to_owned() }
    }

    fn of(who: &Who) -> Caller {
        let scope = format!("token:{}", who.token.as_deref().unwrap_or_default());
        Caller { actor: who.actor(), client: who.client.clone(), scope }
    }

    /// As the audit log names them.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The one client that may be asked about; none: an operator, who may ask about all.
    pub fn client(&self) -> Option<&ClientId> {
        self.client.as_ref()
    }

    /// Under which their idempotency keys are kept apart from others'.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// # Errors
    /// 403 unless an operator asks.
    pub fn operator(&self) -> Result<(), Problem> {
        match self.client {
            None => Ok(()),
            Some(_) => Err(Problem::forbidden("this needs an operator's token; yours is a client's")),
        }
    }

    /// # Errors
    /// 403 if a client asks about another, whether or not there is one.
    pub fn may(&self, id: &ClientId) -> Result<(), Problem> {
        match &self.client {
            Some(own) if own != id => {
                Err(Problem::forbidden(format!("this token is client {own}'s, and says nothing of other clients")))
            }
            _ => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        // Put there by `authenticate`; a route without it is our own mistake.
        parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::internal)
    }
}

/// An operator.
#[derive(Clone, Debug)]
pub struct Operator(pub Caller);

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Operator, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.operator()?;
        Ok(Operator(caller))
    }
}

/// Lets nobody through who is not known, and says to the rest who it is.
pub async fn authenticate(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    match caller(&shared, peer, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who asks.
///
/// # Errors
/// 401 if nobody knows; 429 if they ask too often; 503 without the database.
pub(super) async fn caller(shared: &Shared, peer: Option<Peer>, headers: &HeaderMap) -> Result<Caller, Problem> {
    if peer == Some(Peer::Local) {
        return Ok(Caller::command_line());
    }
    let token = bearer(headers)?;
    let limits = shared.limits();
    let hash = openssl::sha::sha256(token.as_bytes());
    let from = household(address(peer.as_ref()));
    let at = Instant::now();
    // A neighbour at the same address who guesses does not lock out a token that was taken before.
    if !limits.operators.knows(&hash) && !limits.clients.knows(&hash) {
        limits.failures.check(&from, at).map_err(Problem::too_many)?;
    }
    let who = shared.app().store().authenticate(token, now()).await.map_err(|error| {
        // A stranger is told nothing of the database.
        crate::log::warning(error);
        Problem::unavailable("tokens cannot be checked now")
    })?;
    let Some(who) = who else {
        limits.failures.take(from, at).map_err(Problem::too_many)?;
        let detail = "the token is not known, expired, or revoked";
        return Err(Problem::unauthorized(Some(Which::TokenNotTaken), detail));
    };
    let limiter = if who.is_operator() { &limits.operators } else { &limits.clients };
    limiter.take(hash, at).map_err(Problem::too_many)?;
    Ok(Caller::of(&who))
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let needed = || Problem::unauthorized(None, "needs the header Authorization: Bearer TOKEN");
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or_else(needed)?;
    if values.next().is_some() {
        return Err(Problem::unauthorized(None, "has the header Authorization twice"));
    }
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(needed)?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(needed());
    }
    Ok(token.trim())
}

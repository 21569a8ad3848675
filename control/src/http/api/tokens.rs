//! Tokens of operators and clients.

use super::secret_json;
use crate::app::{now, App};
use crate::http::auth::Operator;
use crate::http::extract::{Json, Path};
use crate::http::problem::Problem;
use crate::names::ClientId;
use crate::onboarding::date_text;
use crate::store::{Millis, Token};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

const DAY: Millis = 24 * 3600 * 1000;
/// A token for longer is better made without an end.
const MOST_DAYS: u32 = 3650;

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Whom it is for, in one line.
    #[schema(pattern = "^[^\\s\\p{C}]([^\\p{C}]{0,98}[^\\s\\p{C}])?$", min_length = 1, max_length = 100)]
    label: String,
    /// The client that it speaks for, which need not be added yet; without it, it is an operator's.
    #[schema(pattern = "^(?!-$|\\.{1,2}$|__)[A-Za-z0-9._-]{1,48}$", min_length = 1, max_length = 48)]
    client: Option<String>,
    /// For how many days it is taken; without it, until it is revoked.
    #[serde(default, deserialize_with = "crate::whole::optional")]
    #[schema(minimum = 1, maximum = 3650)]
    expires_in_days: Option<u32>,
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewToken {
    /// Its public name, by which it is revoked.
    id: String,
    /// The token itself: nowhere else, and never again.
    #[schema(pattern = "^tel_[0-9a-f]{64}$")]
    secret: String,
}

/// A token; never its secret.
#[derive(Serialize, ToSchema)]
pub struct TokenView {
    /// Its public name.
    id: String,
    /// Whom it was made for.
    label: String,
    /// The client that it speaks for; without it, it is an operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// Whether it is taken now.
    live: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// From when it is no longer taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// When it was last used, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

/// Tokens.
#[derive(Serialize, ToSchema)]
pub struct TokenList {
    /// The latest first.
    tokens: Vec<TokenView>,
}

impl TokenView {
    fn of(token: Token, at: Millis) -> TokenView {
        TokenView {
            id: token.id,
            label: token.label,
            client: token.client.map(|client| client.to_string()),
            live: token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > at),
            created_at: date_text(token.created_at),
            expires_at: token.expires_at.map(date_text),
            last_used_at: token.last_used.map(date_text),
            revoked_at: token.revoked_at.map(date_text),
        }
    }
}

/// All tokens.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", operation_id = "listTokens",
    responses((status = 200, description = "The latest first.", body = TokenList)))]
pub async fn list(State(app): State<App>, _: Operator) -> Result<axum::Json<TokenList>, Problem> {
    let at = now();
    let tokens = app.store().tokens(None).await?;
    Ok(axum::Json(TokenList { tokens: tokens.into_iter().map(|token| TokenView::of(token, at)).collect() }))
}

/// Makes a token.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", operation_id = "createToken", request_body = CreateToken,
    responses((status = 201, description = "The token: the only time.", body = NewToken)))]
pub async fn create(
    State(app): State<App>,
    Operator(caller): Operator,
    Json(asked): Json<CreateToken>,
) -> Result<Response, Problem> {
    let client = asked.client.as_deref().map(ClientId::new).transpose()?;
    if asked.expires_in_days.is_some_and(|days| !(1..=MOST_DAYS).contains(&days)) {
        return Err(Problem::unprocessable(format!("expires_in_days must be from 1 to {MOST_DAYS}")));
    }
    let at = now();
    let expires_at = asked.expires_in_days.map(|days| at + Millis::from(days) * DAY);
    let token = app.store().create_token(caller.actor(), &asked.label, client.as_ref(), expires_at, at).await?;
    secret_json(StatusCode::CREATED, &NewToken { id: token.id, secret: token.secret })
}

/// A token in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TokenPath {
    /// The token's public name.
    #[param(pattern = "^[0-9a-f]{16}$")]
    id: String,
}

/// Revokes a token, and ends the sessions that began with it. Once it is revoked, nothing changes.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", operation_id = "revokeToken", params(TokenPath),
    responses((status = 200, description = "The token, revoked.", body = TokenView)))]
pub async fn revoke(
    State(app): State<App>,
    Operator(caller): Operator,
    Path(TokenPath { id }): Path<TokenPath>,
) -> Result<axum::Json<TokenView>, Problem> {
    if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err(Problem::bad_request("a token's id is 16 hexadecimal digits"));
    }
    let at = now();
    app.store().revoke_token(caller.actor(), &id, at).await?;
    let token = app.store().tokens(None).await?.into_iter().find(|token| token.id == id);
    let token = token.ok_or_else(|| Problem::not_found("token is not known"))?;
    Ok(axum::Json(TokenView::of(token, at)))
}

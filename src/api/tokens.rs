//! A person's tokens, by one of them: it can make others that may no more and last no longer than itself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::ask::{Body, Caller, Path};
use super::draw;
use super::problem::{Refused, Result};
use super::types::{FieldError, MintedToken, NewToken, Page, Token};
use crate::app::App;
use crate::auth::machine;
use crate::auth::token::{self, Wanted};
use crate::events::Origin;
use crate::web::Error;

const MAKES_NONE: &str = "Machines make no tokens. Somebody of its team makes one, under /api/v1/machines, or its pipeline exchanges another.";

/// Your tokens
///
/// Newest first, all on one page; those that ended in the last 30 days are among them.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "You",
    responses((status = 200, description = "Your tokens", body = Page<Token>))
)]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Page<Token>>> {
    let mut db = app.db.acquire().await?;
    let tokens = token::list(&mut db, &caller.user.0).await?;
    Ok(Json(Page { items: tokens.iter().map(draw::token).collect(), next: None }))
}

/// Make a token
///
/// Its secret is in this answer and never again.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "You",
    request_body = NewToken,
    responses((status = 201, description = "The token with its secret", body = MintedToken))
)]
pub async fn mint(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<MintedToken>)> {
    if machine::is_machine(&caller.user.identity) {
        return Err(Error::Forbidden(MAKES_NONE.into()).into());
    }
    let now = app.clock.now();
    let wanted = Wanted { name: new.name, scopes: new.scopes.into_iter().collect(), days: new.expires_days };
    let mut tx = app.db.begin().await?;
    let open = token::count_open(&mut tx, &caller.user.identity, now).await?;
    let refusals = token::refusals(&wanted, caller.token.as_deref(), open, now);
    if !refusals.is_empty() {
        return Err(unusable(&refusals));
    }
    let (token, secret) = token::mint(&mut tx, &caller.user.0, &origin, &wanted, now).await?;
    tx.commit().await?;
    let minted = MintedToken { token: draw::token(&token), secret: secret.expose().into() };
    Ok((StatusCode::CREATED, Json(minted)))
}

/// Everything that is wrong with a wish, by its fields.
pub fn unusable(refusals: &[token::Refusal]) -> Refused {
    let error =
        |refusal: &token::Refusal| FieldError { field: refusal.field().into(), detail: refusal.sentence() };
    let first = refusals.first().map(|refusal| refusal.sentence()).unwrap_or_default();
    Refused::unusable(first, refusals.iter().map(error).collect(), Vec::new())
}

/// Revoke a token
///
/// Itself, or another that may no more than it: it is refused from the next request on.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}",
    tag = "You",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 204, description = "Revoked"))
)]
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    let mut db = app.db.acquire().await?;
    let tokens = token::list(&mut db, &caller.user.0).await?;
    drop(db);
    let token = tokens.into_iter().find(|token| token.id == id).ok_or(Error::NotFound)?;
    if let Some(by) = &caller.token
        && by.id != token.id
        && !by.scopes.allow_all(&token.scopes)
    {
        let sentence =
            "The token you ask with may do less than that one, so it can’t revoke it. Use the portal.";
        return Err(Error::Forbidden(sentence.into()).into());
    }
    token::revoke(&app, &token, &caller.user, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

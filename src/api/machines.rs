//! Machines, for the teams they belong to: which there are, and tokens with a stored secret for CI systems that sign
//! none of their own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;

use super::ask::{Body, Caller, Path};
use super::draw;
use super::problem::{Refused, Result};
use super::tokens::unusable;
use super::types::{Machine, MintedToken, NewToken, Page, Token};
use crate::app::App;
use crate::auth::token::{self, New, Wanted};
use crate::auth::{Person, SetOffBy, machine};
use crate::config;
use crate::events::Origin;
use crate::web::Error;

/// Machines of your teams
///
/// In the order of the portal's configuration, all on one page. The platform team sees every machine.
#[utoipa::path(
    get,
    path = "/api/v1/machines",
    tag = "Machines",
    responses((status = 200, description = "The machines", body = Page<Machine>))
)]
pub async fn list(State(app): State<App>, caller: Caller) -> Json<Page<Machine>> {
    let kept = app.config.machines.iter().filter(|machine| keeps(&app, &caller, machine));
    Json(Page { items: kept.map(draw::machine).collect(), next: None })
}

/// Tokens of a machine
///
/// Those with a stored secret and those that are exchanged right now, newest first, all on one page.
#[utoipa::path(
    get,
    path = "/api/v1/machines/{name}/tokens",
    tag = "Machines",
    params(("name" = String, Path, description = "Of the machine")),
    responses((status = 200, description = "Its tokens", body = Page<Token>))
)]
pub async fn tokens(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Page<Token>>> {
    let owner = owner(find(&app, &caller, &name)?);
    let tokens = token::list(&mut *app.db.acquire().await?, &owner).await?;
    Ok(Json(Page { items: tokens.iter().map(draw::token).collect(), next: None }))
}

/// Make a token for a machine
///
/// For a CI system that signs no tokens of its own. Its secret is in this answer and never again.
#[utoipa::path(
    post,
    path = "/api/v1/machines/{name}/tokens",
    tag = "Machines",
    params(("name" = String, Path, description = "Of the machine")),
    request_body = NewToken,
    responses((status = 201, description = "The token with its secret", body = MintedToken))
)]
pub async fn mint(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    Path(name): Path<String>,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<MintedToken>)> {
    let machine = find(&app, &caller, &name)?;
    let by = SetOffBy { identity: Some(caller.user.identity.clone()), name: caller.user.name.clone() };
    let owner = Arc::new(machine::person(machine, Some(Box::new(by))));
    let (may, now) = (machine::scopes(machine), app.clock.now());
    let wanted = Wanted { name: new.name, scopes: new.scopes.into_iter().collect(), days: new.expires_days };
    let mut tx = app.db.begin().await?;
    let open = token::count_open(&mut tx, &owner.identity, now).await?;
    let refusals = token::refusals(&wanted, caller.token.as_deref(), open, now);
    if !refusals.is_empty() {
        return Err(unusable(&refusals));
    }
    if let Some(lacking) = wanted.scopes.iter().find(|scope| !may.allow(*scope)) {
        let sentence = format!("The machine {name} has not got the scope “{}” itself.", lacking.name());
        return Err(Refused::field("scopes", sentence));
    }
    let made = New {
        name: wanted.name.trim(),
        scopes: &wanted.scopes,
        expires: wanted.ends(now),
        action: "token.mint",
        by: &caller.user,
        detail: json!({ "machine": name }),
    };
    let (token, secret) = token::make(&mut tx, &owner, &origin, made, now).await?;
    tx.commit().await?;
    let minted = MintedToken { token: draw::token(&token), secret: secret.expose().into() };
    Ok((StatusCode::CREATED, Json(minted)))
}

/// Revoke a token of a machine
///
/// It is refused from the next request on.
#[utoipa::path(
    delete,
    path = "/api/v1/machines/{name}/tokens/{id}",
    tag = "Machines",
    params(
        ("name" = String, Path, description = "Of the machine"),
        ("id" = i64, Path, description = "The token's number"),
    ),
    responses((status = 204, description = "Revoked"))
)]
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    Path((name, id)): Path<(String, i64)>,
) -> Result<StatusCode> {
    let owner = owner(find(&app, &caller, &name)?);
    let tokens = token::list(&mut *app.db.acquire().await?, &owner).await?;
    let token = tokens.into_iter().find(|token| token.id == id).ok_or(Error::NotFound)?;
    token::revoke(&app, &token, &caller.user, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn keeps(app: &App, caller: &Caller, machine: &config::Machine) -> bool {
    machine::may_keep(machine, &caller.user, caller.user.is_in_any(&app.config.access.platform))
}

/// Somebody else's machine does not exist.
fn find<'a>(app: &'a App, caller: &Caller, name: &str) -> Result<&'a config::Machine> {
    let found = app.config.machine(name).filter(|machine| keeps(app, caller, machine));
    Ok(found.ok_or(Error::NotFound)?)
}

fn owner(machine: &config::Machine) -> Arc<Person> {
    Arc::new(machine::person(machine, None))
}

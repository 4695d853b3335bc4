//! Taking it back before its time: the requester withdraws what waits, and whoever may ends what is given.

use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use super::gates::{self, Refusal};
use super::grant::{End, Event, Grant, GrantId};
use super::{show, store};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::events::{self, Entry, Origin};
use crate::web::form::VerifiedForm;
use crate::web::{Error, Layout, Result};

#[derive(Deserialize)]
pub struct Click {}

/// `POST /access/{id}/withdrawal`
pub async fn take_back(
    Shared(app): Shared<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    Path(id): Path<GrantId>,
    _form: VerifiedForm<Click>,
) -> Result<Response> {
    let done = withdraw(&app, &user, &origin, id).await?;
    reply(&app, &user, layout, id, done).await
}

/// `POST /access/{id}/end`
pub async fn end_early(
    Shared(app): Shared<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    Path(id): Path<GrantId>,
    _form: VerifiedForm<Click>,
) -> Result<Response> {
    let done = end(&app, &user, &origin, id).await?;
    reply(&app, &user, layout, id, done).await
}

async fn reply(
    app: &App,
    user: &CurrentUser,
    layout: Layout,
    id: GrantId,
    done: std::result::Result<Grant, Refusal>,
) -> Result<Response> {
    match done {
        Ok(grant) => Ok(Redirect::to(&grant.url()).into_response()),
        Err(refusal) => {
            let grant = show::visible(app, user, id).await?;
            show::answer(app, user, layout, grant, Some(&refusal), "").await
        }
    }
}

/// Withdraws a request that waits, or says why that can't be.
pub async fn withdraw(
    app: &App,
    user: &CurrentUser,
    origin: &Origin,
    id: GrantId,
) -> Result<std::result::Result<Grant, Refusal>> {
    change(app, user, origin, id, "access.withdraw", |grant| {
        gates::may_withdraw(user, grant).map(|()| Event::Withdrawn)
    })
    .await
}

/// Ends what was given, or says why that can't be. The engine removes the binding.
pub async fn end(
    app: &App,
    user: &CurrentUser,
    origin: &Origin,
    id: GrantId,
) -> Result<std::result::Result<Grant, Refusal>> {
    change(app, user, origin, id, "access.revoke", |grant| {
        let by = gates::may_end(user, grant, &app.config.access.platform)?;
        Ok(Event::EndDue { by, why: End::Early { by: user.name.clone() } })
    })
    .await
}

async fn change(
    app: &App,
    user: &CurrentUser,
    origin: &Origin,
    id: GrantId,
    action: &str,
    decide: impl Fn(&Grant) -> std::result::Result<Event, Refusal>,
) -> Result<std::result::Result<Grant, Refusal>> {
    show::visible(app, user, id).await?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let mut grant = store::lock(&mut tx, id).await?.ok_or(Error::NotFound)?;
    let event = match decide(&grant) {
        Ok(event) => event,
        Err(refusal) => {
            tx.rollback().await?;
            return Ok(Err(refusal));
        }
    };
    store::record(&mut tx, &mut grant, &user.name, &event, now).await?;
    let entry = Entry {
        action,
        target: grant.target(),
        outcome: grant.state.name(),
        detail: grant.detail(json!({})),
    };
    events::audit(&mut tx, user, origin, now, entry).await?;
    tx.commit().await?;
    app.counts.forget();
    Ok(Ok(grant))
}

//! Withdrawing a deploy while nothing was written: afterwards there is nothing to take back but by rolling back. Two things
//! can be stopped while they run: a migration, by taking its Job away, and a version that is tried beside what runs, which
//! the engine takes away.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::deploy::{Deploy, DeployId};
use super::gates::{self, Refusal};
use super::state::{Event, State as At};
use super::{act, show, store};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::events::{self, Entry, Origin};
use crate::web::form::VerifiedForm;
use crate::web::{Error, Layout, Result};

#[derive(Deserialize)]
pub struct Cancellation {}

/// `POST /deploys/{id}/cancellation`
pub async fn cancel(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    Path(id): Path<DeployId>,
    _form: VerifiedForm<Cancellation>,
) -> Result<Response> {
    match withdraw(&app, &user, &origin, id).await? {
        Ok(deploy) => Ok(Redirect::to(&deploy.url()).into_response()),
        Err(refusal) => {
            let deploy = show::visible(&app, &user, id).await?;
            show::answer(&app, &user, layout, deploy, Some(&refusal), "").await
        }
    }
}

/// Withdraws it, or says why that can't be.
pub async fn withdraw(
    app: &App,
    user: &CurrentUser,
    origin: &Origin,
    id: DeployId,
) -> Result<std::result::Result<Deploy, Refusal>> {
    let before = show::visible(app, user, id).await?;
    // Before the transaction: a cluster may take its time, and a row must not wait for it. Should this process die in
    // between, the engine sees that the Job is gone.
    if before.runs_a_job() && gates::may_cancel(user, &before).is_ok() {
        act::stop(app, &before).await.map_err(not_stopped)?;
    }
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let mut deploy = store::lock(&mut tx, id).await?.ok_or(Error::NotFound)?;

    if let Err(refusal) = gates::may_cancel(user, &deploy) {
        tx.rollback().await?;
        return Ok(Err(refusal));
    }

    let (event, action) = match &deploy.state {
        _ if deploy.runs_a_job() => (Event::Stopped, "migrate.stop"),
        At::Shifting { .. } => (Event::Stopped, "deploy.stop"),
        _ => (Event::Cancelled, "deploy.cancel"),
    };
    store::record(&mut tx, &mut deploy, &user.name, &event, now).await?;
    let entry = Entry {
        action,
        target: format!("{}/{}", deploy.place.service, deploy.place.environment),
        outcome: deploy.state.name(),
        detail: serde_json::json!({ "deploy": id }),
    };
    events::audit(&mut tx, user, origin, now, entry).await?;
    tx.commit().await?;
    app.counts.forget();
    Ok(Ok(deploy))
}

fn not_stopped(refusal: crate::kube::Refusal) -> Error {
    let sentence = format!("It goes on. {}", refusal.sentence());
    if refusal.retryable() { Error::Unavailable(sentence) } else { Error::Forbidden(sentence) }
}

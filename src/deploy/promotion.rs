//! Going on: a person looked at what stands beside the workload and says that it may have more.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::deploy::{Deploy, DeployId};
use super::gates::{self, Refusal};
use super::state::Event;
use super::{show, store};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::events::{self, Entry, Origin};
use crate::web::form::VerifiedForm;
use crate::web::{Error, Layout, Result};

#[derive(Deserialize)]
pub struct Promotion {}

/// `POST /deploys/{id}/promotion`
pub async fn promote(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    Path(id): Path<DeployId>,
    _form: VerifiedForm<Promotion>,
) -> Result<Response> {
    match go_on(&app, &user, &origin, id).await? {
        Ok(deploy) => Ok(Redirect::to(&deploy.url()).into_response()),
        Err(refusal) => {
            let deploy = show::visible(&app, &user, id).await?;
            show::answer(&app, &user, layout, deploy, Some(&refusal), "").await
        }
    }
}

/// Lets it go on, or says why it can't.
pub async fn go_on(
    app: &App,
    user: &CurrentUser,
    origin: &Origin,
    id: DeployId,
) -> Result<std::result::Result<Deploy, Refusal>> {
    show::visible(app, user, id).await?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let mut deploy = store::lock(&mut tx, id).await?.ok_or(Error::NotFound)?;

    if let Err(refusal) = gates::may_promote(user, &deploy) {
        tx.rollback().await?;
        return Ok(Err(refusal));
    }

    store::record(&mut tx, &mut deploy, &user.name, &Event::WentOn, now).await?;
    let entry = Entry {
        action: "deploy.promote",
        target: format!("{}/{}", deploy.place.service, deploy.place.environment),
        outcome: deploy.state.name(),
        detail: serde_json::json!({ "deploy": id }),
    };
    events::audit(&mut tx, user, origin, now, entry).await?;
    tx.commit().await?;
    Ok(Ok(deploy))
}

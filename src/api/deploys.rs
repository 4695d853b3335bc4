//! Changes on their way and at their end.

use std::convert::Infallible;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use futures::stream;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::tagged;
use super::approvals::refuse;
use super::ask::{self, Asked, Caller, Path};
use super::draw;
use super::problem::Result;
use super::types::{Deploy, Page};
use crate::app::App;
use crate::auth::{CurrentUser, StreamDoor};
use crate::deploy::{self, DeployId, Moves, Report, Which, go_on, visible, withdraw};
use crate::events::Origin;

/// As the person sees it; what is not theirs to see is not there.
pub async fn read(app: &App, user: &CurrentUser, id: DeployId) -> Result<Deploy> {
    let deploy = visible(app, user, id).await?;
    let mut db = app.db.acquire().await?;
    Ok(draw::deploy(app, Report::of(&mut db, deploy).await?))
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Only of this service.
    service: Option<String>,
    /// Only in this environment.
    environment: Option<String>,
    /// Only in this state; may be given more than once.
    state: Vec<String>,
    /// How many on a page.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Deploys
///
/// Every change that you may see, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/deploys",
    tag = "Deploys",
    params(Wanted),
    responses((status = 200, description = "A page of deploys", body = Page<Deploy>))
)]
pub async fn list(
    State(app): State<App>,
    user: CurrentUser,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<Deploy>>> {
    let part = ask::Part::asked(wanted.limit, wanted.cursor.as_deref())?;
    let states: Vec<&str> = wanted.state.iter().map(String::as_str).collect();
    let which = Which {
        service: wanted.service.as_deref(),
        environment: wanted.environment.as_deref(),
        states: &states,
        before: part.before,
    };
    let mut ids = deploy::numbers(&app, &user, &which, part.to_find()).await?;
    let next = part.cut(&mut ids);
    let mut db = app.db.acquire().await?;
    let reports = Report::of_all(&mut db, &ids).await?;
    let items = reports.into_iter().map(|report| draw::deploy(&app, report)).collect();
    Ok(Json(Page { items, next }))
}

/// One deploy
#[utoipa::path(
    get,
    path = "/api/v1/deploys/{id}",
    tag = "Deploys",
    params(
        ("id" = i64, Path, description = "Its number"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` you have"),
    ),
    responses(
        (status = 200, description = "The deploy", body = Deploy, headers(("ETag" = String, description = "For `If-None-Match` and `If-Match`"))),
        (status = 304, description = "It is as you have it"),
    )
)]
pub async fn show(
    State(app): State<App>,
    user: CurrentUser,
    headers: HeaderMap,
    Path(id): Path<DeployId>,
) -> Result<Response> {
    tagged(&headers, &read(&app, &user, id).await?)
}

/// Follow a deploy
///
/// An event `deploy` with the deploy as JSON, at once and whenever it changed. The stream ends after an ended one; one
/// that breaks off before is opened again.
#[utoipa::path(
    get,
    path = "/api/v1/deploys/{id}/events",
    tag = "Deploys",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"))
)]
pub async fn events(
    State(app): State<App>,
    user: CurrentUser,
    door: StreamDoor,
    Path(id): Path<DeployId>,
) -> Result<Response> {
    visible(&app, &user, id).await?;
    let moves = Moves::of(&app, id);
    let follow = Follow { app, user, id, moves, told: None };
    let events = stream::unfold(follow, |mut follow| async move {
        let event = follow.next().await?;
        Some((Ok::<_, Infallible>(event), follow))
    });
    Ok(door.open(events)?)
}

struct Follow {
    app: App,
    user: CurrentUser,
    id: DeployId,
    moves: Moves,
    told: Option<Deploy>,
}

impl Follow {
    /// The deploy, once it differs from what was told. None: the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            match &self.told {
                Some(told) if told.ended => return None,
                Some(_) if !self.moves.next().await => return None,
                Some(_) | None => {}
            }
            // Read anew each time: a right that is gone ends the stream.
            let deploy = read(&self.app, &self.user, self.id).await.ok()?;
            if self.told.as_ref() == Some(&deploy) {
                continue;
            }
            let data = serde_json::to_string(&deploy).ok()?;
            self.told = Some(deploy);
            let id = self.app.clock.now().as_millisecond().to_string();
            return Some(Event::default().event("deploy").id(id).data(data));
        }
    }
}

/// Withdraw a deploy
///
/// By who asked, while nothing was written. A migration that runs and a version that is tried beside what runs are stopped.
#[utoipa::path(
    post,
    path = "/api/v1/deploys/{id}/cancellation",
    tag = "Deploys",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "Withdrawn", body = Deploy))
)]
pub async fn cancel(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<DeployId>,
) -> Result<Json<Deploy>> {
    match withdraw(&app, &caller.user, &origin, id).await? {
        Ok(_) => Ok(Json(read(&app, &caller.user, id).await?)),
        Err(refusal) => Err(refuse(&refusal)),
    }
}

/// Let a deploy go on
///
/// A canary or blue-green that waits for a hand: by who asked, or by whoever could have approved it.
#[utoipa::path(
    post,
    path = "/api/v1/deploys/{id}/promotion",
    tag = "Deploys",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "It goes on", body = Deploy))
)]
pub async fn promote(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<DeployId>,
) -> Result<Json<Deploy>> {
    match go_on(&app, &caller.user, &origin, id).await? {
        Ok(_) => Ok(Json(read(&app, &caller.user, id).await?)),
        Err(refusal) => Err(refuse(&refusal)),
    }
}

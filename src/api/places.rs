//! A service in an environment: what runs there, what could, and what a deploy would do.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::tagged;
use super::ask::{self, Asked, Path};
use super::draw;
use super::problem::{Refused, Result};
use super::types::{Page, Plan, Status, Strategy, Version};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::catalogue::view;
use crate::deploy::{self, Rest, Wish, find_target};
use crate::web::Error;

/// What runs there
#[utoipa::path(
    get,
    path = "/api/v1/services/{name}/environments/{environment}",
    tag = "Services",
    params(("name" = String, Path, description = "Of the service"), ("environment" = String, Path, description = "Its name")),
    responses((status = 200, description = "Its state", body = Status))
)]
pub async fn status(
    State(app): State<App>,
    user: CurrentUser,
    headers: HeaderMap,
    Path((name, environment)): Path<(String, String)>,
) -> Result<Response> {
    let catalogue = app.catalogue.load();
    let (service, environment) = find_target(&app, &user, catalogue.service(&name), &environment).await?;
    let placed = view::placed(&app, &user, service, environment).await?;
    tagged(&headers, &draw::status(placed))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// How many on a page.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Versions to deploy
///
/// All that the registry has.
#[utoipa::path(
    get,
    path = "/api/v1/services/{name}/environments/{environment}/versions",
    tag = "Services",
    params(
        ("name" = String, Path, description = "Of the service"),
        ("environment" = String, Path, description = "Its name"),
        Wanted,
    ),
    responses((status = 200, description = "A page of versions, newest first", body = Page<Version>))
)]
pub async fn versions(
    State(app): State<App>,
    user: CurrentUser,
    Path((name, environment)): Path<(String, String)>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<Version>>> {
    let most = ask::limit(wanted.limit)?;
    let catalogue = app.catalogue.load();
    let (service, environment) = find_target(&app, &user, catalogue.service(&name), &environment).await?;
    let mut plan = deploy::plan(&app, &user, service, environment, &Wish::default()).await?;
    let rest = plan.offer_after(&app, service, wanted.cursor.as_deref(), most).await?;
    if let Some(why) = plan.no_versions {
        return Err(Error::Unavailable(why).into());
    }
    let items = draw::versions(plan);
    let next = match rest {
        Rest::More => items.last().map(|last| last.version.clone()),
        Rest::None => None,
        Rest::Unknown => return Err(Refused::field("cursor", ask::NO_CURSOR)),
    };
    Ok(Json(Page { items, next }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Choice {
    /// A tag, a digest, or a whole image reference.
    version: String,
    /// As if the image field were taken over from its owner.
    #[serde(default)]
    take_over: bool,
    /// `rolling`, `blue-green` or `canary`. Absent: as the environment has it.
    strategy: Option<Strategy>,
}

/// What a deploy would do
///
/// Checked now, as you: rights, the image, a dry run in the cluster, quota. A plan that is refused is answered as well;
/// its checks say why.
#[utoipa::path(
    get,
    path = "/api/v1/services/{name}/environments/{environment}/plan",
    tag = "Changes",
    params(
        ("name" = String, Path, description = "Of the service"),
        ("environment" = String, Path, description = "Its name"),
        Choice,
    ),
    responses((status = 200, description = "The plan", body = Plan))
)]
pub async fn plan(
    State(app): State<App>,
    user: CurrentUser,
    Path((name, environment)): Path<(String, String)>,
    Asked(choice): Asked<Choice>,
) -> Result<Json<Plan>> {
    let catalogue = app.catalogue.load();
    let (service, environment) = find_target(&app, &user, catalogue.service(&name), &environment).await?;
    let wish = Wish {
        version: Some(&choice.version),
        take_over: choice.take_over,
        way: choice.strategy.map(Strategy::way),
        ..Wish::default()
    };
    let plan = deploy::plan(&app, &user, service, environment, &wish).await?;
    Ok(Json(draw::plan(plan)))
}

//! The catalogue with what runs where.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::remembered;
use super::ask::{self, Asked, Path};
use super::draw;
use super::problem::Result;
use super::types::{Page, Service, ServiceDetail};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::catalogue::view;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
#[derive(Default)]
pub struct Wanted {
    /// Words to look for in names, owners, tags and descriptions; typing errors are forgiven.
    q: String,
    /// Only services of this team.
    team: Option<String>,
    /// How many on a page.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Services
///
/// By name, with their state in every environment that you may look into.
#[utoipa::path(
    get,
    path = "/api/v1/services",
    tag = "Services",
    params(Wanted),
    responses((status = 200, description = "A page of services", body = Page<Service>))
)]
pub async fn list(
    State(app): State<App>,
    user: CurrentUser,
    headers: HeaderMap,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response> {
    let most = ask::limit(wanted.limit)?;
    remembered(&app, &user, &headers, format!("services {wanted:?}"), async {
        let asked = view::Wanted {
            typed: &wanted.q,
            team: wanted.team.as_deref(),
            after: wanted.cursor.as_deref(),
            most,
        };
        let (views, more) = view::some(&app, &user, asked).await?;
        let items: Vec<_> = views.into_iter().map(|view| draw::service(&app, view)).collect();
        let next = items.last().filter(|_| more).map(|service| service.name.clone());
        Ok(Page { items, next })
    })
    .await
}

/// One service
///
/// An unknown name is answered with the nearest ones.
#[utoipa::path(
    get,
    path = "/api/v1/services/{name}",
    tag = "Services",
    params(("name" = String, Path, description = "Of the service")),
    responses((status = 200, description = "The service", body = ServiceDetail))
)]
pub async fn show(
    State(app): State<App>,
    user: CurrentUser,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response> {
    remembered(&app, &user, &headers, format!("service {name}"), async {
        Ok(draw::service_detail(&app, view::one(&app, &user, &name).await?))
    })
    .await
}

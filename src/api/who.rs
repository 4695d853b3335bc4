//! Who asks, and where things run.

use axum::Json;
use axum::extract::State;

use super::ask::Caller;
use super::draw;
use super::problem::Result;
use super::types::{Environment, Page, WhoAmI};
use crate::app::App;
use crate::auth::machine;

/// Who you are
///
/// As the portal and the clusters know you, and the token you ask with.
#[utoipa::path(
    get,
    path = "/api/v1/whoami",
    tag = "You",
    responses((status = 200, description = "You", body = WhoAmI))
)]
pub async fn whoami(State(app): State<App>, caller: Caller) -> Json<WhoAmI> {
    let person = &caller.user.0;
    let machine = machine::of(&app.config, &person.identity);
    let environments = machine.map(|machine| machine.environments.as_slice()).unwrap_or_default();
    Json(WhoAmI {
        username: person.username.clone(),
        name: person.name.clone(),
        groups: person.groups.iter().cloned().collect(),
        issuer: person.identity.issuer.clone(),
        subject: person.identity.subject.clone(),
        machine: machine.is_some(),
        team: machine.map(|machine| machine.team.clone()),
        environments: environments.iter().map(|name| name.get_ref().clone()).collect(),
        token: caller.token.as_deref().map(draw::token),
    })
}

/// Environments
///
/// In the order of the portal's configuration, all on one page.
#[utoipa::path(
    get,
    path = "/api/v1/environments",
    tag = "Services",
    responses((status = 200, description = "Every environment", body = Page<Environment>))
)]
pub async fn environments(State(app): State<App>) -> Result<Json<Page<Environment>>> {
    let items = app
        .config
        .environments
        .iter()
        .map(|environment| Environment {
            name: environment.name().into(),
            production: environment.production,
            approvals: environment.approvals,
            cluster: environment.cluster.get_ref().clone(),
        })
        .collect();
    Ok(Json(Page { items, next: None }))
}

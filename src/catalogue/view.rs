//! Services with what runs where, as one person may see it: what programs are told.

use jiff::Timestamp;

use super::board::Overview;
use super::last::{self, Last, Lasts};
use super::list::Filter;
use super::service::Service;
use super::sight;
use crate::app::App;
use crate::auth::{CurrentUser, Person};
use crate::config::Environment;
use crate::kube::{EnvironmentStatus, Target};
use crate::web::Result;

pub struct View {
    pub service: Service,
    /// Where the person may look, in the order of the configuration.
    pub places: Vec<Placed>,
}

/// A service in an environment.
pub struct Placed {
    pub target: Target,
    pub production: bool,
    pub status: EnvironmentStatus,
    /// What runs or waits there now, else what landed last.
    pub last: Option<Last>,
}

/// What to list, by name.
pub struct Wanted<'a> {
    pub typed: &'a str,
    pub team: Option<&'a str>,
    /// Only names after this one.
    pub after: Option<&'a str>,
    pub most: usize,
}

/// One service.
pub async fn one(app: &App, user: &CurrentUser, name: &str) -> Result<View> {
    let (overview, n) = app.pages.find(app, user, name).await?;
    let lasts = last::lasts(app, &overview, &[n]).await?;
    Ok(view(app, user, &overview, n, &lasts, sight::FOR_PAGES).await)
}

/// Some of them, and whether there are more.
pub async fn some(app: &App, user: &CurrentUser, wanted: Wanted<'_>) -> Result<(Vec<View>, bool)> {
    let overview = app.pages.overview(app, user).await?;
    let catalogue = &overview.board.catalogue;
    let mut found = Filter::by_name(wanted.typed, wanted.team).matching(catalogue, &overview);
    if let Some(after) = wanted.after {
        found.retain(|n| catalogue.services()[*n as usize].name.as_str() > after);
    }
    let more = found.len() > wanted.most;
    found.truncate(wanted.most);
    let lasts = last::lasts(app, &overview, &found).await?;
    let views = found.iter().map(|n| view(app, user, &overview, *n, &lasts, sight::FOR_LISTS));
    Ok((futures::future::join_all(views).await, more))
}

/// One service in one environment. The person may look into it.
pub async fn placed(
    app: &App,
    user: &CurrentUser,
    service: &Service,
    environment: &Environment,
) -> Result<Placed> {
    let (overview, n) = app.pages.find(app, user, &service.name).await?;
    let lasts = last::lasts(app, &overview, &[n]).await?;
    Ok(Placed::at(app, Target::new(service, environment), environment, &lasts, app.clock.now()))
}

async fn view(
    app: &App,
    person: &Person,
    overview: &Overview,
    n: u32,
    lasts: &Lasts,
    fresh: std::time::Duration,
) -> View {
    let service = &overview.board.catalogue.services()[n as usize];
    let now = app.clock.now();
    let mut places = Vec::with_capacity(app.config.environments.len());
    for environment in &app.config.environments {
        let target = Target::new(service, environment);
        let place = (target.cluster.as_str(), target.namespace.as_str());
        if app.pages.sight.sees(app, person, place, fresh).await == Some(true) {
            places.push(Placed::at(app, target, environment, lasts, now));
        }
    }
    View { service: service.clone(), places }
}

impl Placed {
    fn at(app: &App, target: Target, environment: &Environment, lasts: &Lasts, now: Timestamp) -> Self {
        let status = app.watch(&target.cluster).status(&target, now);
        let of_service = lasts.get(&target.service).map(Vec::as_slice).unwrap_or_default();
        let last = of_service.iter().find(|last| last.is_at(&target)).cloned();
        Self { target, production: environment.production, status, last }
    }
}

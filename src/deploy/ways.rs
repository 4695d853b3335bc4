//! Whether a new version can take over in the way that was picked, asked of the cluster as the person: what stands in
//! the way of a second Deployment beside the workload, and of leading traffic to it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota, Service};
use kube::api::ListParams;

use super::checks::{self, Check};
use super::deploy::{ImageChange, Place};
use super::errors;
use super::found::{self, Found};
use super::plan::Wish;
use super::strategy::{self, Around, Beside, Strategy};
use super::wording;
use crate::app::App;
use crate::auth::{CurrentUser, access};
use crate::config::{Environment, Strategy as Kind};
use crate::kube::beside::stands_beside;
use crate::kube::{LiveWorkload, UserClient, Wanted, WorkloadKind, dry_run, ownership};
use crate::web::Result;

/// Where it is asked, and as whom.
pub(super) struct Here<'a> {
    pub app: &'a App,
    pub user: &'a CurrentUser,
    /// For dry runs.
    pub client: &'a UserClient,
    pub environment: &'a Environment,
    pub place: &'a Place,
}

/// Whether there is a choice: a Deployment runs, and what comes is no earlier release.
pub(super) fn offered(workload: &Found, wish: &Wish<'_>) -> bool {
    matches!(workload.live(), Some(LiveWorkload::Deployment(_))) && wish.release.is_none()
}

/// The way in full, and the checks that say whether it can be gone. Where nothing runs yet there is one way only.
pub(super) async fn find(
    here: &Here<'_>,
    live: &Deployment,
    change: &ImageChange,
    kind: Kind,
) -> Result<(Strategy, Vec<Check>)> {
    let Here { client, environment, place, .. } = here;
    if kind == Kind::Rolling {
        // Its soak is where its requests are watched.
        let limit = environment.errors.as_ref().filter(|_| !environment.soak().is_zero());
        let watched = match limit {
            Some(limit) => vec![errors::check(here.app, place, &change.workload, kind, limit).await],
            None => Vec::new(),
        };
        return Ok((Strategy::Rolling, watched));
    }
    let all = ListParams::default();
    let (services, autoscalers, quotas, limits) = (
        client.api::<Service>(&place.namespace),
        client.api::<HorizontalPodAutoscaler>(&place.namespace),
        client.api::<ResourceQuota>(&place.namespace),
        client.api::<LimitRange>(&place.namespace),
    );
    let (services, autoscalers, quotas, limits) =
        tokio::join!(services.list(&all), autoscalers.list(&all), quotas.list(&all), limits.list(&all));
    let away = found::away_from(&place.cluster);
    let (services, autoscalers) = (services.map_err(&away)?.items, autoscalers.map_err(&away)?.items);
    let autoscaler = ownership::autoscaler(&autoscalers, WorkloadKind::Deployment, &change.workload);
    let around = around(live, change, &services, autoscaler);
    let found = match kind {
        Kind::BlueGreen => around.blue_green(),
        Kind::Canary | Kind::Rolling => around.canary(),
    };
    let impossible =
        |why: String| Check::bad(wording::not_this_way(kind), why, Some(wording::PICK_ROLLING.into()));
    let beside = match found {
        Ok(beside) => beside,
        Err(why) => return Ok((Strategy::Rolling, vec![impossible(why)])),
    };
    let mut checks = Vec::new();
    if kind == Kind::BlueGreen
        && let Some(why) = kept(&beside, &services, autoscaler)
    {
        checks.push(impossible(why));
    }
    checks.extend(rights(here, kind, &beside).await?);

    let strategy = match kind {
        Kind::BlueGreen => Strategy::BlueGreen { beside, pause: environment.blue_green.pause },
        Kind::Canary | Kind::Rolling => Strategy::Canary { beside, steps: environment.canary.clone() },
    };
    if let (Some(beside), true) = (strategy.beside(), checks.is_empty()) {
        let running = live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let most = most_pods(&strategy, running);
        let (quotas, limits) = (
            quotas.map(|list| list.items).unwrap_or_default(),
            limits.map(|list| list.items).unwrap_or_default(),
        );
        checks.extend(checks::room(
            &LiveWorkload::Deployment(live.clone()),
            most,
            &quotas,
            &limits,
            &place.namespace,
        ));
        let object = serde_json::to_value(live)?;
        let object = strategy::track(change, beside, &place.namespace, &object, most);
        for tried in dry_run::dry_run(client, &[object], false).await {
            checks.push(match tried.after {
                _ if tried.live.as_ref().is_some_and(|live| !stands_beside(live)) => {
                    impossible(wording::name_is_taken(&beside.name))
                }
                Ok(_) => Check::ok(
                    wording::would_stand_beside(beside, &tried.before),
                    wording::steps(&strategy, running),
                ),
                Err(refusal) => impossible(refusal.sentence()),
            });
        }
        if let Some(limit) = &environment.errors {
            checks.push(errors::check(here.app, place, &change.workload, kind, limit).await);
        }
    }
    Ok((strategy, checks))
}

/// How many pods stand beside the workload at most.
fn most_pods(strategy: &Strategy, running: i32) -> i32 {
    let steps = match strategy {
        Strategy::Canary { steps, .. } => steps.len(),
        Strategy::Rolling | Strategy::BlueGreen { .. } => 1,
    };
    (0..steps).map(|step| strategy.pods(step, running)).max().unwrap_or_default()
}

fn around(
    live: &Deployment,
    change: &ImageChange,
    services: &[Service],
    autoscaler: Option<&HorizontalPodAutoscaler>,
) -> Around {
    let spec = live.spec.clone().unwrap_or_default();
    let selector_of = |service: &Service| {
        let selector = service.spec.as_ref()?.selector.clone()?;
        Some((service.metadata.name.clone()?, selector))
    };
    Around {
        workload: change.workload.clone(),
        selector: spec.selector.match_labels.unwrap_or_default(),
        pods: spec.template.metadata.and_then(|metadata| metadata.labels).unwrap_or_default(),
        services: services.iter().filter_map(selector_of).collect(),
        autoscaler: autoscaler.and_then(|found| found.metadata.name.clone()),
    }
}

/// Who would lead the traffic, or the autoscaler, back at once.
fn kept(
    beside: &Beside,
    services: &[Service],
    autoscaler: Option<&HorizontalPodAutoscaler>,
) -> Option<String> {
    let ours = |service: &&Service| {
        service.metadata.name.as_ref().is_some_and(|name| beside.services.contains(name))
    };
    let keeper = services.iter().filter(ours).find_map(|service| ownership::keeper(&service.metadata));
    let keeper = keeper.or_else(|| ownership::keeper(&autoscaler?.metadata));
    if let Some(gitops) = keeper {
        return Some(wording::kept_by(&gitops));
    }
    let owner = autoscaler?
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))?;
    Some(wording::autoscaler_is_owned(&owner.kind, &owner.name))
}

/// What the person needs to be allowed beside changing the workload. Empty: everything is.
async fn rights(here: &Here<'_>, kind: Kind, beside: &Beside) -> Result<Vec<Check>> {
    let Here { app, user, place, .. } = here;
    let mut needed = vec![("create", "apps", "deployments"), ("delete", "apps", "deployments")];
    if kind == Kind::BlueGreen {
        needed.push(("patch", "", "services"));
        if beside.autoscaler.is_some() {
            needed.push(("patch", "autoscaling", "horizontalpodautoscalers"));
        }
    }
    for (verb, group, resource) in needed {
        let namespace = place.namespace.as_str();
        let wanted = Wanted { verb, group, resource, subresource: None, namespace, name: None };
        if !access::review(app, user, &place.cluster, wanted).await?.allowed {
            let detail = format!("It needs the right to {verb} {resource} in {namespace}.");
            let help = checks::who_grants(app, &place.team);
            return Ok(vec![Check::bad(wording::not_this_way(kind), detail, Some(help))]);
        }
    }
    Ok(Vec::new())
}

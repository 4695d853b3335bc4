//! Writing a deploy into the cluster, as the person who asked. One generation-changing write of the workload per deploy
//! (and one more where it is put back), safe to repeat, and never onto something newer than what was looked at.

use serde_json::Value;

use super::deploy::{Action, Deploy, ImageChange, Size};
use super::look::{self, Look};
use super::shift::watched_until;
use super::state::{Event, Stage, State};
use super::strategy::{self, Beside, Strategy};
use crate::app::App;
use crate::kube::apply::{self, Applied, Fence, Marks};
use crate::kube::stuck::{self, Given};
use crate::kube::{self, Refusal, UserClient, WorkloadRef, job};

/// How a write ended.
pub enum Wrote {
    Done(Event),
    /// The cluster said no; the sentence says why and what to do.
    Refused(String),
    /// No answer, or too early: look again.
    Unknown(String),
}

/// `fence` says whether the deploy still is ours, right before each request that changes something.
pub async fn write(app: &App, deploy: &Deploy, seen: &Look, fence: &impl Fence) -> Wrote {
    let user = match look::client(app, deploy) {
        Ok(user) => user,
        Err(error) => {
            return Wrote::Refused(format!("No cluster can be asked in the requester’s name: {error}."));
        }
    };
    if let State::RollingBack { to, .. } = &deploy.state {
        return match images(&user, deploy, to, &deploy.back_marker(), seen, fence).await {
            Ok(applied) => Wrote::Done(Event::WrittenBack { generation: applied.generation }),
            Err(refusal) if refusal.retryable() => Wrote::Unknown(refusal.sentence()),
            Err(refusal) => Wrote::Refused(refusal.sentence()),
        };
    }
    if let State::Shifting { step, stage, .. } = &deploy.state {
        return match beside(&user, app, deploy, *step, stage, fence).await {
            Ok(event) => Wrote::Done(event),
            Err(refusal) if refusal.retryable() => Wrote::Unknown(refusal.sentence()),
            Err(refusal) => Wrote::Refused(refusal.sentence()),
        };
    }
    let written = match &deploy.action {
        Action::Deploy(change) | Action::RollBack { change, .. } => {
            images(&user, deploy, change, &deploy.marker(), seen, fence)
                .await
                .map(|applied| applied.generation)
        }
        Action::Restart { .. } => {
            // The time of the request, not of the write: a repeated write must be the same write.
            let at = deploy.action.at(&deploy.place.namespace);
            let patch = apply::restart_patch(at, &deploy.marker(), deploy.requested);
            let applied = apply::apply(&user, &patch, apply::RESTART_MANAGER, fence).await;
            applied.map(|applied| applied.generation)
        }
        Action::Scale { from, to, .. } => {
            let at = deploy.action.at(&deploy.place.namespace);
            scale(&user, at, from, to, fence).await.map(|applied| applied.generation)
        }
        Action::Migrate(migration) => {
            // Nothing ever changes a Job's generation.
            job::create(&user, &migration.job_of(deploy.id, deploy.approval()), fence).await.map(|()| 1)
        }
    };
    match written {
        Ok(generation) => Wrote::Done(Event::Written {
            generation,
            marked: !matches!(deploy.action, Action::Scale { .. }),
            took_over: deploy.action.change().and_then(|change| change.take_over.clone()),
        }),
        // The size moved since the person saw it; what they asked for is no longer what they meant.
        Err(refusal @ Refusal::Stale { .. }) if matches!(deploy.action, Action::Scale { .. }) => {
            Wrote::Refused(refusal.sentence())
        }
        Err(refusal) if refusal.retryable() => Wrote::Unknown(refusal.sentence()),
        Err(refusal) => Wrote::Refused(refusal.sentence()),
    }
}

/// The next write of a version that proves itself beside what runs: its pods, then the traffic.
async fn beside(
    user: &UserClient,
    app: &App,
    deploy: &Deploy,
    step: usize,
    stage: &Stage,
    fence: &impl Fence,
) -> Result<Event, Refusal> {
    let namespace = &deploy.place.namespace;
    let (Some(change), Some(beside)) = (deploy.action.change(), deploy.beside()) else {
        return Err(Refusal::Invalid { fields: Vec::new(), message: "nothing stands beside it".into() });
    };
    if !matches!(stage, Stage::Sizing) {
        let to = (beside.label.as_str(), beside.value.as_str());
        kube::beside::lead(user, namespace, &beside.services, to, fence).await?;
        if let Some(autoscaler) = &beside.autoscaler {
            kube::beside::retarget(user, namespace, autoscaler, &beside.name, fence).await?;
        }
        return Ok(Event::Switched { until: watched_until(deploy, app.clock.now()) });
    }
    let gone = || Refusal::NotFound { kind: "Deployment".into(), name: change.workload.clone() };
    let live = kube::beside::live(user, namespace, &change.workload).await?.ok_or_else(gone)?;
    let running = live["spec"]["replicas"].as_i64().and_then(|now| i32::try_from(now).ok()).unwrap_or(1);
    let pods = change.strategy.pods(step, running);
    let object = strategy::track(change, beside, namespace, &live, pods);
    let applied = kube::beside::apply(user, &object, &marks(deploy, deploy.beside_marker()), fence).await?;
    Ok(Event::BesideWritten { generation: applied.generation, pods })
}

/// Takes away what the deploy made and what is not needed any more, as the person who asked: a migration's Job, or what
/// stands beside the workload, once the traffic is back. What is gone already is fine.
pub async fn take_away(app: &App, deploy: &Deploy, fence: &impl Fence) -> Result<(), Refusal> {
    if deploy.action.migration().is_some() {
        return stop(app, deploy).await;
    }
    let Some(beside) = deploy.beside() else { return Ok(()) };
    let user =
        look::client(app, deploy).map_err(|error| Refusal::Other { code: 0, message: error.to_string() })?;
    let (namespace, workload) = (&deploy.place.namespace, deploy.action.workload());
    if let (Some(Strategy::BlueGreen { .. }), Some(was)) =
        (deploy.action.change().map(|change| &change.strategy), &beside.was)
    {
        kube::beside::lead(&user, namespace, &beside.services, (&beside.label, was), fence).await?;
        if let Some(autoscaler) = &beside.autoscaler {
            kube::beside::retarget(&user, namespace, autoscaler, workload, fence).await?;
        }
    }
    kube::beside::delete(&user, namespace, &beside.name, workload, fence).await
}

/// What [`take_away`] takes away, for people.
pub fn made_beside(deploy: &Deploy) -> String {
    match deploy.beside() {
        Some(beside) => format!("The Deployment {}", beside.name),
        None => format!("Its Job {}", deploy.job_name().unwrap_or_default()),
    }
}

/// Takes a migration's Job away, as the person who asked. What is gone already is fine.
pub async fn stop(app: &App, deploy: &Deploy) -> Result<(), Refusal> {
    let Some(name) = deploy.job_name() else { return Ok(()) };
    let user =
        look::client(app, deploy).map_err(|error| Refusal::Other { code: 0, message: error.to_string() })?;
    let namespace = &deploy.place.namespace;
    match job::find(&user, namespace, &name).await? {
        Some(found) if job::carries_marker(&found, &deploy.marker()) => {
            job::delete(&user, namespace, &found).await
        }
        Some(_) | None => Ok(()),
    }
}

fn marks(deploy: &Deploy, marker: String) -> Marks {
    Marks { deploy: Some(marker), approval: deploy.approval().map(Into::into) }
}

async fn images(
    user: &UserClient,
    deploy: &Deploy,
    change: &ImageChange,
    marker: &str,
    seen: &Look,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    let marks = marks(deploy, marker.into());
    // Until the workload runs it, the traffic stays where it is.
    let green = match deploy.action.change().map(|change| &change.strategy) {
        Some(Strategy::BlueGreen { beside, .. }) => Some(beside),
        Some(Strategy::Rolling | Strategy::Canary { .. }) | None => None,
    };
    if let Some(beside) = green.filter(|beside| beside.autoscaler.is_some()) {
        as_large(user, deploy, change, beside, fence).await?;
    }
    if change.is_managed() {
        let objects = green.map(|beside| strategy::while_green(&change.objects, beside));
        let objects = objects.as_ref().unwrap_or(&change.objects);
        let applied = apply::apply_managed(user, objects, &marks, fence).await?;
        let gone = || Refusal::NotFound { kind: "Deployment".into(), name: change.workload.clone() };
        return applied.into_iter().find(|object| object.kind == "Deployment").ok_or_else(gone);
    }
    // An apply gives up what it leaves out, so it names every image the portal owns, not only the new ones.
    let mut images = seen.workload.as_ref().map(apply::owned_images).unwrap_or_default();
    images.extend(change.images.clone());
    let (at, replaces) = (change.at(&deploy.place.namespace), &change.replaces);
    let applied = match &change.take_over {
        // The one write with force, agreed to on the form. Every later one goes without.
        Some(agreed) => apply::take_over(user, at, &images, replaces, agreed, &marks, fence).await?,
        None => apply::set_images(user, at, &images, replaces, &marks, fence).await?,
    };
    if let Some(live) = &seen.workload {
        let pods = stuck::in_the_way(user, live, &change.images, given(deploy)).await?;
        stuck::clear(user, &pods, fence).await?;
    }
    Ok(applied)
}

/// Whether what runs now is known to be no good.
pub(super) fn given(deploy: &Deploy) -> Given {
    match (&deploy.state, &deploy.action) {
        (State::RollingBack { .. }, _) | (_, Action::RollBack { .. }) => Given::Back,
        _ => Given::Forward,
    }
}

/// The autoscaler has sized what stands beside while it had the traffic. The workload gets as many pods before the
/// traffic comes back: nobody else sets its size meanwhile.
async fn as_large(
    user: &UserClient,
    deploy: &Deploy,
    change: &ImageChange,
    beside: &Beside,
    fence: &impl Fence,
) -> Result<(), Refusal> {
    let namespace = &deploy.place.namespace;
    let size = |found: Option<Value>| {
        let replicas = found.and_then(|found| found["spec"]["replicas"].as_i64());
        replicas.and_then(|replicas| i32::try_from(replicas).ok()).unwrap_or(1)
    };
    let now = size(kube::beside::live(user, namespace, &change.workload).await?);
    let needed = size(kube::beside::live(user, namespace, &beside.name).await?);
    if needed > now {
        apply::scale(user, change.at(namespace), now, needed, fence).await?;
    }
    Ok(())
}

async fn scale(
    user: &UserClient,
    at: WorkloadRef<'_>,
    from: &Size,
    to: &Size,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    match (from, to) {
        (Size::Replicas { replicas: seen }, Size::Replicas { replicas }) => {
            apply::scale(user, at, *seen, *replicas, fence).await
        }
        (Size::Autoscaler { min, max, .. }, Size::Autoscaler { name, min: new_min, max: new_max }) => {
            apply::set_bounds(user, at.namespace, name, (*min, *max), (*new_min, *new_max), fence).await
        }
        (Size::Replicas { .. }, Size::Autoscaler { .. })
        | (Size::Autoscaler { .. }, Size::Replicas { .. }) => {
            Err(Refusal::Stale { message: "an autoscaler came or went since this was asked for".into() })
        }
    }
}

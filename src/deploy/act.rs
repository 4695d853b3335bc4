//! Writing a deploy into the cluster, as the person who asked. One generation-changing write per deploy, safe to
//! repeat, and never onto something newer than what was looked at.

use super::deploy::{Action, Deploy, Event, ImageChange, Size, State};
use super::look::{self, Look};
use crate::app::App;
use crate::kube::apply::{self, Applied, Fence, Marks};
use crate::kube::{Refusal, UserClient, job};

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
    let written = match &deploy.action {
        Action::Deploy(change) | Action::RollBack { change, .. } => {
            images(&user, deploy, change, &deploy.marker(), seen, fence)
                .await
                .map(|applied| applied.generation)
        }
        Action::Restart { workload } => {
            // The time of the request, not of the write: a repeated write must be the same write.
            let patch =
                apply::restart_patch(&deploy.place.namespace, workload, &deploy.marker(), deploy.requested);
            let applied = apply::apply(&user, &patch, apply::RESTART_MANAGER, fence).await;
            applied.map(|applied| applied.generation)
        }
        Action::Scale { workload, from, to } => {
            scale(&user, deploy, workload, from, to, fence).await.map(|applied| applied.generation)
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

async fn images(
    user: &UserClient,
    deploy: &Deploy,
    change: &ImageChange,
    marker: &str,
    seen: &Look,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    let marks = Marks { deploy: Some(marker.into()), approval: deploy.approval().map(Into::into) };
    if change.is_managed() {
        let applied = apply::apply_managed(user, &change.objects, &marks, fence).await?;
        let gone = || Refusal::NotFound { kind: "Deployment".into(), name: change.workload.clone() };
        return applied.into_iter().find(|object| object.kind == "Deployment").ok_or_else(gone);
    }
    // An apply gives up what it leaves out, so it names every image the portal owns, not only the new ones.
    let mut images = seen.workload.as_ref().map(apply::owned_images).unwrap_or_default();
    images.extend(change.images.clone());
    let (namespace, workload) = (&deploy.place.namespace, &change.workload);
    let replaces = &change.replaces;
    match &change.take_over {
        // The one write with force, agreed to on the form. Every later one goes without.
        Some(agreed) => {
            apply::take_over(user, namespace, workload, &images, replaces, agreed, &marks, fence).await
        }
        None => apply::set_images(user, namespace, workload, &images, replaces, &marks, fence).await,
    }
}

async fn scale(
    user: &UserClient,
    deploy: &Deploy,
    workload: &str,
    from: &Size,
    to: &Size,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    let namespace = &deploy.place.namespace;
    match (from, to) {
        (Size::Replicas { replicas: seen }, Size::Replicas { replicas }) => {
            apply::scale(user, namespace, workload, *seen, *replicas, fence).await
        }
        (Size::Autoscaler { min, max, .. }, Size::Autoscaler { name, min: new_min, max: new_max }) => {
            apply::set_bounds(user, namespace, name, (*min, *max), (*new_min, *new_max), fence).await
        }
        (Size::Replicas { .. }, Size::Autoscaler { .. })
        | (Size::Autoscaler { .. }, Size::Replicas { .. }) => {
            Err(Refusal::Stale { message: "an autoscaler came or went since this was asked for".into() })
        }
    }
}

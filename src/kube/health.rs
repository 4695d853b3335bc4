//! Health in one word, by the rules that Argo CD has taught everybody (gitops-engine, pkg/health). A thing is as
//! healthy as its worst part: a workload as it, its ReplicaSets and its pods.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};

use super::pod::{self, Doing};
use super::rollout::{self, Observed, Rollout};
use super::status::Health;
use super::workload::{LiveWorkload, MakesPods};

/// A workload with its ReplicaSets and pods.
pub fn of_workload(observed: &Observed) -> Health {
    let Some(workload) = &observed.workload else { return Health::Missing };
    let own = by_itself(workload);
    if workload.metadata().deletion_timestamp.is_some() {
        return own;
    }
    let sets = observed.newest().into_iter().map(of_replica_set);
    // A pod on its way out, or evicted and still listed, is no longer part of it: another takes its place.
    let counted = observed
        .pods
        .iter()
        .filter(|pod| !matches!(pod::doing(pod, &[]), Doing::Stopping | Doing::Evicted { .. }));
    sets.chain(counted.map(of_pod)).fold(own, Health::min)
}

fn by_itself(workload: &LiveWorkload) -> Health {
    if workload.metadata().deletion_timestamp.is_some() {
        return Health::Progressing;
    }
    if workload.is_paused() {
        return Health::Suspended;
    }
    match rollout::workload_status(workload) {
        Rollout::Done => Health::Healthy,
        Rollout::Waiting(_) => Health::Progressing,
        Rollout::Failed(_) => Health::Degraded,
        Rollout::Paused => Health::Suspended,
        Rollout::Gone => Health::Missing,
        Rollout::Superseded { .. } => Health::Progressing,
    }
}

pub fn of_replica_set(set: &ReplicaSet) -> Health {
    let conditions = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut failures = conditions.filter(|it| it.type_ == "ReplicaFailure" && it.status == "True");
    if failures.next().is_some() { Health::Degraded } else { Health::Healthy }
}

pub fn of_pod(pod: &Pod) -> Health {
    match pod::doing(pod, &[]) {
        Doing::PullFails { .. }
        | Doing::Misconfigured { .. }
        | Doing::CannotStart { .. }
        | Doing::Crashes(_)
        | Doing::Evicted { .. } => Health::Degraded,
        Doing::Stopping
        | Doing::Unscheduled { .. }
        | Doing::Creating { .. }
        | Doing::Unready { .. }
        | Doing::Gated { .. }
        | Doing::Unknown => Health::Progressing,
        Doing::Ready { .. } | Doing::Finished => Health::Healthy,
    }
}

pub fn of_job(job: &Job) -> Health {
    if job.metadata.deletion_timestamp.is_some() {
        return Health::Progressing;
    }
    let conditions = || job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let holds = |kind: &str| conditions().any(|it| it.type_ == kind && it.status == "True");
    if holds("Failed") {
        Health::Degraded
    } else if holds("Complete") {
        Health::Healthy
    } else if holds("Suspended") {
        Health::Suspended
    } else {
        Health::Progressing
    }
}

/// Only one that waits for an address from outside can be unfinished.
pub fn of_service(service: &Service) -> Health {
    if service.metadata.deletion_timestamp.is_some() {
        return Health::Progressing;
    }
    let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress =
        balancer.and_then(|balancer| balancer.ingress.as_ref()).is_some_and(|ingress| !ingress.is_empty());
    if kind == Some("LoadBalancer") && !ingress { Health::Progressing } else { Health::Healthy }
}

pub fn of_volume_claim(claim: &PersistentVolumeClaim) -> Health {
    if claim.metadata.deletion_timestamp.is_some() {
        return Health::Progressing;
    }
    match claim.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Bound") => Health::Healthy,
        Some("Pending") => Health::Progressing,
        Some("Lost") => Health::Degraded,
        _ => Health::Unknown,
    }
}

/// Failures are looked for in every condition first: an autoscaler that reads one of two metrics says
/// "able to scale" and fails all the same.
pub fn of_autoscaler(autoscaler: &HorizontalPodAutoscaler) -> Health {
    if autoscaler.metadata.deletion_timestamp.is_some() {
        return Health::Progressing;
    }
    let conditions = || autoscaler.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let failing = conditions().any(|it| {
        let reason = it.reason.as_deref().unwrap_or_default();
        it.status == "False" && (reason.starts_with("Failed") || reason.starts_with("Invalid"))
    });
    if failing {
        return Health::Degraded;
    }
    let able = conditions()
        .any(|it| (it.type_ == "AbleToScale" || it.type_ == "ScalingLimited") && it.status == "True");
    if able { Health::Healthy } else { Health::Progressing }
}

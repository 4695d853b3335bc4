//! A StatefulSet that replaces its pods in order waits until the one it is at is ready, and one that can't get ready keeps it
//! waiting for ever: a better template, or the old one put back, changes nothing (kubernetes/kubernetes#67250). So what
//! stands in the way is deleted, as the person, and comes back of the new template.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};

use super::apply::Fence;
use super::call::{self, Place};
use super::observe::{owned, selected_by};
use super::pod::{self, Doing};
use super::refusal::Refusal;
use super::workload::{LiveWorkload, MakesPods as _, Reach};
use super::{CALL_TIMEOUT, UserClient};

/// Which pods of older images can be told to be in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Going on to a new version: only pods that fail for all to see. One that is not ready yet may be at work.
    Forward,
    /// Going back from a version that does not do: its pods that are not ready, too.
    Back,
}

/// Pods that would keep these images from rolling out.
pub async fn in_the_way(
    user: &UserClient,
    workload: &LiveWorkload,
    images: &BTreeMap<String, String>,
    given: Given,
) -> Result<Vec<Pod>, Refusal> {
    if !waits(workload) {
        return Ok(Vec::new());
    }
    let namespace = workload.metadata().namespace.as_deref().unwrap_or_default();
    let call = user.api::<Pod>(namespace);
    let params = selected_by(workload);
    let pods =
        tokio::time::timeout(CALL_TIMEOUT, call.list(&params)).await.map_err(|_| Refusal::Timeout)??;
    let pods = owned(pods.items, &[workload.uid()]);
    let in_the_way =
        |pod: &Pod| is_reached(pod, workload.reach()) && is_older(pod, images) && is_hopeless(pod, given);
    Ok(pods.into_iter().filter(in_the_way).collect())
}

/// Deletes them. One that is gone, or another by now, is left alone; so are all where the person may not delete: the
/// rollout then says which pod it waits for.
pub async fn clear(user: &UserClient, pods: &[Pod], fence: &impl Fence) -> Result<(), Refusal> {
    for pod in pods {
        let (name, namespace) = (&pod.metadata.name, &pod.metadata.namespace);
        let place =
            Place::new("Pod", namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default())?;
        fence.stands().await?;
        let only_this = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
        match call::send(user, place.request().delete(&place.name, &params)).await {
            Err(refusal) if refusal.retryable() && !matches!(refusal, Refusal::Stale { .. }) => {
                return Err(refusal);
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

fn waits(workload: &LiveWorkload) -> bool {
    let LiveWorkload::StatefulSet(set) = workload else { return false };
    let in_order =
        set.spec.as_ref().and_then(|spec| spec.pod_management_policy.as_deref()) != Some("Parallel");
    in_order && workload.reach() != Reach::OnDelete
}

/// One below a partition would come back as it is.
fn is_reached(pod: &Pod, reach: Reach) -> bool {
    let number = pod.metadata.name.as_deref().and_then(|name| name.rsplit('-').next()?.parse::<i32>().ok());
    match reach {
        Reach::All => true,
        Reach::From(partition) => number.is_some_and(|number| number >= partition),
        Reach::OnDelete => false,
    }
}

fn is_older(pod: &Pod, images: &BTreeMap<String, String>) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.into_iter().any(|container| {
        images.get(&container.name).is_some_and(|image| container.image.as_ref() != Some(image))
    })
}

fn is_hopeless(pod: &Pod, given: Given) -> bool {
    match pod::doing(pod, &[]) {
        Doing::PullFails { .. }
        | Doing::Misconfigured { .. }
        | Doing::CannotStart { .. }
        | Doing::Crashes(_) => true,
        Doing::Unready { .. } | Doing::Creating { .. } | Doing::Unscheduled { .. } | Doing::Gated { .. } => {
            given == Given::Back
        }
        Doing::Ready { .. } | Doing::Stopping | Doing::Finished | Doing::Evicted { .. } | Doing::Unknown => {
            false
        }
    }
}

//! The Deployment that stands beside a workload while a new version proves itself: making it, leading traffic to it and
//! back, and taking it away again. What it looks like is decided in `deploy/strategy.rs`.
//!
//! Where traffic goes is one label in the selector of each Service. It is merged into the version that was read, so a
//! Service that somebody changed meanwhile is read again and never overwritten.

use serde_json::{Value, json};

use super::UserClient;
use super::apply::{
    self, Applied, BESIDE_LABEL, FIELD_MANAGER, Fence, Marks, SWITCH_MANAGER, marked, merge, not_kept, write,
};
use super::call::{self, Place};
use super::refusal::Refusal;
use kube::api::PatchParams;

/// What a second Deployment is called by: behind the name of the workload, and behind the label that tells their pods apart.
pub const GREEN: &str = "green";
pub const CANARY: &str = "canary";
pub const SUFFIXES: [&str; 2] = [GREEN, CANARY];

/// The value of that label.
pub fn value(own: &str, suffix: &str) -> String {
    format!("{own}-{suffix}")
}

/// Makes it, or gives it another size. A Deployment of that name that belongs to somebody is left alone.
pub async fn apply(
    user: &UserClient,
    object: &Value,
    marks: &Marks,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    let place = Place::of(object)?;
    let object = |before: Option<&Value>| {
        before.map_or(Ok(()), |before| ours(before, &object["metadata"]["labels"][BESIDE_LABEL]))?;
        Ok(marked(object.clone(), marks))
    };
    write(user, &place, PatchParams::apply(FIELD_MANAGER), object, fence).await
}

/// A Deployment as it is.
pub async fn live(user: &UserClient, namespace: &str, name: &str) -> Result<Option<Value>, Refusal> {
    call::read(user, &Place::new("Deployment", namespace, name)?).await
}

/// Leads the traffic of these Services to the pods with this value in the label.
pub async fn lead(
    user: &UserClient,
    namespace: &str,
    services: &[String],
    (label, value): (&str, &str),
    fence: &impl Fence,
) -> Result<(), Refusal> {
    for service in services {
        let change = |live: &Value| {
            not_kept(live, ".spec.selector")?;
            match live["spec"]["selector"][label].as_str() {
                Some(now) if now == value => Ok(None),
                Some(_) => Ok(Some(json!({"spec": {"selector": {label: value}}}))),
                None => Err(Refusal::Invalid {
                    fields: Vec::new(),
                    message: format!("the Service {service} no longer selects by {label}"),
                }),
            }
        };
        merge(user, &Place::new("Service", namespace, service)?, SWITCH_MANAGER, change, fence).await?;
    }
    Ok(())
}

/// Lets an autoscaler set the size of this Deployment instead of another's.
pub async fn retarget(
    user: &UserClient,
    namespace: &str,
    autoscaler: &str,
    deployment: &str,
    fence: &impl Fence,
) -> Result<(), Refusal> {
    let change = |live: &Value| {
        not_kept(live, ".spec.scaleTargetRef")?;
        let is_there = live["spec"]["scaleTargetRef"]["name"] == deployment;
        Ok((!is_there).then(|| json!({"spec": {"scaleTargetRef": {"name": deployment}}})))
    };
    let place = Place::new("HorizontalPodAutoscaler", namespace, autoscaler)?;
    match merge(user, &place, SWITCH_MANAGER, change, fence).await {
        // Nobody scales any more: nothing to lead anywhere.
        Ok(_) | Err(Refusal::NotFound { .. }) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// Takes it away with its pods. What is gone already, or never was ours, is fine.
pub async fn delete(
    user: &UserClient,
    namespace: &str,
    name: &str,
    workload: &str,
    fence: &impl Fence,
) -> Result<(), Refusal> {
    let place = Place::new("Deployment", namespace, name)?;
    apply::delete_ours(user, &place, |live| ours(live, &json!(workload)).is_ok(), fence).await
}

/// Whether the portal put this Deployment beside another.
pub fn stands_beside(deployment: &Value) -> bool {
    deployment["metadata"]["labels"][BESIDE_LABEL].is_string()
}

fn ours(live: &Value, workload: &Value) -> Result<(), Refusal> {
    if live["metadata"]["labels"][BESIDE_LABEL] == *workload && workload.is_string() {
        return Ok(());
    }
    let name = live["metadata"]["name"].as_str().unwrap_or_default();
    let message =
        format!("there is a Deployment {name} already, and it is not one that the portal put beside another");
    Err(Refusal::Invalid { fields: Vec::new(), message })
}

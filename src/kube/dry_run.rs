//! What would change, asked of the API server itself and as the person: so RBAC, quota, policies and defaults
//! answer before anybody submits.

use k8s_openapi::api::core::v1::{PodTemplateSpec, ResourceQuota};
use serde_json::Value;

use super::UserClient;
use super::refusal::Refusal;

/// One object, before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectPlan {
    pub kind: String,
    pub name: String,
    pub namespace: String,
    /// YAML of what is there, without what the server keeps for itself. Empty: nothing is there.
    pub before: String,
    /// YAML of what would be there, or who says no.
    pub after: Result<String, Refusal>,
    pub warnings: Vec<String>,
}

/// Dry-runs each object as the person, with the portal's field manager. `force` only to show an agreed take-over.
pub async fn dry_run(user: &UserClient, objects: &[Value], force: bool) -> Vec<ObjectPlan> {
    let _ = (user, objects, force);
    todo!()
}

/// What a dry-run pod of the new template says.
#[derive(Clone, Debug, PartialEq)]
pub enum PodStart {
    WouldStart {
        warnings: Vec<String>,
    },
    /// Quota, PodSecurity, a policy or a limit: the rollout would get stuck.
    Refused(Refusal),
    /// This person, or the portal for them, may not create pods, so nobody was asked.
    NotAsked,
}

/// A Deployment is accepted even where its pods are not. So one pod of its template is dry-run as the person.
pub async fn pod_would_start(user: &UserClient, namespace: &str, template: &PodTemplateSpec) -> PodStart {
    let _ = (user, namespace, template);
    todo!()
}

/// One resource of one quota, after the surge of a rollout, in base units (bytes, millicores, pods).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headroom {
    pub quota: String,
    pub resource: String,
    pub needed: i128,
    pub free: i128,
    pub hard: i128,
}

/// The resources that `pods` more pods of this template would exceed. Empty: they fit.
pub fn quota_after(quotas: &[ResourceQuota], template: &PodTemplateSpec, pods: i32) -> Vec<Headroom> {
    let _ = (quotas, template, pods);
    todo!()
}

/// "The rollout needs 64 MiB more memory; payments-staging has 32 MiB of 2 GiB free."
impl Headroom {
    pub fn sentence(&self, namespace: &str) -> String {
        let _ = namespace;
        todo!()
    }
}

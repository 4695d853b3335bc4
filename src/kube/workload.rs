//! What runs the pods of a service: a Deployment, a StatefulSet or a DaemonSet. What they have in common is asked here;
//! how each of them rolls out is said in `rollout.rs`.

use std::fmt;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::UserClient;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    #[default]
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl WorkloadKind {
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];

    /// As it stands in an object.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// As it stands in a role.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        }
    }

    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The kind that stored changes leave out: they were all of it once, and what they are approved under must stay.
    pub fn is_deployment(&self) -> bool {
        *self == Self::Deployment
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadRef<'a> {
    pub kind: WorkloadKind,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// A workload as it was read.
#[derive(Clone, Debug)]
pub enum LiveWorkload {
    Deployment(Deployment),
    StatefulSet(StatefulSet),
    DaemonSet(DaemonSet),
}

/// Something that makes pods of a template, as far as its fields and their owners are concerned.
pub trait MakesPods {
    fn metadata(&self) -> &ObjectMeta;
    fn template(&self) -> Option<&PodTemplateSpec>;

    fn containers(&self) -> &[Container] {
        let pod = self.template().and_then(|template| template.spec.as_ref());
        pod.map(|pod| pod.containers.as_slice()).unwrap_or_default()
    }
}

impl MakesPods for Deployment {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().map(|spec| &spec.template)
    }
}

impl MakesPods for LiveWorkload {
    fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Deployment(it) => &it.metadata,
            Self::StatefulSet(it) => &it.metadata,
            Self::DaemonSet(it) => &it.metadata,
        }
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        match self {
            Self::Deployment(it) => it.template(),
            Self::StatefulSet(it) => it.spec.as_ref().map(|spec| &spec.template),
            Self::DaemonSet(it) => it.spec.as_ref().map(|spec| &spec.template),
        }
    }
}

/// Which pods a new template reaches by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    All,
    /// Pods of a StatefulSet whose number is at least this.
    From(i32),
    /// Each pod when somebody deletes it.
    OnDelete,
}

impl LiveWorkload {
    pub fn kind(&self) -> WorkloadKind {
        match self {
            Self::Deployment(_) => WorkloadKind::Deployment,
            Self::StatefulSet(_) => WorkloadKind::StatefulSet,
            Self::DaemonSet(_) => WorkloadKind::DaemonSet,
        }
    }

    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> Option<&str> {
        self.metadata().uid.as_deref()
    }

    /// None: what was read is no workload.
    pub fn of(object: &Value) -> Option<Self> {
        let kind = WorkloadKind::of(object["kind"].as_str()?)?;
        let object = object.clone();
        match kind {
            WorkloadKind::Deployment => serde_json::from_value(object).ok().map(Self::Deployment),
            WorkloadKind::StatefulSet => serde_json::from_value(object).ok().map(Self::StatefulSet),
            WorkloadKind::DaemonSet => serde_json::from_value(object).ok().map(Self::DaemonSet),
        }
    }

    pub fn selector(&self) -> Option<&LabelSelector> {
        match self {
            Self::Deployment(it) => it.spec.as_ref().map(|spec| &spec.selector),
            Self::StatefulSet(it) => it.spec.as_ref().map(|spec| &spec.selector),
            Self::DaemonSet(it) => it.spec.as_ref().map(|spec| &spec.selector),
        }
    }

    /// How many pods there shall be; of a DaemonSet as its nodes have it.
    pub fn wanted(&self) -> i32 {
        match self {
            Self::Deployment(it) => it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            Self::StatefulSet(it) => it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            Self::DaemonSet(it) => it.status.as_ref().map_or(0, |status| status.desired_number_scheduled),
        }
    }

    pub fn ready(&self) -> i32 {
        match self {
            Self::Deployment(it) => it.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0),
            Self::StatefulSet(it) => it.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0),
            Self::DaemonSet(it) => it.status.as_ref().map_or(0, |status| status.number_ready),
        }
    }

    /// Only a Deployment can be.
    pub fn is_paused(&self) -> bool {
        match self {
            Self::Deployment(it) => it.spec.as_ref().is_some_and(|spec| spec.paused == Some(true)),
            Self::StatefulSet(_) | Self::DaemonSet(_) => false,
        }
    }

    /// Whether the status speaks of what is wanted now.
    pub fn is_observed(&self) -> bool {
        let observed = match self {
            Self::Deployment(it) => it.status.as_ref().and_then(|status| status.observed_generation),
            Self::StatefulSet(it) => it.status.as_ref().and_then(|status| status.observed_generation),
            Self::DaemonSet(it) => it.status.as_ref().and_then(|status| status.observed_generation),
        };
        self.metadata().generation.unwrap_or(0) <= observed.unwrap_or(0)
    }

    pub fn reach(&self) -> Reach {
        let on_delete = |kind: Option<&str>| kind == Some("OnDelete");
        match self {
            Self::Deployment(_) => Reach::All,
            Self::StatefulSet(it) => {
                let strategy = it.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
                let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
                match rolling.and_then(|rolling| rolling.partition).unwrap_or(0) {
                    _ if on_delete(strategy.and_then(|strategy| strategy.type_.as_deref())) => {
                        Reach::OnDelete
                    }
                    partition @ 1.. => Reach::From(partition),
                    _ => Reach::All,
                }
            }
            Self::DaemonSet(it) => {
                let strategy = it.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
                match on_delete(strategy.and_then(|strategy| strategy.type_.as_deref())) {
                    true => Reach::OnDelete,
                    false => Reach::All,
                }
            }
        }
    }
}

/// Reads it as the person. None: it is not there.
pub async fn get(user: &UserClient, at: WorkloadRef<'_>) -> kube::Result<Option<LiveWorkload>> {
    let WorkloadRef { kind, namespace, name } = at;
    Ok(match kind {
        WorkloadKind::Deployment => {
            user.api::<Deployment>(namespace).get_opt(name).await?.map(LiveWorkload::Deployment)
        }
        WorkloadKind::StatefulSet => {
            user.api::<StatefulSet>(namespace).get_opt(name).await?.map(LiveWorkload::StatefulSet)
        }
        WorkloadKind::DaemonSet => {
            user.api::<DaemonSet>(namespace).get_opt(name).await?.map(LiveWorkload::DaemonSet)
        }
    })
}

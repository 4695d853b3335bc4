//! Which kinds are watched, and what of each is kept. A pod weighs 15 KB as the API server sends it and a tenth
//! of that here: environment, volumes, owners of fields and last-applied copies are never shown, so never kept.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde::de::DeserializeOwned;

use super::super::rollout;
use super::state::{Kind, Place, State};
use crate::kube::workload::WorkloadKind;

/// A kind that is watched: where the snapshot keeps it, what is kept, and what has to be told when it changes.
pub(super) trait Watched:
    kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
    const PLURAL: &'static str;

    fn shelf(state: &mut State) -> &mut Kind<Self>;

    /// Drops what nobody looks at.
    fn trim(&mut self);

    /// Whether it is worth keeping at all.
    fn keep(&self) -> bool {
        true
    }

    /// Keeps the indexes right and notes which workloads to look at again.
    fn changed(state: &mut State, old: Option<&Self>, new: Option<&Self>);
}

impl Watched for Deployment {
    const PLURAL: &'static str = "deployments";

    fn shelf(state: &mut State) -> &mut Kind<Self> {
        &mut state.deployments
    }

    fn trim(&mut self) {
        trim_workload(&mut self.metadata, &["deployment.kubernetes.io/revision"]);
        if let Some(spec) = &mut self.spec {
            trim_template(&mut spec.template);
        }
    }

    fn changed(state: &mut State, old: Option<&Self>, new: Option<&Self>) {
        state.workload_changed(
            WorkloadKind::Deployment,
            old.map(|it| &it.metadata),
            new.map(|it| &it.metadata),
        );
    }
}

impl Watched for StatefulSet {
    const PLURAL: &'static str = "statefulsets";

    fn shelf(state: &mut State) -> &mut Kind<Self> {
        &mut state.stateful_sets
    }

    fn trim(&mut self) {
        trim_workload(&mut self.metadata, &[]);
        if let Some(spec) = &mut self.spec {
            trim_template(&mut spec.template);
            spec.volume_claim_templates = None;
        }
    }

    fn changed(state: &mut State, old: Option<&Self>, new: Option<&Self>) {
        state.workload_changed(
            WorkloadKind::StatefulSet,
            old.map(|it| &it.metadata),
            new.map(|it| &it.metadata),
        );
    }
}

impl Watched for DaemonSet {
    const PLURAL: &'static str = "daemonsets";

    fn shelf(state: &mut State) -> &mut Kind<Self> {
        &mut state.daemon_sets
    }

    fn trim(&mut self) {
        trim_workload(&mut self.metadata, &[rollout::TEMPLATE_GENERATION]);
        if let Some(spec) = &mut self.spec {
            trim_template(&mut spec.template);
        }
    }

    fn changed(state: &mut State, old: Option<&Self>, new: Option<&Self>) {
        state.workload_changed(
            WorkloadKind::DaemonSet,
            old.map(|it| &it.metadata),
            new.map(|it| &it.metadata),
        );
    }
}

impl Watched for ReplicaSet {
    const PLURAL: &'static str = "replicasets";

    fn shelf(state: &mut State) -> &mut Kind<Self> {
        &mut state.replica_sets
    }

    fn trim(&mut self) {
        trim_metadata(&mut self.metadata, &["deployment.kubernetes.io/revision"]);
        if let Some(template) = self.spec.as_mut().and_then(|spec| spec.template.as_mut()) {
            trim_template(template);
        }
    }

    /// A Deployment keeps ten old ReplicaSets without a pod, for its history. They would be most of the memory.
    fn keep(&self) -> bool {
        let wanted = self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        wanted > 0 || self.status.as_ref().is_some_and(|status| status.replicas > 0)
    }

    fn changed(state: &mut State, old: Option<&Self>, new: Option<&Self>) {
        state.replica_set_changed(old, new);
    }
}

impl Watched for Pod {
    const PLURAL: &'static str = "pods";

    fn shelf(state: &mut State) -> &mut Kind<Self> {
        &mut state.pods
    }

    fn trim(&mut self) {
        trim_metadata(&mut self.metadata, &[]);
        if let Some(spec) = &mut self.spec {
            trim_pod_spec(spec);
        }
        if let Some(status) = &mut self.status {
            status.host_ip = None;
            status.host_ips = None;
            status.pod_ips = None;
            let init = status.init_container_statuses.iter_mut().flatten();
            for container in init.chain(status.container_statuses.iter_mut().flatten()) {
                container.allocated_resources = None;
                container.resources = None;
                container.volume_mounts = None;
                container.user = None;
            }
        }
    }

    fn changed(state: &mut State, old: Option<&Self>, new: Option<&Self>) {
        state.pod_changed(old, new);
    }
}

impl Watched for HorizontalPodAutoscaler {
    const PLURAL: &'static str = "horizontalpodautoscalers";

    fn shelf(state: &mut State) -> &mut Kind<Self> {
        &mut state.autoscalers
    }

    fn trim(&mut self) {
        trim_metadata(&mut self.metadata, &[]);
    }

    fn changed(state: &mut State, old: Option<&Self>, new: Option<&Self>) {
        for autoscaler in old.into_iter().chain(new) {
            let target = autoscaler.spec.as_ref().map(|spec| &spec.scale_target_ref);
            let kind = target.and_then(|target| WorkloadKind::of(&target.kind));
            if let Some((target, kind)) = target.zip(kind) {
                let namespace = autoscaler.metadata.namespace.clone().unwrap_or_default();
                state.look_again(Place { namespace, kind, name: target.name.clone() });
            }
        }
    }
}

impl Watched for PodDisruptionBudget {
    const PLURAL: &'static str = "poddisruptionbudgets";

    fn shelf(state: &mut State) -> &mut Kind<Self> {
        &mut state.budgets
    }

    fn trim(&mut self) {
        trim_metadata(&mut self.metadata, &[]);
    }

    fn changed(_: &mut State, _: Option<&Self>, _: Option<&Self>) {}
}

impl Watched for ResourceQuota {
    const PLURAL: &'static str = "resourcequotas";

    fn shelf(state: &mut State) -> &mut Kind<Self> {
        &mut state.quotas
    }

    fn trim(&mut self) {
        trim_metadata(&mut self.metadata, &[]);
    }

    fn changed(_: &mut State, _: Option<&Self>, _: Option<&Self>) {}
}

/// Of the owners of its fields stays the one who last wrote into the template: who changed what runs.
fn trim_workload(metadata: &mut ObjectMeta, annotations: &[&str]) {
    let writer = rollout::last_template_writer(metadata).cloned();
    trim_metadata(metadata, annotations);
    metadata.managed_fields = writer.map(|writer| vec![ManagedFieldsEntry { fields_v1: None, ..writer }]);
}

fn trim_metadata(metadata: &mut ObjectMeta, annotations: &[&str]) {
    metadata.managed_fields = None;
    metadata.finalizers = None;
    metadata.generate_name = None;
    metadata.self_link = None;
    if let Some(all) = &mut metadata.annotations {
        all.retain(|key, _| annotations.contains(&key.as_str()));
    }
    metadata.annotations.take_if(|annotations| annotations.is_empty());
}

/// The template's own annotations stay: the deploy marker is one of them.
fn trim_template(template: &mut PodTemplateSpec) {
    if let Some(spec) = &mut template.spec {
        trim_pod_spec(spec);
    }
}

fn trim_pod_spec(spec: &mut PodSpec) {
    let trimmed = PodSpec {
        node_name: spec.node_name.take(),
        containers: std::mem::take(&mut spec.containers).into_iter().map(trim_container).collect(),
        init_containers: spec.init_containers.take().map(|all| all.into_iter().map(trim_container).collect()),
        readiness_gates: spec.readiness_gates.take(),
        ..PodSpec::default()
    };
    *spec = trimmed;
}

fn trim_container(container: Container) -> Container {
    let limit = |quantity: &str| quantity == "memory" || quantity == "cpu";
    let resources = container.resources.map(|mut resources| {
        resources.claims = None;
        let maps = resources.limits.iter_mut().chain(resources.requests.iter_mut());
        maps.for_each(|map: &mut BTreeMap<_, _>| map.retain(|name, _| limit(name)));
        resources
    });
    Container {
        name: container.name,
        image: container.image,
        ports: container.ports,
        readiness_probe: container.readiness_probe,
        liveness_probe: container.liveness_probe,
        startup_probe: container.startup_probe,
        resources,
        restart_policy: container.restart_policy,
        ..Container::default()
    }
}

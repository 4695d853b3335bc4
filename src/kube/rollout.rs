//! Is a rollout done? Decided as `kubectl rollout status` decides it, rule by rule in its order
//! (k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go), plus what kubectl does not ask: is it still ours?
//!
//! Nothing here reads a clock or a cluster. `observe.rs` brings an [`Observed`], the engine brings what it wrote.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use super::pod::{self, Doing};
use super::wording;
use super::workload::{LiveWorkload, MakesPods, Reach};

pub use super::pod_rows::pods;

/// Annotation on the pod template: which deploy of ours wrote it.
pub const DEPLOY_MARKER: &str = "pilothouse.dev/deploy";
const REVISION: &str = "deployment.kubernetes.io/revision";
const TEMPLATE_HASH: &str = "pod-template-hash";
/// Label of a pod of a StatefulSet or a DaemonSet: the revision it was made of.
const REVISION_HASH: &str = "controller-revision-hash";
/// The API server counts the templates of a DaemonSet in an annotation, and its pods say which of them they are of.
pub(super) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
const POD_GENERATION: &str = "pod-template-generation";

/// A workload with everything that explains it. Read after the write it judges.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// `None`: it is not there (anymore).
    pub workload: Option<LiveWorkload>,
    /// Only a Deployment has some.
    pub replica_sets: Vec<ReplicaSet>,
    pub pods: Vec<Pod>,
    /// Of these objects, since the deploy began. Empty when nobody needed them.
    pub events: Vec<Event>,
    /// Last lines of the previous container of pods that crash, by pod name.
    pub last_logs: BTreeMap<String, Vec<String>>,
}

/// What our own write returned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    pub generation: i64,
    /// Value of [`DEPLOY_MARKER`] we put on the pod template; `None` for a write that leaves the template alone (scale).
    pub template_marker: Option<String>,
    /// Image references we wrote, by container: `kubectl set image` keeps our marker and changes these.
    pub images: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Rollout {
    Waiting(Progress),
    Done,
    /// The controller gave up; the sentence is kubectl's.
    Failed(String),
    /// Somebody paused it: nothing moves until it is resumed.
    Paused,
    /// The object is deleted.
    Gone,
    /// The template is somebody else's by now. `by` is the field manager that last wrote it.
    Superseded {
        by: String,
    },
}

/// Replica counts while waiting, and what is waited for.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    pub wanted: i32,
    /// Pods of the new template, ready or not.
    pub updated: i32,
    /// Of them, ready.
    pub ready: i32,
    /// Available pods, old ones included, as the controller counts them.
    pub available: i32,
    /// Pods of older templates that are not gone yet.
    pub old: i32,
    pub sentence: String,
}

/// How our write is doing.
pub fn status(observed: &Observed, written: &Written) -> Rollout {
    let Some(workload) = &observed.workload else { return Rollout::Gone };
    if workload.metadata().deletion_timestamp.is_some() {
        return Rollout::Gone;
    }
    if !is_ours(workload, written) {
        return Rollout::Superseded { by: last_template_manager(workload.metadata()) };
    }
    // No pod changes by itself, so a template that is written is all there is to wait for.
    if written.template_marker.is_some() && workload.reach() == Reach::OnDelete && workload.is_observed() {
        return Rollout::Done;
    }
    match workload_status(workload) {
        // While the controller has not looked, it may not have seen the pause either.
        Rollout::Waiting(_) if workload.is_paused() && workload.is_observed() => Rollout::Paused,
        Rollout::Waiting(progress) => {
            let ready = observed.new_pods().filter(|pod| pod::is_ready(pod));
            Rollout::Waiting(Progress { ready: ready.count().try_into().unwrap_or(i32::MAX), ..progress })
        }
        other => other,
    }
}

/// The rules alone, whoever wrote.
pub fn workload_status(workload: &LiveWorkload) -> Rollout {
    match workload {
        LiveWorkload::Deployment(it) => deployment_status(it),
        LiveWorkload::StatefulSet(it) => stateful_set_status(it),
        LiveWorkload::DaemonSet(it) => daemon_set_status(it),
    }
}

/// The six rules of `kubectl rollout status`, in its order.
pub fn deployment_status(deployment: &Deployment) -> Rollout {
    let spec = deployment.spec.clone().unwrap_or_default();
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = spec.replicas.unwrap_or(1);
    let replicas = status.replicas.unwrap_or(0);
    let updated = status.updated_replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    let old = (replicas - updated).max(0);
    let waiting = |sentence: String| {
        let ready = status.ready_replicas.unwrap_or(0);
        Rollout::Waiting(Progress { wanted, updated, ready, available, old, sentence })
    };

    if !is_observed(deployment) {
        return waiting("The cluster has not picked up the change yet.".into());
    }
    let progressing = status.conditions.iter().flatten().find(|condition| condition.type_ == "Progressing");
    if progressing.is_some_and(|it| it.reason.as_deref() == Some("ProgressDeadlineExceeded")) {
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        return Rollout::Failed(format!("deployment {name:?} exceeded its progress deadline"));
    }
    if updated < wanted {
        return waiting(format!("{updated} of {} started.", pods_word(wanted)));
    }
    if replicas > updated {
        let still =
            if old == 1 { "1 old pod still runs".into() } else { format!("{old} old pods still run") };
        return waiting(format!(
            "{updated} of {wanted} new {} started, {still}.",
            if wanted == 1 { "pod" } else { "pods" }
        ));
    }
    if available < updated {
        return waiting(format!("{available} of {} ready.", pods_word(updated)));
    }
    Rollout::Done
}

/// A StatefulSet has no deadline of its own; the caller keeps one.
pub fn stateful_set_status(set: &StatefulSet) -> Rollout {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let wanted = spec.replicas.unwrap_or(1);
    let ready = status.ready_replicas.unwrap_or(0);
    let updated = status.updated_replicas.unwrap_or(0);
    let waiting = |sentence: String| {
        let available = status.available_replicas.unwrap_or(0);
        Rollout::Waiting(Progress {
            wanted,
            updated,
            ready,
            available,
            old: (wanted - updated).max(0),
            sentence,
        })
    };

    let observed = status.observed_generation.unwrap_or(0);
    if observed == 0 || set.metadata.generation.unwrap_or(0) > observed {
        return waiting("The cluster has not picked up the change yet.".into());
    }
    if ready < wanted {
        return waiting(format!("{ready} of {} ready.", pods_word(wanted)));
    }
    let strategy = spec.update_strategy.unwrap_or_default();
    // kubectl refuses to answer here: nothing rolls by itself, so there is nothing more to wait for.
    if strategy.type_.as_deref() == Some("OnDelete") {
        return Rollout::Done;
    }
    let partition = strategy.rolling_update.and_then(|rolling| rolling.partition).unwrap_or(0);
    if partition > 0 {
        let due = wanted - partition;
        return if updated < due {
            waiting(format!("{updated} of {} updated, up to the partition.", pods_word(due)))
        } else {
            Rollout::Done
        };
    }
    if status.update_revision != status.current_revision {
        return waiting(format!("{updated} of {} updated.", pods_word(wanted)));
    }
    Rollout::Done
}

/// A DaemonSet has no deadline of its own; the caller keeps one.
pub fn daemon_set_status(set: &DaemonSet) -> Rollout {
    let status = set.status.clone().unwrap_or_default();
    let wanted = status.desired_number_scheduled;
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let available = status.number_available.unwrap_or(0);
    let waiting = |sentence: String| {
        let ready = status.number_ready;
        Rollout::Waiting(Progress {
            wanted,
            updated,
            ready,
            available,
            old: (wanted - updated).max(0),
            sentence,
        })
    };

    if set.metadata.generation.unwrap_or(0) > status.observed_generation.unwrap_or(0) {
        return waiting("The cluster has not picked up the change yet.".into());
    }
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref()?.type_.as_deref());
    // Of an OnDelete one no pod is updated by itself.
    if updated < wanted && strategy != Some("OnDelete") {
        return waiting(format!("{updated} of {} updated.", pods_word(wanted)));
    }
    if available < wanted {
        return waiting(format!("{available} of {} ready.", pods_word(wanted)));
    }
    Rollout::Done
}

/// Whether the new pods came through the soak so far: a restart since `since` fails the deploy. The sentence
/// says which pod and why.
pub fn soak(observed: &Observed, since: Timestamp) -> Result<(), String> {
    // The kubelet writes whole seconds, cut off: a crash in the second the soak began would else slip through.
    let since = since.as_second();
    let crashed = observed.new_pods().filter_map(|pod| Some((pod, pod::last_crash(pod).or(ended(pod))?)));
    let in_soak = |crash: &pod::Crash| crash.finished.is_none_or(|finished| finished.as_second() >= since);
    match crashed.filter(|(_, crash)| in_soak(crash)).min_by_key(|(_, crash)| crash.finished) {
        Some((pod, crash)) => {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            Err(format!("Pod {name} restarted after the rollout was done: {}.", crash.words()))
        }
        None => Ok(()),
    }
}

/// A container that has ended and was not started again yet has no restart to count.
fn ended(pod: &Pod) -> Option<pod::Crash> {
    match pod::doing(pod, &[]) {
        Doing::Crashes(crash) => Some(crash),
        _ => None,
    }
}

/// What a pod of the current template is told by from older ones.
#[derive(Clone, Copy)]
pub(super) enum Newest<'a> {
    /// The uid of its ReplicaSet.
    Set(&'a str),
    Revision(&'a str),
}

impl Newest<'_> {
    pub fn made(self, pod: &Pod) -> bool {
        match self {
            Self::Set(uid) => owner_uid(&pod.metadata) == Some(uid),
            Self::Revision(hash) => label(pod, REVISION_HASH) == Some(hash),
        }
    }
}

fn label<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(name).map(String::as_str)
}

impl Observed {
    /// What the current template has made; `None` while the controller has made nothing of it.
    pub(super) fn newest_revision(&self) -> Option<Newest<'_>> {
        match self.workload.as_ref()? {
            LiveWorkload::Deployment(_) => self.newest()?.metadata.uid.as_deref().map(Newest::Set),
            live @ LiveWorkload::StatefulSet(set) => {
                let revision = set.status.as_ref().filter(|_| live.is_observed())?.update_revision.as_deref();
                revision.map(Newest::Revision)
            }
            // Pods of an earlier template that is the same again have its hash, and another generation.
            LiveWorkload::DaemonSet(set) => {
                let generation = set.metadata.annotations.as_ref()?.get(TEMPLATE_GENERATION)?;
                let of_it = |pod: &&Pod| label(pod, POD_GENERATION) == Some(generation);
                self.pods.iter().find(of_it).and_then(|pod| label(pod, REVISION_HASH)).map(Newest::Revision)
            }
        }
    }

    /// The ReplicaSet of the current template; `None` while the controller has not made it.
    pub fn newest(&self) -> Option<&ReplicaSet> {
        let Some(LiveWorkload::Deployment(deployment)) = &self.workload else { return None };
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        let owned = || {
            self.replica_sets
                .iter()
                .filter(|set| owner_uid(&set.metadata) == deployment.metadata.uid.as_deref())
        };
        let same = owned().filter(|set| {
            let own = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            template.zip(own).is_some_and(|(wanted, own)| same_template(wanted, own))
        });
        match same.max_by_key(|set| revision(&set.metadata)) {
            Some(set) => Some(set),
            // No set has this template: the controller has not made it yet.
            None if !is_observed(deployment) => None,
            None => owned().max_by_key(|set| revision(&set.metadata)),
        }
    }

    pub fn new_pods(&self) -> impl Iterator<Item = &Pod> {
        let newest = self.newest_revision();
        self.pods.iter().filter(move |pod| newest.is_some_and(|newest| newest.made(pod)))
    }
}

fn is_observed(deployment: &Deployment) -> bool {
    let observed = deployment.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
    deployment.metadata.generation.unwrap_or(0) <= observed
}

/// Ours as long as nothing was written since, or what was written since left our template alone.
/// A lower generation than ours is an object that was deleted and made anew.
fn is_ours(workload: &LiveWorkload, written: &Written) -> bool {
    if workload.metadata().generation == Some(written.generation) {
        return true;
    }
    let template = workload.template().cloned().unwrap_or_default();
    let marker = template.metadata.and_then(|metadata| metadata.annotations?.remove(DEPLOY_MARKER));
    let containers = template.spec.unwrap_or_default().containers;
    let same_image = |(name, image): (&String, &String)| {
        let ours = containers.iter().find(|container| container.name == *name);
        ours.is_some_and(|ours| ours.image.as_ref() == Some(image))
    };
    written.template_marker.as_ref().is_none_or(|ours| marker.as_ref() == Some(ours))
        && written.images.iter().all(same_image)
}

/// Who last wrote the pod template, by managedFields. Writes to `status` and `scale` do not count.
fn last_template_manager(metadata: &ObjectMeta) -> String {
    let last = last_template_writer(metadata);
    last.and_then(|entry| entry.manager.clone()).unwrap_or_else(|| "somebody else".into())
}

/// The newest entry of those who wrote into the pod template.
pub fn last_template_writer(metadata: &ObjectMeta) -> Option<&ManagedFieldsEntry> {
    let entries = metadata.managed_fields.iter().flatten();
    let template = entries.filter(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        entry.subresource.is_none()
            && fields.is_some_and(|fields| fields.pointer("/f:spec/f:template").is_some())
    });
    template.max_by_key(|entry| entry.time.clone())
}

/// kubectl's EqualIgnoreHash: the controller adds its hash label to the ReplicaSet's copy.
fn same_template(wanted: &PodTemplateSpec, own: &PodTemplateSpec) -> bool {
    let labels = |template: &PodTemplateSpec| {
        let mut labels = template.metadata.as_ref().and_then(|it| it.labels.clone()).unwrap_or_default();
        labels.remove(TEMPLATE_HASH);
        labels
    };
    let annotations = |template: &PodTemplateSpec| {
        template.metadata.as_ref().and_then(|it| it.annotations.clone()).unwrap_or_default()
    };
    wanted.spec == own.spec && labels(wanted) == labels(own) && annotations(wanted) == annotations(own)
}

fn revision(metadata: &ObjectMeta) -> i64 {
    let annotation = metadata.annotations.as_ref().and_then(|annotations| annotations.get(REVISION));
    annotation.and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

/// The controller that made this object.
pub(super) fn owner_uid(metadata: &ObjectMeta) -> Option<&str> {
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

fn pods_word(number: i32) -> String {
    wording::count(number.try_into().unwrap_or(0), "pod")
}

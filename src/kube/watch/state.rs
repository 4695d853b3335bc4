//! The snapshot: what the cluster holds, as far as it is watched, with the indexes that make a question cheap.
//! A page asks for a hundred services and a tab counts ten thousand, so nothing here walks a list of everything.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;

use super::kinds::Watched;
use super::summary::Summary;
use crate::kube::rollout::{Observed, owner_uid};
use crate::kube::status::{Named, Workload};
use crate::kube::target::Selector;
use crate::kube::workload::{LiveWorkload, MakesPods, WorkloadKind};

const KUBERNETES_ID: &str = "backstage.io/kubernetes-id";
const APP_NAME: &str = "app.kubernetes.io/name";

/// Namespace and name.
pub(super) type Key = (String, String);

/// Which workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub namespace: String,
    pub kind: WorkloadKind,
    pub name: String,
}

/// All objects of a kind, by namespace and name.
pub(super) struct Kind<K> {
    objects: HashMap<String, BTreeMap<String, Arc<K>>>,
    /// While a fresh list comes in, it is gathered here and then takes the place of the old one at once.
    relist: Option<HashMap<Key, Arc<K>>>,
    pub synced: bool,
    /// Set while its watch is broken.
    pub broken_since: Option<Timestamp>,
}

impl<K> Default for Kind<K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), relist: None, synced: false, broken_since: None }
    }
}

impl<K> Kind<K> {
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(namespace)?.get(name)
    }

    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        self.objects.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    fn insert(&mut self, key: &Key, object: Arc<K>) -> Option<Arc<K>> {
        self.objects.entry(key.0.clone()).or_default().insert(key.1.clone(), object)
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let namespace = self.objects.get_mut(&key.0)?;
        let old = namespace.remove(&key.1);
        if namespace.is_empty() {
            self.objects.remove(&key.0);
        }
        old
    }

    fn keys(&self) -> Vec<Key> {
        let key = |(namespace, objects): (&String, &BTreeMap<String, Arc<K>>)| {
            let namespace = namespace.clone();
            objects.keys().map(move |name| (namespace.clone(), name.clone())).collect::<Vec<_>>()
        };
        self.objects.iter().flat_map(key).collect()
    }
}

#[derive(Default)]
pub(super) struct State {
    pub deployments: Kind<Deployment>,
    pub stateful_sets: Kind<StatefulSet>,
    pub daemon_sets: Kind<DaemonSet>,
    pub replica_sets: Kind<ReplicaSet>,
    pub pods: Kind<Pod>,
    pub autoscalers: Kind<HorizontalPodAutoscaler>,
    pub budgets: Kind<PodDisruptionBudget>,
    pub quotas: Kind<ResourceQuota>,
    /// Workloads by (namespace, label value), for the two labels that name a service.
    by_kubernetes_id: HashMap<Key, BTreeSet<Named>>,
    by_app_name: HashMap<Key, BTreeSet<Named>>,
    /// Names of ReplicaSets and pods by the uid of what made them.
    sets_of: HashMap<String, BTreeSet<String>>,
    pods_of: HashMap<String, BTreeSet<String>>,
    workload_by_uid: HashMap<String, Place>,
    deployment_of_set: HashMap<String, String>,
    /// Health and numbers of every workload, made anew when something of it changes.
    pub summaries: HashMap<String, HashMap<Named, Arc<Summary>>>,
    /// Workloads of which something changed since summaries were last made.
    dirty: HashSet<Place>,
}

impl State {
    /// Takes in what a watch said. Says whether there is now something to look at again.
    pub fn apply<K: Watched>(&mut self, event: Event<K>) -> bool {
        match event {
            Event::Apply(object) => self.put(object),
            Event::Delete(object) => self.delete::<K>(&key_of(object.meta())),
            Event::Init => K::shelf(self).relist = Some(HashMap::new()),
            Event::InitApply(mut object) => {
                object.trim();
                let kind = K::shelf(self);
                if object.keep() {
                    kind.relist.get_or_insert_default().insert(key_of(object.meta()), Arc::new(object));
                }
            }
            Event::InitDone => self.replace_all::<K>(),
        }
        !self.dirty.is_empty()
    }

    fn put<K: Watched>(&mut self, mut object: K) {
        object.trim();
        let key = key_of(object.meta());
        if !object.keep() {
            return self.delete::<K>(&key);
        }
        let new = Arc::new(object);
        let old = K::shelf(self).insert(&key, Arc::clone(&new));
        K::changed(self, old.as_deref(), Some(&new));
    }

    fn delete<K: Watched>(&mut self, key: &Key) {
        if let Some(old) = K::shelf(self).remove(key) {
            K::changed(self, Some(&old), None);
        }
    }

    fn replace_all<K: Watched>(&mut self) {
        let kind = K::shelf(self);
        kind.synced = true;
        let fresh = kind.relist.take().unwrap_or_default();
        let gone: Vec<Key> = kind.keys().into_iter().filter(|key| !fresh.contains_key(key)).collect();
        for key in gone {
            self.delete::<K>(&key);
        }
        for (key, new) in fresh {
            let old = K::shelf(self).insert(&key, Arc::clone(&new));
            let same = old.as_ref().is_some_and(|old| {
                old.meta().uid == new.meta().uid && old.meta().resource_version == new.meta().resource_version
            });
            if !same {
                K::changed(self, old.as_deref(), Some(&new));
            }
        }
    }

    pub fn workload_changed(
        &mut self,
        kind: WorkloadKind,
        old: Option<&ObjectMeta>,
        new: Option<&ObjectMeta>,
    ) {
        let moved = old.map(|it| (&it.uid, &it.labels)) != new.map(|it| (&it.uid, &it.labels));
        if let Some(old) = old.filter(|_| moved) {
            self.index_labels(kind, old, false);
            self.workload_by_uid.remove(old.uid.as_deref().unwrap_or_default());
        }
        if let Some(new) = new.filter(|_| moved) {
            self.index_labels(kind, new, true);
            self.workload_by_uid.insert(new.uid.clone().unwrap_or_default(), place_of(kind, new));
        }
        if let Some(it) = new.or(old) {
            self.dirty.insert(place_of(kind, it));
        }
    }

    fn index_labels(&mut self, kind: WorkloadKind, metadata: &ObjectMeta, add: bool) {
        let (namespace, name) = key_of(metadata);
        let named = Named { kind, name };
        let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
        let indexes = [(KUBERNETES_ID, &mut self.by_kubernetes_id), (APP_NAME, &mut self.by_app_name)];
        for (key, index) in indexes {
            if let Some(value) = label(key) {
                change_set(index, (namespace.clone(), value), &named, add);
            }
        }
    }

    pub fn replica_set_changed(&mut self, old: Option<&ReplicaSet>, new: Option<&ReplicaSet>) {
        let Some(it) = new.or(old) else { return };
        let name = it.metadata.name.clone().unwrap_or_default();
        let uid = it.metadata.uid.clone().unwrap_or_default();
        let Some(owner) = owner_uid(&it.metadata).map(str::to_string) else { return };
        change_set(&mut self.sets_of, owner.clone(), &name, new.is_some());
        if let Some(place) = self.workload_by_uid.get(&owner) {
            self.dirty.insert(place.clone());
        }
        match new {
            Some(_) => self.deployment_of_set.insert(uid, owner),
            None => self.deployment_of_set.remove(&uid),
        };
    }

    pub fn pod_changed(&mut self, old: Option<&Pod>, new: Option<&Pod>) {
        // A StatefulSet's pod may come back under its name with another owner.
        for (pod, add) in [(old, false), (new, true)] {
            let Some(pod) = pod else { continue };
            let Some(owner) = owner_uid(&pod.metadata).map(str::to_string) else { continue };
            let name = pod.metadata.name.clone().unwrap_or_default();
            let workload = self.deployment_of_set.get(&owner).unwrap_or(&owner);
            if let Some(place) = self.workload_by_uid.get(workload) {
                self.dirty.insert(place.clone());
            }
            change_set(&mut self.pods_of, owner, &name, add);
        }
    }

    pub fn look_again(&mut self, place: Place) {
        self.dirty.insert(place);
    }

    /// What is not plainly well is looked at again as time passes: a pod may have waited too long by now.
    pub fn look_again_at_the_unwell(&mut self) -> bool {
        let unwell = self.summaries.iter().flat_map(|(namespace, all)| {
            let unwell = all.iter().filter(|(_, summary)| !summary.is_plainly_well());
            unwell.map(|(named, _)| Place {
                namespace: namespace.clone(),
                kind: named.kind,
                name: named.name.clone(),
            })
        });
        let unwell: Vec<Place> = unwell.collect();
        self.dirty.extend(unwell);
        !self.dirty.is_empty()
    }

    /// Makes the summaries of everything that changed; gives the workloads whose page changed.
    pub fn refresh(&mut self, now: Timestamp) -> Vec<Place> {
        let dirty: Vec<Place> = self.dirty.drain().collect();
        for Place { namespace, kind, name } in &dirty {
            let named = Named { kind: *kind, name: name.clone() };
            match self.observed(namespace, &named) {
                Some(observed) => {
                    let summary = Arc::new(Summary::of(&observed, now));
                    self.summaries.entry(namespace.clone()).or_default().insert(named, summary);
                }
                None => {
                    if let Some(all) = self.summaries.get_mut(namespace) {
                        all.remove(&named);
                    }
                }
            }
        }
        dirty
    }

    pub fn summary(&self, namespace: &str, named: &Named) -> Option<&Arc<Summary>> {
        self.summaries.get(namespace)?.get(named)
    }

    fn live(&self, namespace: &str, named: &Named) -> Option<LiveWorkload> {
        let name = named.name.as_str();
        Some(match named.kind {
            WorkloadKind::Deployment => {
                LiveWorkload::Deployment(Deployment::clone(self.deployments.get(namespace, name)?))
            }
            WorkloadKind::StatefulSet => {
                LiveWorkload::StatefulSet(StatefulSet::clone(self.stateful_sets.get(namespace, name)?))
            }
            WorkloadKind::DaemonSet => {
                LiveWorkload::DaemonSet(DaemonSet::clone(self.daemon_sets.get(namespace, name)?))
            }
        })
    }

    /// A workload with its ReplicaSets and pods; events and logs are not watched.
    pub fn observed(&self, namespace: &str, named: &Named) -> Option<Observed> {
        let workload = self.live(namespace, named)?;
        let uid = workload.metadata().uid.clone();
        let names = |index: &HashMap<String, BTreeSet<String>>, uid: &Option<String>| {
            uid.as_ref().and_then(|uid| index.get(uid)).cloned().unwrap_or_default()
        };
        let sets = names(&self.sets_of, &uid);
        let sets: Vec<&Arc<ReplicaSet>> =
            sets.iter().filter_map(|name| self.replica_sets.get(namespace, name)).collect();
        let makers = sets.iter().map(|set| &set.metadata.uid).chain([&uid]);
        let pods: Vec<String> = makers.flat_map(|maker| names(&self.pods_of, maker)).collect();
        Some(Observed {
            workload: Some(workload),
            pods: pods
                .into_iter()
                .filter_map(|name| self.pods.get(namespace, &name))
                .map(|pod| Pod::clone(pod))
                .collect(),
            replica_sets: sets.into_iter().map(|set| ReplicaSet::clone(set)).collect(),
            ..Observed::default()
        })
    }

    /// By the rules of [`Selector`]: more than one match is said, not guessed. Beside a Deployment, what else matches is
    /// what it needs (a database, an agent), and not the service.
    pub fn find(&self, namespace: &str, selector: &Selector) -> Workload {
        let labelled = |index: &HashMap<Key, BTreeSet<Named>>, value: &str| {
            index.get(&(namespace.to_string(), value.to_string())).cloned().unwrap_or_default()
        };
        let mut found: BTreeSet<Named> = match selector {
            Selector::KubernetesId(id) => labelled(&self.by_kubernetes_id, id),
            Selector::Labels(pairs) => {
                let has = |metadata: &ObjectMeta| {
                    let labels = metadata.labels.as_ref();
                    !pairs.is_empty()
                        && pairs
                            .iter()
                            .all(|(key, value)| labels.is_some_and(|all| all.get(key) == Some(value)))
                };
                self.workloads(namespace)
                    .filter(|(_, metadata)| has(metadata))
                    .map(|(kind, metadata)| Named { kind, name: key_of(metadata).1 })
                    .collect()
            }
            Selector::Name(name) => {
                let labelled = labelled(&self.by_app_name, name);
                let of = |kind| Named { kind, name: name.clone() };
                let named = WorkloadKind::ALL.into_iter().map(of).filter(|it| self.has(namespace, it));
                if labelled.is_empty() { named.collect() } else { labelled }
            }
        };
        if found.iter().any(|it| it.kind == WorkloadKind::Deployment) {
            found.retain(|it| it.kind == WorkloadKind::Deployment);
        }
        match found.len() {
            0 => Workload::None,
            1 => found.pop_first().map_or(Workload::None, Workload::One),
            _ => Workload::Many(found.into_iter().collect()),
        }
    }

    fn has(&self, namespace: &str, Named { kind, name }: &Named) -> bool {
        match kind {
            WorkloadKind::Deployment => self.deployments.get(namespace, name).is_some(),
            WorkloadKind::StatefulSet => self.stateful_sets.get(namespace, name).is_some(),
            WorkloadKind::DaemonSet => self.daemon_sets.get(namespace, name).is_some(),
        }
    }

    fn workloads(&self, namespace: &str) -> impl Iterator<Item = (WorkloadKind, &ObjectMeta)> {
        let deployments = self.deployments.in_namespace(namespace).map(|it| &it.metadata);
        let stateful_sets = self.stateful_sets.in_namespace(namespace).map(|it| &it.metadata);
        let daemon_sets = self.daemon_sets.in_namespace(namespace).map(|it| &it.metadata);
        deployments
            .map(|it| (WorkloadKind::Deployment, it))
            .chain(stateful_sets.map(|it| (WorkloadKind::StatefulSet, it)))
            .chain(daemon_sets.map(|it| (WorkloadKind::DaemonSet, it)))
    }
}

fn key_of(metadata: &ObjectMeta) -> Key {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn place_of(kind: WorkloadKind, metadata: &ObjectMeta) -> Place {
    let (namespace, name) = key_of(metadata);
    Place { namespace, kind, name }
}

fn change_set<I: std::hash::Hash + Eq, N: Ord + Clone>(
    index: &mut HashMap<I, BTreeSet<N>>,
    at: I,
    name: &N,
    add: bool,
) {
    if add {
        index.entry(at).or_default().insert(name.clone());
    } else if let Some(names) = index.get_mut(&at) {
        names.remove(name);
        if names.is_empty() {
            index.remove(&at);
        }
    }
}

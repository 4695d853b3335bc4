//! The snapshot: what the cluster holds, as far as it is watched, with the indexes that make a question cheap.
//! A page asks for a hundred services and a tab counts ten thousand, so nothing here walks a list of everything.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;

use super::kinds::Watched;
use super::summary::Summary;
use crate::kube::rollout::{Observed, owner_uid};
use crate::kube::status::Workload;
use crate::kube::target::Selector;

const KUBERNETES_ID: &str = "backstage.io/kubernetes-id";
const APP_NAME: &str = "app.kubernetes.io/name";

/// Namespace and name.
pub(super) type Key = (String, String);

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
    pub replica_sets: Kind<ReplicaSet>,
    pub pods: Kind<Pod>,
    pub autoscalers: Kind<HorizontalPodAutoscaler>,
    pub budgets: Kind<PodDisruptionBudget>,
    pub quotas: Kind<ResourceQuota>,
    /// Deployments by (namespace, label value), for the two labels that name a service.
    by_kubernetes_id: HashMap<Key, BTreeSet<String>>,
    by_app_name: HashMap<Key, BTreeSet<String>>,
    /// Names of ReplicaSets and pods by the uid of what made them.
    sets_of: HashMap<String, BTreeSet<String>>,
    pods_of: HashMap<String, BTreeSet<String>>,
    deployment_by_uid: HashMap<String, Key>,
    deployment_of_set: HashMap<String, String>,
    /// Health and numbers of every Deployment, made anew when something of it changes.
    pub summaries: HashMap<String, HashMap<String, Arc<Summary>>>,
    /// Deployments of which something changed since summaries were last made.
    dirty: HashSet<Key>,
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

    pub fn deployment_changed(&mut self, old: Option<&Deployment>, new: Option<&Deployment>) {
        let moved = old.map(|it| (&it.metadata.uid, &it.metadata.labels))
            != new.map(|it| (&it.metadata.uid, &it.metadata.labels));
        if let Some(old) = old.filter(|_| moved) {
            self.index_labels(&old.metadata, false);
            self.deployment_by_uid.remove(old.metadata.uid.as_deref().unwrap_or_default());
        }
        if let Some(new) = new.filter(|_| moved) {
            self.index_labels(&new.metadata, true);
            let uid = new.metadata.uid.clone().unwrap_or_default();
            self.deployment_by_uid.insert(uid, key_of(&new.metadata));
        }
        if let Some(it) = new.or(old) {
            self.dirty.insert(key_of(&it.metadata));
        }
    }

    fn index_labels(&mut self, metadata: &ObjectMeta, add: bool) {
        let (namespace, name) = key_of(metadata);
        let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
        let indexes = [(KUBERNETES_ID, &mut self.by_kubernetes_id), (APP_NAME, &mut self.by_app_name)];
        for (key, index) in indexes {
            if let Some(value) = label(key) {
                change_set(index, (namespace.clone(), value), &name, add);
            }
        }
    }

    pub fn replica_set_changed(&mut self, old: Option<&ReplicaSet>, new: Option<&ReplicaSet>) {
        let Some(it) = new.or(old) else { return };
        let name = it.metadata.name.clone().unwrap_or_default();
        let uid = it.metadata.uid.clone().unwrap_or_default();
        let Some(owner) = owner_uid(&it.metadata).map(str::to_string) else { return };
        change_set(&mut self.sets_of, owner.clone(), &name, new.is_some());
        if let Some(key) = self.deployment_by_uid.get(&owner) {
            self.dirty.insert(key.clone());
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
            let deployment =
                self.deployment_of_set.get(&owner).and_then(|uid| self.deployment_by_uid.get(uid));
            if let Some(key) = deployment {
                self.dirty.insert(key.clone());
            }
            change_set(&mut self.pods_of, owner, &name, add);
        }
    }

    pub fn look_again(&mut self, namespace: String, name: String) {
        self.dirty.insert((namespace, name));
    }

    /// What is not plainly well is looked at again as time passes: a pod may have waited too long by now.
    pub fn look_again_at_the_unwell(&mut self) -> bool {
        let unwell = self.summaries.iter().flat_map(|(namespace, all)| {
            let unwell = all.iter().filter(|(_, summary)| !summary.is_plainly_well());
            unwell.map(|(name, _)| (namespace.clone(), name.clone()))
        });
        let unwell: Vec<Key> = unwell.collect();
        self.dirty.extend(unwell);
        !self.dirty.is_empty()
    }

    /// Makes the summaries of everything that changed; gives the Deployments whose page changed.
    pub fn refresh(&mut self, now: Timestamp) -> Vec<Key> {
        let dirty: Vec<Key> = self.dirty.drain().collect();
        for (namespace, name) in &dirty {
            match self.observed(namespace, name) {
                Some(observed) => {
                    let summary = Arc::new(Summary::of(&observed, now));
                    self.summaries.entry(namespace.clone()).or_default().insert(name.clone(), summary);
                }
                None => {
                    if let Some(all) = self.summaries.get_mut(namespace) {
                        all.remove(name);
                    }
                }
            }
        }
        dirty
    }

    pub fn summary(&self, namespace: &str, name: &str) -> Option<&Arc<Summary>> {
        self.summaries.get(namespace)?.get(name)
    }

    /// A Deployment with its ReplicaSets and pods; events and logs are not watched.
    pub fn observed(&self, namespace: &str, name: &str) -> Option<Observed> {
        let deployment = self.deployments.get(namespace, name)?;
        let names = |index: &HashMap<String, BTreeSet<String>>, uid: &Option<String>| {
            uid.as_ref().and_then(|uid| index.get(uid)).cloned().unwrap_or_default()
        };
        let sets = names(&self.sets_of, &deployment.metadata.uid);
        let sets: Vec<&Arc<ReplicaSet>> =
            sets.iter().filter_map(|name| self.replica_sets.get(namespace, name)).collect();
        let pods = sets.iter().flat_map(|set| names(&self.pods_of, &set.metadata.uid));
        Some(Observed {
            deployment: Some(Deployment::clone(deployment)),
            pods: pods
                .filter_map(|name| self.pods.get(namespace, &name))
                .map(|pod| Pod::clone(pod))
                .collect(),
            replica_sets: sets.into_iter().map(|set| ReplicaSet::clone(set)).collect(),
            ..Observed::default()
        })
    }

    /// By the rules of [`Selector`]: more than one match is said, not guessed.
    pub fn find(&self, namespace: &str, selector: &Selector) -> Workload {
        let labelled = |index: &HashMap<Key, BTreeSet<String>>, value: &str| {
            index.get(&(namespace.to_string(), value.to_string())).cloned().unwrap_or_default()
        };
        let named = |name: &str| self.deployments.get(namespace, name).map(|_| name.to_string());
        let names: BTreeSet<String> = match selector {
            Selector::KubernetesId(id) => labelled(&self.by_kubernetes_id, id),
            Selector::Labels(pairs) => {
                let has = |deployment: &&Arc<Deployment>| {
                    let labels = deployment.metadata.labels.as_ref();
                    !pairs.is_empty()
                        && pairs
                            .iter()
                            .all(|(key, value)| labels.is_some_and(|all| all.get(key) == Some(value)))
                };
                let matching = self.deployments.in_namespace(namespace).filter(has);
                matching.filter_map(|deployment| deployment.metadata.name.clone()).collect()
            }
            Selector::Name(name) => {
                let labelled = labelled(&self.by_app_name, name);
                if labelled.is_empty() { named(name).into_iter().collect() } else { labelled }
            }
        };
        let mut names = names.into_iter().collect::<Vec<_>>();
        match names.len() {
            0 => Workload::None,
            1 => Workload::One { name: names.remove(0) },
            _ => Workload::Many { names },
        }
    }
}

fn key_of(metadata: &ObjectMeta) -> Key {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn change_set<I: std::hash::Hash + Eq>(
    index: &mut HashMap<I, BTreeSet<String>>,
    at: I,
    name: &str,
    add: bool,
) {
    if add {
        index.entry(at).or_default().insert(name.to_string());
    } else if let Some(names) = index.get_mut(&at) {
        names.remove(name);
        if names.is_empty() {
            index.remove(&at);
        }
    }
}

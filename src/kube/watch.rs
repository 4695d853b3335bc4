//! The watch cache: what the portal itself sees of a cluster, kept up to date by watches and answered from memory.
//!
//! ```text
//! API server ──watch──▶ kinds.rs trims ──▶ state.rs indexes ──▶ summary.rs, a moment later ──▶ changes()
//! ```
//! It starts empty and at once; pages say so until it is synced. When the cluster goes away the last known state
//! stays, [`Watch::is_stale`] says so, and the watches come back by themselves. It sees everything, so whoever shows
//! a person something from here asks first whether they may read that namespace.

mod kinds;
mod state;
mod summary;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::core::SelectorExt;
use kube::runtime::watcher;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::PortalClient;
use super::ownership;
use super::rollout::{self, Observed};
use super::status::{EnvironmentStatus, Health, Named, Workload};
use super::target::Target;
use super::workload::WorkloadKind;
use kinds::Watched;
use state::{Place, State};
pub use summary::Summary;

/// A cluster that was not heard of for this long is told as away.
const STALE_AFTER: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Changes are gathered for this long: a rollout is a burst of them.
const GATHER: Duration = Duration::from_millis(100);
/// The API server ends a watch after this long; a connection that died silently is noticed as fast.
const WATCH_SECONDS: u32 = 60;
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Something of a workload changed: itself, its ReplicaSets, its pods or its autoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub namespace: String,
    /// The workload's name.
    pub name: String,
}

pub struct Watch {
    cluster: String,
    state: RwLock<State>,
    contact: RwLock<Contact>,
    dirty: Notify,
    changes: broadcast::Sender<Changed>,
}

/// When the cluster was last heard of. The page shows the time; staleness is counted on a clock that can't be set.
#[derive(Clone, Copy, Default)]
struct Contact {
    seen: Option<(Timestamp, Instant)>,
}

/// What a service in an environment looks like in a list.
#[derive(Clone, Debug)]
pub struct Glance {
    pub workload: Workload,
    /// `None` unless exactly one workload matches.
    pub summary: Option<Arc<Summary>>,
    pub health: Health,
}

impl Watch {
    /// Begins to watch and returns at once.
    pub fn start(portal: &PortalClient, shutdown: CancellationToken) -> Arc<Self> {
        let watch = Arc::new(Self {
            cluster: portal.cluster().to_string(),
            state: RwLock::default(),
            contact: RwLock::default(),
            dirty: Notify::new(),
            changes: broadcast::channel(1_024).0,
        });
        watch.follow::<Deployment>(portal, &shutdown);
        watch.follow::<StatefulSet>(portal, &shutdown);
        watch.follow::<DaemonSet>(portal, &shutdown);
        watch.follow::<ReplicaSet>(portal, &shutdown);
        watch.follow::<Pod>(portal, &shutdown);
        watch.follow::<HorizontalPodAutoscaler>(portal, &shutdown);
        watch.follow::<PodDisruptionBudget>(portal, &shutdown);
        watch.follow::<ResourceQuota>(portal, &shutdown);
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(Arc::clone(&watch).refresh()));
        let heartbeat = Arc::clone(&watch).heartbeat(portal.clone());
        tokio::spawn(shutdown.run_until_cancelled_owned(heartbeat));
        watch
    }

    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Every change, gathered for a moment. A receiver that lags misses some and should look anew.
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    /// Whether the first full picture is there; until then "nothing runs" means "not known yet".
    pub fn is_synced(&self) -> bool {
        self.unsynced().is_empty()
    }

    /// The kinds that were not listed yet, for `/readyz`.
    pub fn unsynced(&self) -> Vec<&'static str> {
        let state = self.read();
        let kinds = [
            (Deployment::PLURAL, state.deployments.synced),
            (StatefulSet::PLURAL, state.stateful_sets.synced),
            (DaemonSet::PLURAL, state.daemon_sets.synced),
            (ReplicaSet::PLURAL, state.replica_sets.synced),
            (Pod::PLURAL, state.pods.synced),
            (HorizontalPodAutoscaler::PLURAL, state.autoscalers.synced),
            (PodDisruptionBudget::PLURAL, state.budgets.synced),
            (ResourceQuota::PLURAL, state.quotas.synced),
        ];
        kinds.into_iter().filter(|(_, synced)| !synced).map(|(name, _)| name).collect()
    }

    /// When the picture was last known to be right.
    pub fn seen(&self) -> Option<Timestamp> {
        let (seen, _) = self.contact().seen?;
        Some(self.broken_since().map_or(seen, |broken| seen.min(broken)))
    }

    /// The cluster does not answer, or a watch cannot be brought back: what is shown is as it was at [`Watch::seen`].
    pub fn is_stale(&self) -> bool {
        let silent = self.contact().seen.is_none_or(|(_, at)| at.elapsed() > STALE_AFTER);
        let broken = self
            .broken_since()
            .is_some_and(|since| Timestamp::now().duration_since(since).unsigned_abs() > STALE_AFTER);
        silent || broken
    }

    pub fn find(&self, target: &Target) -> Workload {
        self.read().find(&target.namespace, &target.selector)
    }

    /// Cheap: for lists and counts.
    pub fn glance(&self, target: &Target) -> Glance {
        let state = self.read();
        let workload = state.find(&target.namespace, &target.selector);
        let summary = match &workload {
            Workload::One(named) => state.summary(&target.namespace, named).cloned(),
            Workload::None | Workload::Many(_) => None,
        };
        let all = state.deployments.synced && state.stateful_sets.synced && state.daemon_sets.synced;
        let health = match (&workload, &summary) {
            (Workload::One(_), Some(summary)) => summary.health,
            (Workload::None, _) if all => Health::Missing,
            _ => Health::Unknown,
        };
        Glance { workload, summary, health }
    }

    /// Cheap: for lists and counts.
    pub fn health(&self, target: &Target) -> Health {
        self.glance(target).health
    }

    /// Everything a status card and its pod rows show.
    pub fn status(&self, target: &Target, now: Timestamp) -> EnvironmentStatus {
        let Glance { workload, summary, health } = self.glance(target);
        let observed = match &workload {
            Workload::One(named) => self.read().observed(&target.namespace, named),
            Workload::None | Workload::Many(_) => None,
        };
        // Between a change and its summary lies a moment; a page in it reads the objects themselves.
        let summary = summary.or_else(|| observed.as_ref().map(|it| Arc::new(Summary::of(it, now))));
        let reason = match (&workload, &summary) {
            (Workload::Many(many), _) => {
                let (count, names) = Named::told(many);
                format!("{count} match: {names}.")
            }
            (_, Some(summary)) => summary.sentence(now),
            (_, None) if health == Health::Unknown => "Not known yet.".into(),
            (_, None) => "Nothing runs here.".into(),
        };
        let known = summary.as_deref();
        EnvironmentStatus {
            health: known.map_or(health, |summary| summary.health),
            reason,
            version: known.map(|it| it.version.clone()).unwrap_or_default(),
            image: known.map(|it| it.image.clone()).unwrap_or_default(),
            ready: known.map_or(0, |it| it.ready),
            wanted: known.map_or(0, |it| it.wanted),
            pods: observed.map(|observed| rollout::pods(&observed, now)).unwrap_or_default(),
            seen: self.seen(),
            stale: self.is_stale(),
            workload,
        }
    }

    /// The workload of a target with its ReplicaSets and pods; `None` unless exactly one matches.
    pub fn observed(&self, target: &Target) -> Option<Observed> {
        let state = self.read();
        match state.find(&target.namespace, &target.selector) {
            Workload::One(named) => state.observed(&target.namespace, &named),
            Workload::None | Workload::Many(_) => None,
        }
    }

    pub fn quotas(&self, namespace: &str) -> Vec<Arc<ResourceQuota>> {
        self.read().quotas.in_namespace(namespace).cloned().collect()
    }

    /// The autoscaler that scales this workload.
    pub fn autoscaler(
        &self,
        namespace: &str,
        kind: WorkloadKind,
        name: &str,
    ) -> Option<Arc<HorizontalPodAutoscaler>> {
        let scales = |autoscaler: &&Arc<HorizontalPodAutoscaler>| ownership::scales(autoscaler, kind, name);
        self.read().autoscalers.in_namespace(namespace).find(scales).cloned()
    }

    /// The disruption budgets whose selector matches a pod with these labels.
    pub fn budgets(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Vec<Arc<PodDisruptionBudget>> {
        let covers = |budget: &&Arc<PodDisruptionBudget>| {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
            selector.is_some_and(|selector| matches(selector, labels))
        };
        self.read().budgets.in_namespace(namespace).filter(covers).cloned().collect()
    }

    /// Keeps one kind up to date for as long as the portal runs.
    fn follow<K: Watched>(self: &Arc<Self>, portal: &PortalClient, shutdown: &CancellationToken) {
        let watch = Arc::clone(self);
        let api: Api<K> = Api::all(portal.reader());
        let task = async move {
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default().timeout(WATCH_SECONDS)));
            let mut failures = 0;
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        failures = 0;
                        watch.heard();
                        let mut state = watch.write();
                        K::shelf(&mut state).broken_since = None;
                        if state.apply(event) {
                            watch.dirty.notify_one();
                        }
                    }
                    Err(error) => {
                        failures += 1;
                        watch.broke::<K>(&error);
                        tokio::time::sleep(backoff(failures)).await;
                    }
                }
            }
        };
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(task));
    }

    /// A watch that ends and resumes a moment later is no news; the heartbeat tells whether the cluster is there.
    fn broke<K: Watched>(&self, error: &watcher::Error) {
        let mut state = self.write();
        let kind = K::shelf(&mut state);
        if kind.broken_since.is_none() {
            kind.broken_since = Some(Timestamp::now());
            tracing::warn!(cluster = self.cluster, kind = K::PLURAL, %error, "a watch broke, it is tried again");
        }
    }

    /// Makes summaries of what changed and tells the live pages.
    async fn refresh(self: Arc<Self>) {
        loop {
            self.dirty.notified().await;
            tokio::time::sleep(GATHER).await;
            let changed = self.write().refresh(Timestamp::now());
            for Place { namespace, name, .. } in changed {
                // Nobody listens: fine.
                let _ = self.changes.send(Changed { namespace, name });
            }
        }
    }

    /// A quiet cluster sends nothing for minutes, so silence proves nothing: it is asked.
    async fn heartbeat(self: Arc<Self>, portal: PortalClient) {
        let mut ticks = tokio::time::interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Ok(Ok(_)) = tokio::time::timeout(HEARTBEAT, portal.ping()).await {
                self.heard();
            }
            if self.write().look_again_at_the_unwell() {
                self.dirty.notify_one();
            }
        }
    }

    fn heard(&self) {
        let mut contact = self.contact.write().unwrap_or_else(PoisonError::into_inner);
        contact.seen = Some((Timestamp::now(), Instant::now()));
    }

    fn contact(&self) -> Contact {
        *self.contact.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when a watch that pages rely on is broken.
    fn broken_since(&self) -> Option<Timestamp> {
        let state = self.read();
        // A watch that is back says so with its next event, and there are kinds that have none for days. They go and
        // come with these.
        let broken =
            [state.deployments.broken_since, state.replica_sets.broken_since, state.pods.broken_since];
        broken.into_iter().flatten().min()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Half a second, doubled each time, up to five: an outage is over for us when it is over for the cluster.
fn backoff(failures: u32) -> Duration {
    (Duration::from_millis(250) * 2u32.saturating_pow(failures.min(8))).min(MAX_BACKOFF)
}

fn matches(selector: LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    kube::core::Selector::try_from(selector).is_ok_and(|selector| selector.matches(labels))
}

//! Looking at a rollout as the person who asked for it. The engine does this every second or so for each deploy
//! that runs, so a rollout that goes well costs three small reads; events and logs are only asked for when
//! something is wrong, for then they are the answer.

use std::collections::BTreeMap;

use futures::future::{join_all, try_join};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::{Api, ListParams, LogParams};
use kube::core::Selector;

use super::client::UserClient;
use super::health;
use super::pod::{self, Doing};
use super::rollout::{Observed, owner_uid};
use super::status::Health;
use super::workload::{self, LiveWorkload, MakesPods, WorkloadRef};

/// A pod this young is just starting; nobody needs its events yet.
const YOUNG: SignedDuration = SignedDuration::from_secs(5);
const LOG_LINES: i64 = 10;
const LOG_BYTES: i64 = 16 * 1024;
/// Logs are read of this many crashed pods: they mostly say the same.
const LOG_PODS: usize = 3;

/// Reads a workload with all that explains it: its ReplicaSets and pods, and when something is wrong the events
/// since `since` and the last lines of what crashed. A workload that is not there is an [`Observed`] without one.
pub async fn observe(user: &UserClient, at: WorkloadRef<'_>, since: Timestamp) -> kube::Result<Observed> {
    let namespace = at.namespace;
    let Some(live) = workload::get(user, at).await? else { return Ok(Observed::default()) };
    let selected = selected_by(&live);
    let (sets, pods) = (user.api::<ReplicaSet>(namespace), user.api::<Pod>(namespace));
    let sets = async {
        match &live {
            LiveWorkload::Deployment(_) => Ok(owned(sets.list(&selected).await?.items, &[live.uid()])),
            LiveWorkload::StatefulSet(_) | LiveWorkload::DaemonSet(_) => Ok(Vec::new()),
        }
    };
    let (sets, pods) = try_join(sets, pods.list(&selected)).await?;
    let makers: Vec<Option<&str>> = match &live {
        LiveWorkload::Deployment(_) => sets.iter().map(|set| set.metadata.uid.as_deref()).collect(),
        LiveWorkload::StatefulSet(_) | LiveWorkload::DaemonSet(_) => vec![live.uid()],
    };
    let pods = owned(pods.items, &makers);
    let mut observed = Observed { replica_sets: sets, pods, workload: Some(live), ..Observed::default() };
    if needs_explaining(&observed, Timestamp::now()) {
        let events = events(user, namespace, &observed, since);
        let logs = async { Ok(last_logs(user, namespace, &observed).await) };
        let (events, logs) = try_join(events, logs).await?;
        observed.events = events;
        observed.last_logs = logs;
    }
    Ok(observed)
}

pub(super) fn selected_by(workload: &LiveWorkload) -> ListParams {
    let selector = workload.selector().cloned().unwrap_or_default();
    match Selector::try_from(selector) {
        Ok(selector) => ListParams::default().labels_from(&selector),
        // An operator kube-rs does not know: read all, `owned` sorts out.
        Err(_) => ListParams::default(),
    }
}

/// Labels can overlap between workloads, owners can't.
pub(super) fn owned<K: kube::Resource>(objects: Vec<K>, owners: &[Option<&str>]) -> Vec<K> {
    let is_ours = |object: &K| owner_uid(object.meta()).is_some_and(|owner| owners.contains(&Some(owner)));
    objects.into_iter().filter(is_ours).collect()
}

fn needs_explaining(observed: &Observed, now: Timestamp) -> bool {
    let is_young = |pod: &Pod| {
        let born = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        born.is_none_or(|born| now.duration_since(born) < YOUNG)
    };
    let stands = |pod: &Pod| match pod::doing(pod, &[]) {
        Doing::Ready { crashed: None, .. } | Doing::Stopping | Doing::Finished => true,
        Doing::Creating { .. } | Doing::Unready { .. } | Doing::Unscheduled { .. } | Doing::Unknown => {
            is_young(pod)
        }
        _ => false,
    };
    let refused = match &observed.workload {
        Some(LiveWorkload::Deployment(_)) | None => {
            observed.newest().is_some_and(|set| health::of_replica_set(set) == Health::Degraded)
        }
        // They say so with an event only.
        Some(live) => i32::try_from(observed.pods.len()).is_ok_and(|pods| pods < live.wanted()),
    };
    refused || !observed.new_pods().all(stands)
}

async fn events(
    user: &UserClient,
    namespace: &str,
    observed: &Observed,
    since: Timestamp,
) -> kube::Result<Vec<Event>> {
    let workload = observed.workload.iter().map(MakesPods::metadata);
    let sets = observed.replica_sets.iter().map(|set| &set.metadata);
    let pods = observed.pods.iter().map(|pod| &pod.metadata);
    let uids: Vec<&str> =
        workload.chain(sets).chain(pods).filter_map(|metadata| metadata.uid.as_deref()).collect();
    let ours = |event: &Event| {
        event.involved_object.uid.as_deref().is_some_and(|uid| uids.contains(&uid))
            // Events carry whole seconds, cut off.
            && pod::event_time(event).is_none_or(|at| at.as_second() >= since.as_second())
    };
    let events = user.api::<Event>(namespace).list(&ListParams::default()).await?;
    Ok(events.items.into_iter().filter(ours).collect())
}

/// By pod name. A log that is gone, or that this person may not read, is left out: the exit code still stands.
async fn last_logs(user: &UserClient, namespace: &str, observed: &Observed) -> BTreeMap<String, Vec<String>> {
    let api = user.api::<Pod>(namespace);
    let crashed = observed.new_pods().filter_map(|pod| {
        let container = match pod::doing(pod, &[]) {
            Doing::Crashes(crash) => crash.container,
            Doing::Ready { crashed: Some(crash), .. } => crash.container,
            _ => return None,
        };
        let name = pod.metadata.name.clone()?;
        let runs =
            status_of(pod, &container).and_then(|status| status.state.as_ref()?.running.as_ref()).is_some();
        let params = LogParams {
            container: Some(container),
            // While nothing runs, the plain log is the one of the container that ended last.
            previous: runs,
            tail_lines: Some(LOG_LINES),
            limit_bytes: Some(LOG_BYTES),
            ..LogParams::default()
        };
        Some((name, params))
    });
    let reads = crashed.take(LOG_PODS).map(|(name, params)| {
        let api = api.clone();
        async move {
            // It may have been started anew since its pod was listed: then what ended last is the other of the two.
            let other = LogParams { previous: !params.previous, ..params.clone() };
            for params in [params, other] {
                let lines = last_lines(&api, &name, &params).await;
                if !lines.is_empty() {
                    return Some((name, lines));
                }
            }
            None
        }
    });
    join_all(reads).await.into_iter().flatten().collect()
}

async fn last_lines(api: &Api<Pod>, pod: &str, params: &LogParams) -> Vec<String> {
    let text = api.logs(pod, params).await.unwrap_or_default();
    // The kubelet puts this into the log itself when the container's files are gone.
    let lines = text.lines().filter(|line| !line.starts_with("unable to retrieve container logs for "));
    lines.map(str::to_string).collect()
}

fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).find(|status| status.name == container)
}

//! The pods of a workload as the rollout page shows them: one row each, with the words beside the dot.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};

use super::pod::{self, Doing};
use super::rollout::Observed;
use super::status::PodState;
use super::{message, wording};

/// Every pod, those of the current template first; within each in the order they were made, so that rows do not jump.
pub fn pods(observed: &Observed, now: Timestamp) -> Vec<PodState> {
    let newest = observed.newest_revision();
    let is_new = |pod: &Pod| newest.is_some_and(|newest| newest.made(pod));
    let mut pods: Vec<&Pod> = observed.pods.iter().collect();
    pods.sort_by_cached_key(|pod| {
        (!is_new(pod), pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone())
    });
    pods.into_iter().map(|pod| pod_state(pod, is_new(pod), &observed.events, now)).collect()
}

pub(super) fn pod_state(pod: &Pod, new: bool, events: &[Event], now: Timestamp) -> PodState {
    let doing = pod::doing(pod, events);
    let first = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let (class, words) = describe(&doing, new, now);
    PodState {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        new,
        image: first.and_then(|container| container.image.clone()).unwrap_or_default(),
        class: class.into(),
        words,
        ready: matches!(doing, Doing::Ready { .. }),
        restarts: pod::restarts(pod),
        started: pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0),
    }
}

/// The dot's class and the words beside a pod.
fn describe(doing: &Doing, new: bool, now: Timestamp) -> (&'static str, String) {
    let restarted = |number: i32| match number {
        0 => String::new(),
        1 => ", 1 restart".into(),
        more => format!(", {more} restarts"),
    };
    match doing {
        Doing::Stopping => ("idle", "stopping".into()),
        Doing::Finished => ("idle", "finished".into()),
        Doing::Unknown => ("idle", "not reported yet".into()),
        Doing::Evicted { message } => ("warn", format!("evicted: {}", wording::quote(message, 120))),
        Doing::Unscheduled { .. } => ("prog", "waits for a node".into()),
        Doing::Creating { pulling: true } => ("prog", "pulling the image".into()),
        Doing::Creating { pulling: false } => ("prog", "being created".into()),
        Doing::PullFails { why: pod::Pull::NotFound, .. } => ("bad", "the image does not exist".into()),
        Doing::PullFails { why: pod::Pull::Denied, .. } => ("bad", "may not pull the image".into()),
        Doing::PullFails { why: pod::Pull::Network, .. } => ("bad", "cannot reach the image registry".into()),
        Doing::Misconfigured { message, .. } => {
            let missing = message::missing_configuration(message);
            ("bad", format!("cannot start: {}", missing.unwrap_or_else(|| wording::quote(message, 120))))
        }
        Doing::CannotStart { message, .. } => {
            ("bad", format!("cannot start: {}", message::runtime_error(message)))
        }
        Doing::Crashes(crash) => ("bad", format!("{}{}", crash.words(), restarted(crash.restarts))),
        Doing::Unready { failing: true, startup: true, .. } => {
            ("prog", "starting, startup probe fails".into())
        }
        Doing::Unready { failing: true, .. } => ("prog", "starting, readiness probe fails".into()),
        Doing::Unready { since: Some(since), .. } => {
            ("prog", format!("starting for {}, not ready", wording::since(*since, now)))
        }
        Doing::Unready { since: None, .. } => ("prog", "starting, not ready".into()),
        Doing::Gated { gate } => ("prog", format!("waits for the readiness gate {gate}")),
        Doing::Ready { since, crashed } => {
            let class = match crashed {
                _ if !new => "idle",
                Some(crash) if crash.is_recent(now) => "warn",
                _ => "ok",
            };
            let ready =
                since.map_or("ready".into(), |since| format!("ready for {}", wording::since(since, now)));
            (class, ready + &restarted(crashed.as_ref().map_or(0, |crash| crash.restarts)))
        }
    }
}

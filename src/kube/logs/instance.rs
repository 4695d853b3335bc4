//! One run of one container. A restart makes a new one, with an id and a log of its own.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

/// Named by ids, because names are used again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    pub pod: String,
    pub uid: String,
    pub container: String,
    /// Of the runtime, without the `containerd://` before it.
    pub id: String,
}

/// How an instance's log can be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It runs: its log may grow.
    Running,
    /// It has ended and none came after it.
    Ended,
    /// Another run of the container came after it; Kubernetes calls its log `previous`.
    Previous,
    /// Not listed any more, and neither is its log.
    Gone,
}

/// Every instance of a pod whose log Kubernetes still has, older ones of a container first.
pub fn instances(pod: &Pod) -> Vec<(Instance, Found)> {
    let (Some(name), Some(uid)) = (&pod.metadata.name, &pod.metadata.uid) else { return Vec::new() };
    let status = pod.status.as_ref();
    let groups = status.map(|status| {
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses]
    });
    let mut found = Vec::new();
    for container in groups.into_iter().flatten().flat_map(|group| group.iter().flatten()) {
        let instance = |id: &str| Instance {
            pod: name.clone(),
            uid: uid.clone(),
            container: container.name.clone(),
            id: id.split_once("://").map_or(id, |(_, id)| id).to_string(),
        };
        let current = container.container_id.as_deref().filter(|id| !id.is_empty()).map(instance);
        let previous = last_end(container).and_then(|end| end.container_id.as_deref()).map(instance);
        if let Some(previous) = previous.filter(|previous| current.as_ref() != Some(previous)) {
            // Before the next run begins, the last one is what Kubernetes answers with.
            found.push((previous, if current.is_some() { Found::Previous } else { Found::Ended }));
        }
        let running = container.state.as_ref().is_some_and(|state| state.running.is_some());
        found.extend(current.map(|current| (current, if running { Found::Running } else { Found::Ended })));
    }
    found
}

impl Instance {
    pub fn found_in(&self, pod: Option<&Pod>) -> Found {
        let listed = pod.map(instances).unwrap_or_default();
        listed.into_iter().find(|(instance, _)| instance == self).map_or(Found::Gone, |(_, found)| found)
    }
}

fn last_end(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    container.last_state.as_ref()?.terminated.as_ref()
}

/// When and why the run before this one ended: "out of memory at 64Mi, exit 137".
pub fn restart_reason(pod: &Pod, container: &str) -> Option<(Timestamp, String)> {
    let status = pod.status.as_ref()?;
    let statuses = [&status.init_container_statuses, &status.container_statuses];
    let found =
        statuses.into_iter().flat_map(|group| group.iter().flatten()).find(|one| one.name == container)?;
    let end = last_end(found)?;
    let at = end.finished_at.as_ref()?.0;
    let spec = pod.spec.as_ref()?;
    let declared = spec.containers.iter().find(|one| one.name == container);
    let limit = declared.and_then(|one| one.resources.as_ref()?.limits.as_ref()?.get("memory"));
    let why = match (end.reason.as_deref(), limit) {
        (Some("OOMKilled"), Some(limit)) => format!("out of memory at {}, exit {}", limit.0, end.exit_code),
        (Some("OOMKilled"), None) => format!("out of memory, exit {}", end.exit_code),
        _ => format!("exit {}", end.exit_code),
    };
    Some((at, why))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(container: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "checkout-1", "uid": "u"},
            "spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": "64Mi"}}}]},
            "status": {"containerStatuses": [container]},
        }))
        .unwrap()
    }

    fn seen(container: serde_json::Value) -> Vec<(String, Found)> {
        instances(&pod(container)).into_iter().map(|(instance, found)| (instance.id, found)).collect()
    }

    #[test]
    fn a_restarted_container_has_two_logs() {
        let status = json!({"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 1,
            "containerID": "containerd://bbb", "state": {"running": {}},
            "lastState": {"terminated": {"containerID": "containerd://aaa", "exitCode": 137, "reason": "OOMKilled",
                "finishedAt": "2026-11-23T14:24:33Z"}}});
        assert_eq!(seen(status.clone()), [("aaa".into(), Found::Previous), ("bbb".into(), Found::Running)]);
        let (at, why) = restart_reason(&pod(status), "app").unwrap();
        assert_eq!(
            (at.to_string(), why.as_str()),
            ("2026-11-23T14:24:33Z".into(), "out of memory at 64Mi, exit 137")
        );
    }

    #[test]
    fn between_two_runs_the_last_one_is_the_current_one() {
        let waiting = json!({"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 1,
            "containerID": "containerd://aaa", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"containerID": "containerd://aaa", "exitCode": 1}}});
        assert_eq!(seen(waiting), [("aaa".into(), Found::Ended)]);
    }

    #[test]
    fn a_container_that_was_never_made_has_no_log() {
        let waiting = json!({"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}}});
        assert_eq!(seen(waiting), []);
    }
}

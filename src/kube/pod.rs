//! What one pod is doing, read off its status. Rollout page, health and diagnosis all start from here, so they
//! can't tell three stories about the same pod.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, Event, Pod, PodCondition, Probe,
};

use super::quantity;

/// The one thing that stands between a pod and serving, first of them in the order a pod meets them.
#[derive(Clone, Debug, PartialEq)]
pub enum Doing {
    /// On its way out: deleted, containers still ending.
    Stopping,
    /// All containers ended well (a Job's pod).
    Finished,
    /// The node threw it out, or it lost its place to a pod of higher priority.
    Evicted {
        message: String,
    },
    /// No node took it. `since` is when the scheduler said so first.
    Unscheduled {
        since: Option<Timestamp>,
        message: String,
    },
    /// On a node, containers being made.
    Creating {
        pulling: bool,
    },
    PullFails {
        container: String,
        image: String,
        why: Pull,
        message: String,
    },
    /// A ConfigMap, Secret or key of one that its environment names is missing.
    Misconfigured {
        container: String,
        message: String,
    },
    /// The runtime could not start the process: wrong command, wrong architecture, forbidden user.
    CannotStart {
        container: String,
        message: String,
    },
    Crashes(Crash),
    /// Runs and does not answer its readiness (or startup) probe yet, or anymore.
    Unready {
        container: String,
        probe: Option<String>,
        startup: bool,
        since: Option<Timestamp>,
        /// The kubelet has reported a failed probe.
        failing: bool,
    },
    /// Every container is ready; something outside (a load balancer's gate) is not.
    Gated {
        gate: String,
    },
    Ready {
        since: Option<Timestamp>,
        /// Its last crash, if it ever had one.
        crashed: Option<Crash>,
    },
    /// The node's kubelet has not reported yet, or not for long.
    Unknown,
}

/// Why an image does not come. Only what is not there will never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pull {
    NotFound,
    Denied,
    Network,
}

/// The end of a container that should have gone on.
#[derive(Clone, Debug, PartialEq)]
pub struct Crash {
    pub container: String,
    pub init: bool,
    pub exit: i32,
    /// The memory limit it died at, where it died of memory: "64 MiB".
    pub out_of_memory: Option<String>,
    pub restarts: i32,
    pub finished: Option<Timestamp>,
    /// What the process left in its termination message.
    pub message: String,
}

impl Crash {
    /// "crashes: exit 1", "out of memory at 64 MiB".
    pub fn words(&self) -> String {
        match &self.out_of_memory {
            Some(limit) if limit.is_empty() => "out of memory".into(),
            Some(limit) => format!("out of memory at {limit}"),
            None if self.exit == 0 => "ends: exit 0".into(),
            None => format!("crashes: exit {}", self.exit),
        }
    }

    /// A restart is news for ten minutes.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        self.finished.is_some_and(|at| now.duration_since(at).as_mins() < 10)
    }
}

/// Every container is ready, so Services send traffic to it.
pub fn is_ready(pod: &Pod) -> bool {
    matches!(doing(pod, &[]), Doing::Ready { .. })
}

/// Reads a pod's status. Events of the pod sharpen the answer ("pulling", "a probe failed") and may be missing.
pub fn doing(pod: &Pod, events: &[Event]) -> Doing {
    let Some(status) = &pod.status else { return Doing::Unknown };
    let phase = status.phase.as_deref().unwrap_or_default();
    if phase == "Failed"
        && matches!(status.reason.as_deref(), Some("Evicted" | "Preempting" | "NodeShutdown"))
    {
        return Doing::Evicted { message: status.message.clone().unwrap_or_default() };
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Doing::Stopping;
    }
    if phase == "Succeeded" {
        return Doing::Finished;
    }
    if let Some(scheduled) = condition(pod, "PodScheduled").filter(|scheduled| scheduled.status == "False") {
        return Doing::Unscheduled {
            since: scheduled.last_transition_time.as_ref().map(|time| time.0),
            message: scheduled.message.clone().unwrap_or_default(),
        };
    }
    let spec = pod.spec.clone().unwrap_or_default();
    let init = status.init_container_statuses.iter().flatten().map(|container| (container, true));
    let main = status.container_statuses.iter().flatten().map(|container| (container, false));
    let mut creating = status.container_statuses.as_ref().is_none_or(Vec::is_empty);
    for (container, init) in init.chain(main) {
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let declared = all.find(|declared| declared.name == container.name);
        match container_trouble(container, declared, init) {
            Some(Doing::Creating { .. }) => creating = true,
            Some(Doing::Unready { container, probe, startup, since, .. }) if !creating => {
                let failing =
                    events_of(pod, events).any(|event| event.reason.as_deref() == Some("Unhealthy"));
                return Doing::Unready { container, probe, startup, since, failing };
            }
            Some(Doing::Unready { .. }) | None => {}
            Some(trouble) => return trouble,
        }
    }
    if creating {
        return Doing::Creating { pulling: is_pulling(pod, events) };
    }
    match condition(pod, "Ready") {
        Some(ready) if ready.status == "True" => Doing::Ready {
            since: ready.last_transition_time.as_ref().map(|time| time.0),
            crashed: last_crash(pod),
        },
        _ => match open_gate(pod) {
            Some(gate) => Doing::Gated { gate },
            None => Doing::Unknown,
        },
    }
}

/// What keeps one container from serving; `None` when nothing does.
fn container_trouble(status: &ContainerStatus, declared: Option<&Container>, init: bool) -> Option<Doing> {
    let state = status.state.clone().unwrap_or_default();
    let container = status.name.clone();
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.clone().unwrap_or_default();
        return Some(match waiting.reason.as_deref().unwrap_or_default() {
            "" | "ContainerCreating" | "PodInitializing" => Doing::Creating { pulling: false },
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "RegistryUnavailable"
            | "ImageInspectError"
            | "SignatureValidationFailed" => {
                let why = why_no_image(&message);
                Doing::PullFails { container, image: declared_image(status, declared), why, message }
            }
            "CreateContainerConfigError" => Doing::Misconfigured { container, message },
            "CrashLoopBackOff" => match last {
                Some(end) if could_not_start(end) => {
                    Doing::CannotStart { container, message: end.message.clone().unwrap_or_default() }
                }
                Some(end) => Doing::Crashes(crash(status, end, declared, init)),
                None => Doing::CannotStart { container, message },
            },
            _ => Doing::CannotStart { container, message },
        });
    }
    if let Some(end) = &state.terminated {
        return match end.exit_code {
            0 if init => None,
            _ if could_not_start(end) => {
                Some(Doing::CannotStart { container, message: end.message.clone().unwrap_or_default() })
            }
            _ => Some(Doing::Crashes(crash(status, end, declared, init))),
        };
    }
    // A sidecar among the init containers runs on and counts as ready or not; a plain one that runs is work under way.
    let sidecar = declared.is_some_and(|declared| declared.restart_policy.as_deref() == Some("Always"));
    if init && !sidecar {
        return Some(Doing::Creating { pulling: false });
    }
    if status.ready {
        return None;
    }
    if let Some(end) = last.filter(|_| status.restart_count > 0) {
        // Between two crashes a container runs for a moment: still the same story.
        return Some(Doing::Crashes(crash(status, end, declared, init)));
    }
    let startup = status.started == Some(false) && declared.is_some_and(|it| it.startup_probe.is_some());
    let probe =
        declared.and_then(|it| if startup { it.startup_probe.as_ref() } else { it.readiness_probe.as_ref() });
    Some(Doing::Unready {
        container,
        probe: probe.map(|probe| probe_text(probe, declared)),
        startup,
        since: state.running.and_then(|running| running.started_at).map(|time| time.0),
        failing: false,
    })
}

fn could_not_start(end: &ContainerStateTerminated) -> bool {
    matches!(end.reason.as_deref(), Some("StartError" | "ContainerCannotRun"))
}

fn crash(
    status: &ContainerStatus,
    end: &ContainerStateTerminated,
    declared: Option<&Container>,
    init: bool,
) -> Crash {
    let limit = || {
        let limits = declared.and_then(|declared| declared.resources.as_ref()?.limits.as_ref());
        limits
            .and_then(|limits| limits.get("memory"))
            .map(|limit| quantity::show_text("memory", &limit.0))
            .unwrap_or_default()
    };
    Crash {
        container: status.name.clone(),
        init,
        exit: end.exit_code,
        out_of_memory: (end.reason.as_deref() == Some("OOMKilled")).then(limit),
        restarts: status.restart_count,
        finished: end.finished_at.as_ref().map(|time| time.0),
        message: end.message.clone().unwrap_or_default(),
    }
}

/// The last time a container of this pod ended and was started again.
pub fn last_crash(pod: &Pod) -> Option<Crash> {
    let status = pod.status.as_ref()?;
    let spec = pod.spec.as_ref()?;
    let init = status.init_container_statuses.iter().flatten().map(|container| (container, true));
    let main = status.container_statuses.iter().flatten().map(|container| (container, false));
    init.chain(main)
        .filter(|(container, _)| container.restart_count > 0)
        .filter_map(|(container, init)| {
            let end = last_end(container)?;
            let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            let declared = all.find(|declared| declared.name == container.name);
            Some(crash(container, end, declared, init))
        })
        .max_by_key(|crash| crash.finished)
}

fn last_end(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let ended =
        |state: &'_ Option<ContainerState>| state.as_ref().is_some_and(|state| state.terminated.is_some());
    let state = if ended(&container.state) { &container.state } else { &container.last_state };
    state.as_ref()?.terminated.as_ref()
}

/// Restarts of all containers.
pub fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let init = status.into_iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let main = status.into_iter().flat_map(|status| status.container_statuses.iter().flatten());
    init.chain(main).map(|container| container.restart_count).sum()
}

pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// Events that name this very pod, not one of the same name before it.
pub fn events_of<'a>(pod: &'a Pod, events: &'a [Event]) -> impl Iterator<Item = &'a Event> {
    let uid = pod.metadata.uid.as_deref();
    events.iter().filter(move |event| uid.is_some() && event.involved_object.uid.as_deref() == uid)
}

/// When an event was last seen; events have three ways to say so.
pub fn event_time(event: &Event) -> Option<Timestamp> {
    let series =
        event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let exact = event.event_time.as_ref().map(|time| time.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    series.or(last).or(exact).or(created)
}

/// The runtimes and registries have no codes, only words; the messages of containerd and cri-o are read here.
fn why_no_image(message: &str) -> Pull {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    // Many registries answer "denied" for what does not exist as well; then there is no telling them apart.
    if says(&[
        "unauthorized",
        "denied",
        "forbidden",
        "authentication required",
        "authorization failed",
        "401",
        "403",
    ]) {
        Pull::Denied
    } else if says(&[
        "not found",
        "manifest unknown",
        "name unknown",
        "no such manifest",
        "couldn't parse image",
        "invalid reference",
    ]) {
        Pull::NotFound
    } else {
        Pull::Network
    }
}

fn declared_image(status: &ContainerStatus, declared: Option<&Container>) -> String {
    declared.and_then(|declared| declared.image.clone()).unwrap_or_else(|| status.image.clone())
}

fn is_pulling(pod: &Pod, events: &[Event]) -> bool {
    let last = |reason: &str| {
        events_of(pod, events)
            .filter(|event| event.reason.as_deref() == Some(reason))
            .filter_map(event_time)
            .max()
    };
    last("Pulling").is_some_and(|pulling| last("Pulled").is_none_or(|pulled| pulled < pulling))
}

fn open_gate(pod: &Pod) -> Option<String> {
    let gates = pod.spec.as_ref()?.readiness_gates.as_ref()?;
    let open = gates
        .iter()
        .find(|gate| condition(pod, &gate.condition_type).is_none_or(|gate| gate.status != "True"));
    open.map(|gate| gate.condition_type.clone())
}

/// A probe as a person would write it: `GET /readyz on port 8080, every 2 s, …`.
pub fn probe_text(probe: &Probe, declared: Option<&Container>) -> String {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    let port = |port: &IntOrString| match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => {
            let mut ports = declared.into_iter().flat_map(|declared| declared.ports.iter().flatten());
            match ports.find(|port| port.name.as_deref() == Some(name)) {
                Some(port) => port.container_port.to_string(),
                None => name.clone(),
            }
        }
    };
    let what = if let Some(http) = &probe.http_get {
        format!("GET {} on port {}", http.path.as_deref().unwrap_or("/"), port(&http.port))
    } else if let Some(tcp) = &probe.tcp_socket {
        format!("a connection to port {}", port(&tcp.port))
    } else if let Some(grpc) = &probe.grpc {
        format!("gRPC health on port {}", grpc.port)
    } else if let Some(exec) = &probe.exec {
        format!("`{}`", exec.command.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" "))
    } else {
        "a probe".into()
    };
    format!(
        "{what}, every {} s, given up after {} failures in a row",
        probe.period_seconds.unwrap_or(10),
        probe.failure_threshold.unwrap_or(3)
    )
}

//! The one reason. A rollout that does not move has many symptoms and mostly one cause; this finds it, says it in
//! one sentence, and shows what it was read from.
//!
//! Only pods of the newest template are looked at, and only what happened since the deploy began: yesterday's crash is
//! not today's reason. The rules stand in the order in which a pod meets them, the first that applies is the
//! pod's cause, and the cause that most pods share is the reason. What the API server itself refuses never gets
//! here: the write fails, and `Refusal` says why.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde::{Deserialize, Serialize};

use super::message;
use super::pod::{self, Crash, Doing, Pull};
use super::refused_pod::{self, Hopeless};
use super::rollout::Observed;
use super::wording;
use super::workload::{LiveWorkload, MakesPods};

/// A scheduler that needs longer than this is not just busy. A starting process gets as long to become ready.
const PATIENCE: SignedDuration = SignedDuration::from_secs(15);
/// Enough to understand, little enough to read.
const MAX_EVIDENCE_EVENTS: usize = 2;

/// Why it does not move, what shows it, and what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Numbers first: "2 of 3 pods: out of memory at 64 MiB, 4 restarts."
    pub sentence: String,
    pub evidence: Vec<Evidence>,
    /// The next thing to do, as an instruction.
    pub action: String,
    /// Waiting longer can't help: fail now instead of at the deadline.
    pub fatal: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Evidence {
    Event { at: Option<Timestamp>, object: String, text: String },
    Log { pod: String, container: String, lines: Vec<String> },
    Probe { text: String },
    Condition { text: String },
}

/// Which rule found it in a pod; the order is the rank among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Unscheduled,
    Mount,
    CannotStart,
    Crash,
    Unready,
    Evicted,
}

/// One pod's cause. Pods with the same key share it.
struct Finding {
    rule: Rule,
    key: String,
    /// Follows "2 of 3 pods: ", without a full stop.
    cause: String,
    action: String,
    fatal: bool,
    evidence: Vec<Evidence>,
}

/// The one reason why the pods of the newest template do not all serve; `None` while all is well or merely young.
/// `since` is when the deploy began ([`Timestamp::MIN`] asks about a service at rest).
pub fn reason(observed: &Observed, since: Timestamp, now: Timestamp) -> Option<Reason> {
    let scene = Scene { observed, since, now };
    let refused = match observed.workload.as_ref()? {
        LiveWorkload::Deployment(_) => observed.newest().and_then(|newest| scene.failed_create(newest)),
        live @ (LiveWorkload::StatefulSet(_) | LiveWorkload::DaemonSet(_)) => scene.failed_create_of(live),
    };
    // A quota that only throttles the surge must not hide what is wrong with the pods that got in.
    let (first, last) = match refused {
        Some(refusal) if refusal.fatal || observed.new_pods().next().is_none() => (Some(refusal), None),
        throttled => (None, throttled),
    };
    first.or_else(|| scene.most_common_cause()).or(last).or_else(|| scene.held_up())
}

/// What keeps a pod that no ReplicaSet makes from starting. `observed` has its events.
pub(super) fn of_pod(observed: &Observed, pod: &Pod, since: Timestamp, now: Timestamp) -> Option<Reason> {
    let Finding { cause, evidence, action, fatal, .. } = Scene { observed, since, now }.finding(pod)?;
    let mut letters = cause.chars();
    let cause: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    Some(Reason { sentence: format!("{cause}."), evidence, action, fatal })
}

struct Scene<'a> {
    observed: &'a Observed,
    since: Timestamp,
    now: Timestamp,
}

impl Scene<'_> {
    /// The controller may not make pods at all.
    fn failed_create(&self, newest: &ReplicaSet) -> Option<Reason> {
        let conditions = newest.status.as_ref()?.conditions.as_ref()?;
        let failure = conditions.iter().find(|it| it.type_ == "ReplicaFailure" && it.status == "True")?;
        let text = failure.message.clone().unwrap_or_default();
        let stands = failure.last_transition_time.as_ref().is_none_or(|from| self.is_over(from.0));
        let wanted = newest.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let made = newest.status.as_ref().map_or(0, |status| status.replicas);
        let missing = wording::count(usize::try_from(wanted - made).unwrap_or(0).max(1), "pod");
        // With one new pod in, old ones will end and make room: only no progress at all is hopeless.
        let stuck = made == 0;
        let refused = refused_pod::explain(&text);
        let evidence = [Evidence::Condition { text: wording::quote(&text, 2_000) }];
        let events = self.events(newest.metadata.uid.as_deref(), &["FailedCreate"]).into_iter().take(1);
        Some(Reason {
            sentence: format!("{missing} cannot be created: {}.", refused.cause),
            evidence: evidence.into_iter().chain(events).collect(),
            action: refused.action,
            fatal: match refused.hopeless {
                Hopeless::Never => false,
                Hopeless::AtOnce => stuck,
                Hopeless::WhenItStands => stuck && stands,
            },
        })
    }

    /// As [`Scene::failed_create`]: a StatefulSet and a DaemonSet say so with an event, again at every try.
    fn failed_create_of(&self, workload: &LiveWorkload) -> Option<Reason> {
        let wanted = usize::try_from(workload.wanted()).unwrap_or(0);
        let missing = wanted.checked_sub(self.observed.pods.len()).filter(|missing| *missing > 0)?;
        let ours = |event: &&Event| {
            event.involved_object.uid.as_deref() == workload.uid()
                && event.reason.as_deref() == Some("FailedCreate")
                && self.is_ours(event)
        };
        let last = self.observed.events.iter().filter(ours).max_by_key(|event| pod::event_time(event))?;
        let refused = refused_pod::explain(last.message.as_deref().unwrap_or_default());
        Some(Reason {
            sentence: format!("{} cannot be created: {}.", wording::count(missing, "pod"), refused.cause),
            evidence: self.events(workload.uid(), &["FailedCreate"]).into_iter().take(1).collect(),
            action: refused.action,
            fatal: refused.hopeless == Hopeless::AtOnce && self.observed.new_pods().next().is_none(),
        })
    }

    /// A StatefulSet replaces a pod only when the others are ready, and one of an older template is not.
    fn held_up(&self) -> Option<Reason> {
        let Some(workload @ LiveWorkload::StatefulSet(_)) = &self.observed.workload else { return None };
        let newest = self.observed.newest_revision()?;
        let fails = |pod: &&Pod| match pod::doing(pod, &[]) {
            Doing::Crashes(_)
            | Doing::PullFails { .. }
            | Doing::Misconfigured { .. }
            | Doing::CannotStart { .. } => true,
            Doing::Unready { since, .. } => since.is_some_and(|since| self.is_over(since)),
            _ => false,
        };
        let pod = self.observed.pods.iter().filter(|pod| !newest.made(pod)).find(fails)?;
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let namespace = workload.metadata().namespace.as_deref().unwrap_or_default();
        Some(Reason {
            sentence: format!(
                "The pod {name} is of an earlier version and not ready, and a StatefulSet changes no pod before it is."
            ),
            evidence: Vec::new(),
            action: format!(
                "Delete it, then it comes back as the new version: kubectl -n {namespace} delete pod {name}"
            ),
            fatal: false,
        })
    }

    fn most_common_cause(&self) -> Option<Reason> {
        let pods: Vec<&Pod> = self
            .observed
            .new_pods()
            .filter(|pod| !matches!(pod::doing(pod, &[]), Doing::Stopping | Doing::Finished))
            .collect();
        let mut groups: Vec<(usize, Finding)> = Vec::new();
        for finding in pods.iter().filter_map(|pod| self.finding(pod)) {
            match groups.iter_mut().find(|(_, known)| known.key == finding.key && known.rule == finding.rule)
            {
                Some((count, _)) => *count += 1,
                None => groups.push((1, finding)),
            }
        }
        let by_weight = |(count, finding): &(usize, Finding)| (*count, std::cmp::Reverse(finding.rule));
        let (count, finding) = groups.into_iter().max_by_key(by_weight)?;
        Some(Reason {
            sentence: format!("{count} of {}: {}.", wording::count(pods.len(), "pod"), finding.cause),
            evidence: finding.evidence,
            action: finding.action,
            fatal: finding.fatal,
        })
    }

    /// What keeps this pod from serving, by the rules.
    fn finding(&self, pod: &Pod) -> Option<Finding> {
        let uid = pod.metadata.uid.as_deref();
        match pod::doing(pod, &self.observed.events) {
            Doing::Unscheduled { since, message } => {
                since.is_none_or(|since| self.is_over(since)).then(|| Finding {
                    rule: Rule::Unscheduled,
                    key: message.clone(),
                    cause: format!("no room, {}", message::unschedulable(&message)),
                    action: "Ask for less CPU or memory, or have a node added; the cluster keeps trying."
                        .into(),
                    fatal: false,
                    evidence: vec![Evidence::Condition { text: message }],
                })
            }
            Doing::Creating { .. } => self.mount_finding(pod),
            Doing::Misconfigured { container, message } => {
                let missing = message::missing_configuration(&message);
                let cause = missing.clone().unwrap_or_else(|| wording::quote(&message, 200));
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                Some(Finding {
                    rule: Rule::CannotStart,
                    key: format!("{container} {cause}"),
                    action: match missing {
                        Some(_) => format!(
                            "Create it in the namespace {namespace}; the pods then start by themselves."
                        ),
                        None => "Mend the container's configuration, or roll back.".into(),
                    },
                    cause,
                    fatal: false,
                    evidence: self.events(uid, &["Failed"]),
                })
            }
            Doing::PullFails { container, image, why, message } => Some(Finding {
                rule: Rule::CannotStart,
                key: format!("{container} {why:?}"),
                cause: match why {
                    Pull::NotFound => format!("the image {image} does not exist"),
                    Pull::Denied => format!("the registry refuses to hand out the image {image}"),
                    Pull::Network => format!("the image {image} cannot be fetched"),
                },
                action: match why {
                    Pull::NotFound => "Deploy a version that exists, or push this one first.",
                    Pull::Denied => "Give the namespace a pull secret that may read this repository.",
                    Pull::Network => "Check that the nodes reach the registry; the cluster keeps trying.",
                }
                .into(),
                fatal: why == Pull::NotFound,
                evidence: [Evidence::Condition { text: wording::quote(&message, 500) }]
                    .into_iter()
                    .chain(self.events(uid, &["Failed"]))
                    .collect(),
            }),
            Doing::CannotStart { container, message } => Some(Finding {
                rule: Rule::CannotStart,
                key: container.clone(),
                cause: format!(
                    "the container {container} cannot start: {}",
                    message::runtime_error(&message)
                ),
                action: "Check the command and the image's architecture, or roll back.".into(),
                fatal: false,
                evidence: self.events(uid, &["Failed", "BackOff"]),
            }),
            Doing::Crashes(crash) => Some(self.crash_finding(pod, &crash)),
            Doing::Ready { crashed: Some(crash), .. } => {
                let news = crash.is_recent(self.now);
                let ours = crash.finished.is_none_or(|at| at.as_second() >= self.since.as_second());
                (news && ours).then(|| self.crash_finding(pod, &crash))
            }
            Doing::Unready { container, probe, startup, since, .. } => since
                .is_none_or(|since| self.is_over(since))
                .then(|| self.unready_finding(pod, &container, probe, startup)),
            Doing::Gated { gate } => Some(Finding {
                rule: Rule::Unready,
                key: gate.clone(),
                cause: format!("waits for the readiness gate {gate}"),
                action: "Look at the load balancer or controller that sets this gate.".into(),
                fatal: false,
                evidence: vec![],
            }),
            Doing::Evicted { message } => Some(Finding {
                rule: Rule::Evicted,
                key: String::new(),
                cause: format!("evicted, {}", wording::quote(message.trim_end_matches(['.', ' ']), 160)),
                action: "Nothing: the cluster makes a new pod.".into(),
                fatal: false,
                evidence: self.events(uid, &["Evicted", "Preempted"]),
            }),
            Doing::Ready { crashed: None, .. } | Doing::Stopping | Doing::Finished | Doing::Unknown => None,
        }
    }

    /// A volume that does not come, once the kubelet has said so twice.
    fn mount_finding(&self, pod: &Pod) -> Option<Finding> {
        let uid = pod.metadata.uid.as_deref();
        let failed = |event: &&Event| {
            matches!(event.reason.as_deref(), Some("FailedMount" | "FailedAttachVolume"))
                && self.is_ours(event)
        };
        let event = pod::events_of(pod, &self.observed.events)
            .filter(failed)
            .max_by_key(|event| pod::event_time(event))?;
        let times = event.count.or(event.series.as_ref().and_then(|series| series.count)).unwrap_or(1);
        if times < 2 {
            return None;
        }
        let text = event.message.clone().unwrap_or_default();
        let missing = message::missing_configuration(text.rsplit(" : ").next().unwrap_or(&text));
        let volume = text.split("volume \"").nth(1).and_then(|rest| rest.split('"').next());
        let cause = match (volume, &missing) {
            (Some(volume), Some(missing)) => format!("the volume {volume} cannot be mounted: {missing}"),
            _ => wording::quote(&text, 200),
        };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        Some(Finding {
            rule: Rule::Mount,
            key: missing.clone().unwrap_or_default(),
            cause,
            action: match missing {
                Some(_) => {
                    format!("Create it in the namespace {namespace}; the pods then start by themselves.")
                }
                None => "Look at the volume and at the storage class behind it.".into(),
            },
            fatal: false,
            evidence: self.events(uid, &["FailedMount", "FailedAttachVolume"]),
        })
    }

    fn crash_finding(&self, pod: &Pod, crash: &Crash) -> Finding {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let uid = pod.metadata.uid.as_deref();
        let lines = self.observed.last_logs.get(&name).cloned().unwrap_or_default();
        let liveness = self.killed_by_probe(pod, &crash.container);
        let restarts = match crash.restarts {
            0 => String::new(),
            restarts => format!(", {}", wording::count(restarts.try_into().unwrap_or(0), "restart")),
        };
        let place =
            if crash.init { format!(" in the init container {}", crash.container) } else { String::new() };
        let (cause, action) = match (&crash.out_of_memory, &liveness) {
            (Some(limit), _) if limit.is_empty() => (
                format!("out of memory{place}{restarts}"),
                "Give it a memory limit it fits in, or roll back.".into(),
            ),
            (Some(limit), _) => (
                format!("out of memory at {limit}{place}{restarts}"),
                format!("Raise the memory limit of {limit}, or roll back."),
            ),
            (None, Some((kind, probe))) => {
                let what = probe.split(", every").next().unwrap_or(probe);
                (
                    format!("killed{place} because the {kind} probe fails{restarts}"),
                    format!("Make {what} answer, mend the probe, or roll back."),
                )
            }
            (None, None) => {
                let last = lines.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty());
                let last = last.or(Some(crash.message.trim()).filter(|message| !message.is_empty()));
                let quote = last.map(|line| format!(": “{}”", message::log_words(line))).unwrap_or_default();
                let end = match crash.exit {
                    0 => "ends by itself with exit 0".to_string(),
                    exit => format!("crashes with exit {exit}"),
                };
                (
                    format!("{end}{place}{restarts}{quote}"),
                    "Read its last lines, then deploy a fixed version or roll back.".into(),
                )
            }
        };
        let telling: &[&str] = if liveness.is_some() { &["Unhealthy", "Killing"] } else { &["BackOff"] };
        let mut evidence = Vec::new();
        if let Some((_, probe)) = &liveness {
            evidence.push(Evidence::Probe { text: probe.clone() });
        }
        if !lines.is_empty() {
            evidence.push(Evidence::Log { pod: name, container: crash.container.clone(), lines });
        }
        evidence.extend(self.events(uid, telling));
        Finding {
            rule: Rule::Crash,
            key: format!(
                "{} {} {:?} {}",
                crash.container,
                crash.exit,
                crash.out_of_memory,
                liveness.is_some()
            ),
            cause,
            action,
            fatal: false,
            evidence,
        }
    }

    /// The kubelet says so when it ends a container for a probe: the kind of probe, and the probe in words.
    fn killed_by_probe(&self, pod: &Pod, container: &str) -> Option<(&'static str, String)> {
        let mut killings = pod::events_of(pod, &self.observed.events)
            .filter(|event| event.reason.as_deref() == Some("Killing") && self.is_ours(event))
            .filter_map(|event| event.message.as_deref());
        let prefix = format!("Container {container} failed ");
        let kind = killings.find_map(|message| {
            let rest = message.strip_prefix(&prefix)?;
            ["liveness", "startup"].into_iter().find(|kind| rest.starts_with(kind))
        })?;
        let spec = pod.spec.as_ref()?;
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let declared = all.find(|declared| declared.name == container)?;
        let probe = if kind == "liveness" { &declared.liveness_probe } else { &declared.startup_probe };
        Some((kind, pod::probe_text(probe.as_ref()?, Some(declared))))
    }

    fn unready_finding(&self, pod: &Pod, container: &str, probe: Option<String>, startup: bool) -> Finding {
        let kind = if startup { "Startup" } else { "Readiness" };
        let failed = pod::events_of(pod, &self.observed.events)
            .filter(|event| event.reason.as_deref() == Some("Unhealthy") && self.is_ours(event))
            .filter(|event| event.message.as_deref().is_some_and(|text| text.starts_with(kind)))
            .max_by_key(|event| pod::event_time(event));
        let answer = failed.and_then(|event| message::probe_answer(event.message.as_deref()?));
        let what = probe.as_deref().and_then(|probe| probe.split(", every").next());
        let cause = match (what, answer) {
            (Some(what), Some(answer)) => format!("not ready, {what} {answer}"),
            (Some(what), None) => format!("not ready, {what} does not pass"),
            (None, _) => format!("the container {container} is not ready"),
        };
        let probe = probe.map(|text| Evidence::Probe { text });
        Finding {
            rule: Rule::Unready,
            key: container.into(),
            cause,
            action: "It runs but does not say it is ready: read its logs, or roll back.".into(),
            fatal: false,
            evidence: probe
                .into_iter()
                .chain(self.events(pod.metadata.uid.as_deref(), &["Unhealthy"]))
                .collect(),
        }
    }

    /// The latest events of an object with one of these reasons, as evidence.
    fn events(&self, uid: Option<&str>, reasons: &[&str]) -> Vec<Evidence> {
        let wanted = |event: &&Event| {
            uid.is_some()
                && event.involved_object.uid.as_deref() == uid
                && event.reason.as_deref().is_some_and(|reason| reasons.contains(&reason))
                && self.is_ours(event)
                // These only repeat what the pod itself says.
                && !matches!(event.message.as_deref(), Some("Error: ImagePullBackOff" | "Error: ErrImagePull"))
        };
        let mut events: Vec<&Event> = self.observed.events.iter().filter(wanted).collect();
        events.sort_by_key(|event| std::cmp::Reverse(pod::event_time(event)));
        events.truncate(MAX_EVIDENCE_EVENTS);
        let evidence = |event: &Event| {
            let object = &event.involved_object;
            let kind = object.kind.as_deref().unwrap_or_default();
            Evidence::Event {
                at: pod::event_time(event),
                object: format!("{kind} {}", object.name.as_deref().unwrap_or_default()),
                text: wording::quote(event.message.as_deref().unwrap_or_default(), 500),
            }
        };
        events.into_iter().map(evidence).collect()
    }

    /// Since the deploy began. The cluster writes whole seconds, cut off.
    fn is_ours(&self, event: &Event) -> bool {
        pod::event_time(event).is_none_or(|at| at.as_second() >= self.since.as_second())
    }

    fn is_over(&self, from: Timestamp) -> bool {
        self.now.duration_since(from) >= PATIENCE
    }
}

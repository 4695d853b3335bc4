//! A Job that runs once, to its end: made as a person, watched, ended early, and why it failed. Its judgements are
//! pure, from the objects alone; what keeps a pod from starting is told by `diagnosis.rs` as it is for a rollout.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions, PropagationPolicy};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::apply::{self, DEPLOY_ANNOTATION, FIELD_MANAGER, Fence};
use super::call::{self, Place};
use super::diagnosis::{self, Evidence, Reason};
use super::logs::{Line, MAX_LINE, Start, Stop, history, instances};
use super::pod::{self, Doing};
use super::refusal::Refusal;
use super::refused_pod::{self, Hopeless};
use super::rollout::Observed;
use super::{CALL_TIMEOUT, PodState, UserClient, message, pod_rows, wording};

/// On the Job and its pod: the deploy they belong to.
pub const DEPLOY_LABEL: &str = DEPLOY_ANNOTATION;
/// What Kubernetes itself puts on the pods of a Job.
const JOB_NAME_LABEL: &str = "batch.kubernetes.io/job-name";
/// How long Kubernetes keeps an ended Job, and with it its log.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// A refusal that may pass by itself is waited for as long.
const PATIENCE: SignedDuration = SignedDuration::from_secs(15);
/// A pod this young is just starting; nobody needs its events yet.
const YOUNG: SignedDuration = SignedDuration::from_secs(5);

const LAST_LINES: usize = 200;
const LAST_BYTES: usize = 4 * MAX_LINE;

/// A Job with everything that explains it.
#[derive(Clone, Debug, Default)]
pub struct ObservedJob {
    /// `None`: it is not there (anymore).
    pub job: Option<Job>,
    pub pods: Vec<Pod>,
    /// Of these objects, since the deploy began. Empty when nobody needed them.
    pub events: Vec<Event>,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq)]
pub enum JobStatus {
    /// With a sentence for whoever waits.
    Running(&'static str),
    Done,
    Failed,
    /// Deleted, by a person or by its age.
    Gone,
}

/// The newest lines of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastLines {
    pub pod: String,
    pub lines: Vec<LastLine>,
}

/// Stored with the deploy, so its form is part of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLine {
    pub at: Timestamp,
    /// `error`, `warn`, `info` or `debug`.
    pub level: String,
    /// Controls are shown, colours are gone.
    pub text: String,
}

impl LastLine {
    /// As the log view shows it.
    pub fn time(&self) -> String {
        self.at.strftime("%H:%M:%S%.3f").to_string()
    }
}

/// Selects the pods of a Job, as `kubectl -l` takes it.
pub fn selector(name: &str) -> String {
    format!("{JOB_NAME_LABEL}={name}")
}

/// What the API server says to the Job, without making it. Give it a `generateName`: its name is not known yet.
pub async fn dry_run(user: &UserClient, job: &Value) -> Result<Vec<String>, Refusal> {
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.into()) };
    let place = Place::of(job)?;
    let job = apply::claiming(job.clone(), user);
    let request = place.request().create(&params, job.to_string().into_bytes());
    Ok(call::send(user, request).await?.warnings)
}

/// Makes the Job. Safe to repeat: one of this name that carries the same deploy's label is the one that was asked
/// for, whoever died before writing that down.
pub async fn create(user: &UserClient, job: &Value, fence: &impl Fence) -> Result<(), Refusal> {
    let place = Place::of(job)?;
    let params = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.into()) };
    fence.stands().await?;
    let request = place.request().create(&params, job.to_string().into_bytes());
    let stale = match call::send(user, request).await {
        Ok(_) => return Ok(()),
        Err(stale @ Refusal::Stale { .. }) => stale,
        Err(refusal) => return Err(refusal),
    };
    let wanted = label(job);
    match call::read(user, &place).await? {
        Some(found) if wanted.is_some() && label(&found) == wanted => Ok(()),
        Some(_) => {
            Err(Refusal::Other { code: 409, message: format!("another Job is called {}", place.name) })
        }
        None => Err(stale),
    }
}

fn label(job: &Value) -> Option<&str> {
    job["metadata"]["labels"][DEPLOY_LABEL].as_str()
}

/// Whether this Job is the one that a deploy made.
pub fn carries_marker(job: &Job, deploy: &str) -> bool {
    job.metadata.labels.as_ref().and_then(|labels| labels.get(DEPLOY_LABEL)).is_some_and(|by| by == deploy)
}

pub async fn find(user: &UserClient, namespace: &str, name: &str) -> Result<Option<Job>, Refusal> {
    match tokio::time::timeout(CALL_TIMEOUT, user.api::<Job>(namespace).get_opt(name)).await {
        Ok(found) => Ok(found?),
        Err(_) => Err(Refusal::Timeout),
    }
}

/// Ends it: its pod is stopped first, and only then is it gone, so that nothing begins beside a pod that still runs.
pub async fn delete(user: &UserClient, namespace: &str, job: &Job) -> Result<(), Refusal> {
    let place = Place::new("Job", namespace, job.metadata.name.as_deref().unwrap_or_default())?;
    let only_this = Preconditions { uid: job.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(only_this),
        ..DeleteParams::default()
    };
    match call::send(user, place.request().delete(&place.name, &params)).await {
        Ok(_) | Err(Refusal::NotFound { .. }) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// Reads the Job and its pods, and their events where something has to be explained.
pub async fn observe(
    user: &UserClient,
    namespace: &str,
    name: &str,
    since: Timestamp,
) -> Result<ObservedJob, Refusal> {
    let read = async {
        let pods = user.api::<Pod>(namespace);
        let of_job = ListParams::default().labels(&selector(name));
        let jobs = user.api::<Job>(namespace);
        let (job, pods) = tokio::join!(jobs.get_opt(name), pods.list(&of_job));
        let mut observed = ObservedJob { job: job?, pods: pods?.items, events: Vec::new() };
        if observed.needs_explaining() {
            let listed = user.api::<Event>(namespace).list(&ListParams::default()).await?;
            observed.events =
                listed.items.into_iter().filter(|event| observed.is_ours(event, since)).collect();
        }
        Ok(observed)
    };
    tokio::time::timeout(CALL_TIMEOUT, read).await.unwrap_or(Err(Refusal::Timeout))
}

/// The newest lines of the Job's log; none where no container has run or its log is gone, or this person may not read it.
pub async fn last_lines(user: &UserClient, namespace: &str, observed: &ObservedJob) -> Option<LastLines> {
    let (instance, found) = instances(observed.pod()?).into_iter().next_back()?;
    let api = user.api::<Pod>(namespace);
    let tail = Start::Tail(LAST_LINES as i64);
    let read = history(&api, &instance, found, tail, Stop::End, LAST_LINES).await.ok()?;
    let mut bytes = 0;
    let newest = read.lines.iter().rev().take_while(|line| {
        bytes += line.size;
        bytes <= LAST_BYTES
    });
    let kept =
        |line: &Arc<Line>| LastLine { at: line.at, level: line.level.name().into(), text: line.text() };
    let mut lines: Vec<LastLine> = newest.map(kept).collect();
    lines.reverse();
    // The log of a pod on its way out may be gone before the pod is: what was kept of it stays.
    (!lines.is_empty()).then_some(LastLines { pod: instance.pod, lines })
}

impl ObservedJob {
    /// There is one; should there ever be more, the newest.
    fn pod(&self) -> Option<&Pod> {
        self.pods.iter().max_by_key(|pod| pod.metadata.creation_timestamp.clone())
    }

    fn condition(&self, kind: &str) -> Option<&JobCondition> {
        let conditions = self.job.as_ref()?.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
    }

    fn needs_explaining(&self) -> bool {
        match self.pod().map(|pod| pod::doing(pod, &[])) {
            Some(Doing::Ready { .. } | Doing::Finished | Doing::Stopping | Doing::Crashes(_)) => false,
            Some(_) => true,
            None => self.job.is_some(),
        }
    }

    fn is_ours(&self, event: &Event, since: Timestamp) -> bool {
        let uid = event.involved_object.uid.as_deref();
        let job = self.job.iter().map(|job| &job.metadata);
        let mut all = job.chain(self.pods.iter().map(|pod| &pod.metadata));
        uid.is_some()
            && all.any(|metadata| metadata.uid.as_deref() == uid)
            // Events carry whole seconds, cut off.
            && pod::event_time(event).is_none_or(|at| at.as_second() >= since.as_second())
    }

    pub fn status(&self) -> JobStatus {
        let Some(job) = &self.job else { return JobStatus::Gone };
        if self.condition("Complete").is_some() {
            return JobStatus::Done;
        }
        if job.metadata.deletion_timestamp.is_some() {
            return JobStatus::Running("The Job is being stopped.");
        }
        if self.condition("Failed").is_some() {
            return JobStatus::Failed;
        }
        JobStatus::Running(match self.pod().map(|pod| pod::doing(pod, &self.events)) {
            None => "The cluster makes its pod.",
            Some(Doing::Unscheduled { .. }) => "Its pod waits for a node.",
            Some(Doing::Creating { pulling: true }) => "The image is being pulled.",
            Some(Doing::Creating { pulling: false }) => "Its pod is being started.",
            Some(_) => "It runs.",
        })
    }

    /// Why it failed, or does not get to run. `deadline` is what it was given.
    pub fn reason(&self, since: Timestamp, now: Timestamp, deadline: SignedDuration) -> Option<Reason> {
        let Some(pod) = self.pod() else { return self.without_a_pod(now, deadline) };
        let status = pod.status.as_ref();
        let out_of_time = status.and_then(|status| status.reason.as_deref()) == Some("DeadlineExceeded");
        if out_of_time || self.ran_out_of_time() {
            return Some(too_late(deadline));
        }
        match pod::doing(pod, &self.events) {
            Doing::Crashes(crash) => Some(ended(&crash)),
            Doing::CannotStart { container, message } => Some(Reason {
                sentence: format!(
                    "The container {container} cannot start: {}.",
                    message::runtime_error(&message)
                ),
                evidence: vec![Evidence::Condition { text: wording::quote(&message, 500) }],
                action: "Check the command in catalog-info.yaml: it has to be in the image.".into(),
                // Once it has failed the Job says so itself; before, the kubelet tries again to no end.
                fatal: status.and_then(|status| status.phase.as_deref()) == Some("Pending"),
            }),
            Doing::Finished
            | Doing::Stopping
            | Doing::Ready { .. }
            | Doing::Unready { .. }
            | Doing::Gated { .. }
            | Doing::Unknown => None,
            Doing::Evicted { .. }
            | Doing::Unscheduled { .. }
            | Doing::Creating { .. }
            | Doing::PullFails { .. }
            | Doing::Misconfigured { .. } => {
                let observed =
                    Observed { pods: self.pods.clone(), events: self.events.clone(), ..Observed::default() };
                diagnosis::of_pod(&observed, pod, since, now)
            }
        }
    }

    fn ran_out_of_time(&self) -> bool {
        let failed = self.condition("Failed").and_then(|condition| condition.reason.as_deref());
        failed == Some("DeadlineExceeded")
    }

    /// The controller may not make one, or had to take it away.
    fn without_a_pod(&self, now: Timestamp, deadline: SignedDuration) -> Option<Reason> {
        if self.ran_out_of_time() {
            return Some(too_late(deadline));
        }
        let refused = self.events.iter().filter(|event| event.reason.as_deref() == Some("FailedCreate"));
        let event = refused.max_by_key(|event| pod::event_time(event))?;
        let text = event.message.clone().unwrap_or_default();
        let refused = refused_pod::explain(&text);
        let first = event.first_timestamp.as_ref().map(|time| time.0).or_else(|| pod::event_time(event));
        let stands = first.is_none_or(|first| now.duration_since(first) >= PATIENCE);
        Some(Reason {
            sentence: format!("Its pod cannot be created: {}.", refused.cause),
            evidence: vec![Evidence::Condition { text: wording::quote(&text, 2_000) }],
            action: refused.action,
            fatal: match refused.hopeless {
                Hopeless::Never => false,
                Hopeless::AtOnce => true,
                Hopeless::WhenItStands => stands,
            },
        })
    }

    /// As the deploy's page shows them.
    pub fn pods(&self, now: Timestamp) -> Vec<PodState> {
        let row = |pod: &Pod| {
            let row = pod_rows::pod_state(pod, true, &self.events, now);
            let (class, words) = match pod::doing(pod, &self.events) {
                Doing::Ready { .. } => ("prog", "runs".to_string()),
                Doing::Finished => ("ok", "ended with exit 0".to_string()),
                Doing::Crashes(crash) if crash.out_of_memory.is_none() => {
                    ("bad", format!("ended with exit {}", crash.exit))
                }
                _ => (row.class.as_str(), row.words.clone()),
            };
            PodState { class: class.into(), words, ..row.clone() }
        };
        self.pods.iter().map(row).collect()
    }

    /// Long enough there that a reason which can't mend itself is no passing thing.
    pub fn stands(&self, now: Timestamp) -> bool {
        let made = self.job.as_ref().and_then(|job| job.metadata.creation_timestamp.as_ref());
        made.is_none_or(|made| now.duration_since(made.0) >= YOUNG)
    }
}

fn too_late(deadline: SignedDuration) -> Reason {
    Reason {
        sentence: format!("It had not ended after {}, its deadline, and was stopped.", span(deadline)),
        evidence: Vec::new(),
        action: "See how far it got, and give it more time in catalog-info.yaml if that is all it needs."
            .into(),
        fatal: false,
    }
}

/// "10 min".
pub fn span(time: SignedDuration) -> String {
    wording::since(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + time)
}

/// By itself, and not well. Not `fatal`: the Job will say in a moment that it failed, and is left to say it.
fn ended(crash: &pod::Crash) -> Reason {
    let container = &crash.container;
    let (sentence, action) = match &crash.out_of_memory {
        Some(limit) if limit.is_empty() => {
            ("It ran out of memory.".to_string(), format!("Give the container {container} more memory."))
        }
        Some(limit) => (
            format!("It ran out of memory at {limit}."),
            format!("Raise the memory limit of the container {container}, then run it again."),
        ),
        None => (
            format!("It ended with exit code {}.", crash.exit),
            "Read its last lines, mend what they name, then run it again.".to_string(),
        ),
    };
    Reason { sentence, evidence: Vec::new(), action, fatal: false }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MADE: &str = "2026-11-23T14:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn observed(conditions: Value, pods: Value, events: Value) -> ObservedJob {
        let job = json!({"metadata": {"name": "shop-migrate-7", "uid": "j", "creationTimestamp": MADE,
            "labels": {"pilothouse.dev/deploy": "7"}}, "status": {"conditions": conditions}});
        ObservedJob {
            job: serde_json::from_value(job).unwrap(),
            pods: serde_json::from_value(pods).unwrap(),
            events: serde_json::from_value(events).unwrap(),
        }
    }

    fn pod(status: Value) -> Value {
        json!([{"metadata": {"name": "shop-migrate-7-x2x9z", "uid": "p", "namespace": "shop"},
            "spec": {"containers": [{"name": "app", "image": "r/shop:v9", "resources": {"limits": {"memory": "64Mi"}}}]},
            "status": status}])
    }

    fn ended_with(reason: &str, exit: i32) -> Value {
        pod(json!({"phase": "Failed", "containerStatuses": [{"name": "app", "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": exit, "reason": reason}}}]}))
    }

    fn told(observed: &ObservedJob) -> (String, bool) {
        let now = at("2026-11-23T14:01:00Z");
        let reason = observed.reason(at(MADE), now, SignedDuration::from_mins(10)).unwrap();
        (reason.sentence, reason.fatal)
    }

    #[test]
    fn it_is_over_when_the_job_says_so() {
        let is = |kind: &str| json!([{"type": kind, "status": "True"}]);
        let status = |conditions| observed(conditions, json!([]), json!([])).status();
        assert_eq!(status(json!([])), JobStatus::Running("The cluster makes its pod."));
        assert_eq!(status(is("SuccessCriteriaMet")), JobStatus::Running("The cluster makes its pod."));
        assert_eq!(status(is("Complete")), JobStatus::Done);
        assert_eq!(status(is("Failed")), JobStatus::Failed);
        assert_eq!(ObservedJob::default().status(), JobStatus::Gone);
    }

    #[test]
    fn how_it_ended_is_one_sentence() {
        let failed = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]);
        let of = |pod| told(&observed(failed.clone(), pod, json!([]))).0;
        assert_eq!(of(ended_with("Error", 3)), "It ended with exit code 3.");
        assert_eq!(of(ended_with("OOMKilled", 137)), "It ran out of memory at 64 MiB.");
        let late = pod(json!({"phase": "Failed", "reason": "DeadlineExceeded"}));
        assert_eq!(of(late), "It had not ended after 10 min, its deadline, and was stopped.");
        let late = json!([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]);
        let late = told(&observed(late, json!([]), json!([]))).0;
        assert_eq!(late, "It had not ended after 10 min, its deadline, and was stopped.");
    }

    #[test]
    fn an_image_that_is_not_there_is_no_reason_to_wait() {
        let message = "rpc error: code = NotFound desc = failed to pull: r/shop:v9: not found";
        let missing =
            pod(json!({"phase": "Pending", "containerStatuses": [{"name": "app", "image": "r/shop:v9",
            "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": message}}}]}));
        let observed = observed(json!([]), missing, json!([]));
        assert_eq!(told(&observed), ("The image r/shop:v9 does not exist.".into(), true));
        assert!(!observed.stands(at("2026-11-23T14:00:04Z")) && observed.stands(at("2026-11-23T14:00:05Z")));
    }

    #[test]
    fn a_pod_that_may_not_be_made_is_told_by_the_jobs_events() {
        let text = "Error creating: pods \"shop-migrate-7-x\" is forbidden: exceeded quota: team, requested: pods=1, used: pods=2, limited: pods=2";
        let event = |first: &str| {
            json!([{"metadata": {}, "reason": "FailedCreate", "message": text, "firstTimestamp": first,
                "lastTimestamp": "2026-11-23T14:01:00Z", "involvedObject": {"uid": "j"}}])
        };
        let (sentence, fatal) = told(&observed(json!([]), json!([]), event(MADE)));
        assert!(sentence.starts_with("Its pod cannot be created: not enough left in the quota team"));
        assert!(fatal);
        assert!(!told(&observed(json!([]), json!([]), event("2026-11-23T14:00:50Z"))).1);
    }
}

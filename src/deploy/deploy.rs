//! A deploy: one change to one target, from the request to its end. Its state is one enum, and is the fold of
//! its events: nothing sets a state but an event that was written down.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Digest as _;

use super::migration::Migration;
use super::step::Note;
use super::strategy::{Beside, Strategy};
use crate::auth::Person;
use crate::config::Environment;
use crate::kube::{PodState, WorkloadKind, WorkloadRef};
use crate::web::diff::Diff;

/// The number in the address of a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeployId(pub i64);

impl fmt::Display for DeployId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 (hex) over everything an approval is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    /// Over the target, the change and the rules, in one unambiguous form.
    pub fn of(target: &Place, action: &Action, policy: &Policy) -> Self {
        Self::over(&serde_json::json!([target, action, policy]))
    }

    /// serde_json keeps maps sorted, so equal content is equal bytes.
    pub fn over(content: &Value) -> Self {
        Self(hex::encode(sha2::Sha256::digest(content.to_string())))
    }
}

/// Where a deploy happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub service: String,
    pub team: String,
    pub environment: String,
    pub cluster: String,
    pub namespace: String,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    Deploy(ImageChange),
    /// Back to a release of our own history; `approved`: its bytes went through an approval then.
    RollBack {
        release: i64,
        approved: bool,
        change: ImageChange,
    },
    Restart {
        workload: String,
        #[serde(default, skip_serializing_if = "WorkloadKind::is_deployment")]
        workload_kind: WorkloadKind,
    },
    Scale {
        workload: String,
        #[serde(default, skip_serializing_if = "WorkloadKind::is_deployment")]
        workload_kind: WorkloadKind,
        from: Size,
        to: Size,
    },
    Migrate(Migration),
}

impl Action {
    pub fn change(&self) -> Option<&ImageChange> {
        match self {
            Self::Deploy(change) | Self::RollBack { change, .. } => Some(change),
            Self::Restart { .. } | Self::Scale { .. } | Self::Migrate(_) => None,
        }
    }

    pub fn migration(&self) -> Option<&Migration> {
        match self {
            Self::Migrate(migration) => Some(migration),
            Self::Deploy(_) | Self::RollBack { .. } | Self::Restart { .. } | Self::Scale { .. } => None,
        }
    }

    /// Where the environment asks for approvals at all: bytes that nobody approved need one. A restart and a scale
    /// change no bytes.
    pub fn needs_approval(&self) -> bool {
        match self {
            Self::Deploy(_) | Self::Migrate(_) => true,
            Self::RollBack { approved, .. } => !approved,
            Self::Restart { .. } | Self::Scale { .. } => false,
        }
    }

    /// Whether a freeze holds it up. What mends (a rollback, more replicas) must not have to wait.
    pub fn can_be_frozen(&self) -> bool {
        match self {
            Self::Deploy(_) | Self::Migrate(_) => true,
            Self::RollBack { .. } | Self::Restart { .. } | Self::Scale { .. } => false,
        }
    }

    /// The workload that is acted on.
    pub fn workload(&self) -> &str {
        match self {
            Self::Deploy(change) | Self::RollBack { change, .. } => &change.workload,
            Self::Restart { workload, .. } | Self::Scale { workload, .. } => workload,
            Self::Migrate(migration) => &migration.workload,
        }
    }

    pub fn workload_kind(&self) -> WorkloadKind {
        match self {
            Self::Deploy(change) | Self::RollBack { change, .. } => change.workload_kind,
            Self::Restart { workload_kind, .. } | Self::Scale { workload_kind, .. } => *workload_kind,
            Self::Migrate(migration) => migration.workload_kind,
        }
    }

    /// Where the workload is.
    pub fn at<'a>(&'a self, namespace: &'a str) -> WorkloadRef<'a> {
        WorkloadRef { kind: self.workload_kind(), namespace, name: self.workload() }
    }
}

/// New images for a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageChange {
    /// What people call it: the tag, or a short digest.
    pub version: String,
    /// As it was asked for (`registry/repository:tag`).
    pub reference: String,
    /// What the tag pointed at when it was asked for. None: the registry could not be asked.
    pub digest: Option<String>,
    pub workload: String,
    /// What the workload is.
    #[serde(default, skip_serializing_if = "WorkloadKind::is_deployment")]
    pub workload_kind: WorkloadKind,
    /// Container to image, by digest where known. What is applied.
    pub images: BTreeMap<String, String>,
    /// Container to image at the time of the request. What is replaced; empty where nothing ran.
    pub replaces: BTreeMap<String, String>,
    pub replaces_version: String,
    /// Managed targets: everything the portal renders. Empty: an adopted workload, only its images are touched.
    #[serde(default)]
    pub objects: Vec<Value>,
    /// The field manager whose image field was taken over, as agreed on the form.
    #[serde(default)]
    pub take_over: Option<String>,
    /// How it takes over. Absent in what is stored: rolling.
    #[serde(default, skip_serializing_if = "Strategy::is_rolling")]
    pub strategy: Strategy,
}

impl ImageChange {
    pub fn is_managed(&self) -> bool {
        !self.objects.is_empty()
    }

    pub fn at<'a>(&'a self, namespace: &'a str) -> WorkloadRef<'a> {
        WorkloadRef { kind: self.workload_kind, namespace, name: &self.workload }
    }
}

/// One object's dry run: YAML before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownDiff {
    pub kind: String,
    pub name: String,
    pub before: String,
    pub after: String,
}

impl ShownDiff {
    /// As changed lines for a page.
    pub fn diff(&self, namespace: &str) -> Diff {
        Diff::of(format!("{} {}, namespace {namespace}", self.kind, self.name), &self.before, &self.after, 3)
    }
}

/// A check as it came out when the deploy was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckMade {
    /// `ok`, `warn` or `idle` of the design kit; with a `bad` one nothing can be asked for.
    pub class: String,
    pub title: String,
    pub detail: String,
}

/// How large a workload is, or how large an autoscaler may make it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Size {
    Replicas { replicas: i32 },
    Autoscaler { name: String, min: i32, max: i32 },
}

/// The rules of an environment, as they stood at the request. Part of the digest: a changed rule voids approvals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub production: bool,
    /// How many people other than the requester must approve.
    pub approvals: u32,
    /// Groups, as the provider names them.
    pub approvers: Vec<String>,
    pub requires: Option<String>,
    pub soak_seconds: i64,
    pub deadline_seconds: i64,
    pub expires_seconds: i64,
}

impl Policy {
    pub fn of(environment: &Environment, team: &str) -> Self {
        Self {
            production: environment.production,
            approvals: environment.approvals,
            approvers: environment.approvers_for(team),
            requires: environment.requires.as_ref().map(|name| name.get_ref().clone()),
            soak_seconds: environment.soak().as_secs(),
            deadline_seconds: environment.deadline.as_secs(),
            expires_seconds: environment.expires.as_secs(),
        }
    }

    /// Whether somebody has to approve this.
    pub fn asks_for(&self, action: &Action) -> bool {
        self.approvals > 0 && action.needs_approval()
    }

    pub fn soak(&self) -> SignedDuration {
        SignedDuration::from_secs(self.soak_seconds)
    }

    pub fn deadline(&self) -> SignedDuration {
        SignedDuration::from_secs(self.deadline_seconds)
    }

    pub fn expires(&self) -> SignedDuration {
        SignedDuration::from_secs(self.expires_seconds)
    }
}

/// Where a deploy stands. The data of a state is what deciding the next step needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Requested,
    AwaitingApproval {
        expires: Timestamp,
    },
    Queued,
    /// Blue-green and canary: the new version proves itself beside what runs, which is not touched yet.
    Shifting {
        /// Of this stage.
        since: Timestamp,
        /// Which step of a canary; 0 for blue-green.
        step: usize,
        stage: Stage,
        /// Who stopped it; what stands beside is on its way out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped_by: Option<String>,
    },
    /// Recorded before anything is written to the cluster: from here on it can't be cancelled.
    Applying {
        since: Timestamp,
    },
    /// A migration: its Job runs.
    RollingOut {
        since: Timestamp,
        written: Written,
        /// Who stopped it; its Job is on its way out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped_by: Option<String>,
    },
    Verifying {
        since: Timestamp,
        until: Timestamp,
        written: Written,
    },
    Succeeded,
    Rejected {
        by: String,
        note: String,
    },
    Cancelled {
        by: String,
    },
    Expired,
    /// Not carried out any more, because something moved: a newer deploy, the tag, the rules, a right.
    Superseded {
        why: String,
    },
    Failed {
        why: String,
    },
    /// What it wrote does not do; what ran well before is being put back.
    RollingBack {
        since: Timestamp,
        why: String,
        to: Box<ImageChange>,
        /// None: not written yet.
        written: Option<Written>,
    },
    /// It failed, and what ran before runs again.
    RolledBack {
        why: String,
        to: Box<ImageChange>,
    },
    /// It failed, and what ran before could not be put back.
    RollbackFailed {
        why: String,
        /// What kept it from being put back.
        failure: String,
        to: Box<ImageChange>,
    },
}

/// How far a step of [`State::Shifting`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Stage {
    /// The second Deployment is about to get its size.
    Sizing,
    /// Its pods start.
    Starting { written: Written },
    /// They are ready, and watched until then. None: until a person says to go on.
    Holding {
        written: Written,
        until: Option<Timestamp>,
        /// A person said so: nothing more is waited for.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_hand: bool,
    },
    /// Blue-green: it has all the traffic, and is watched until then.
    Switched { written: Written, until: Timestamp },
}

impl Stage {
    pub fn written(&self) -> Option<&Written> {
        match self {
            Self::Sizing => None,
            Self::Starting { written } | Self::Holding { written, .. } | Self::Switched { written, .. } => {
                Some(written)
            }
        }
    }
}

/// What our write left in the cluster, to recognise it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// `metadata.generation` that the write returned.
    pub generation: i64,
    /// The pod template carries our marker; a scale does not touch the template.
    pub marked: bool,
}

impl State {
    /// As in the `state` column, the API and the addresses of filters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::Queued => "queued",
            Self::Shifting { .. } => "shifting",
            Self::Applying { .. } => "applying",
            Self::RollingOut { .. } => "rolling_out",
            Self::Verifying { .. } => "verifying",
            Self::Succeeded => "succeeded",
            Self::Rejected { .. } => "rejected",
            Self::Cancelled { .. } => "cancelled",
            Self::Expired => "expired",
            Self::Superseded { .. } => "superseded",
            Self::Failed { .. } => "failed",
            Self::RollingBack { .. } => "rolling_back",
            Self::RolledBack { .. } => "rolled_back",
            Self::RollbackFailed { .. } => "rollback_failed",
        }
    }

    pub fn is_end(&self) -> bool {
        match self {
            Self::Succeeded
            | Self::Rejected { .. }
            | Self::Cancelled { .. }
            | Self::Expired
            | Self::Superseded { .. }
            | Self::Failed { .. }
            | Self::RolledBack { .. }
            | Self::RollbackFailed { .. } => true,
            Self::Requested
            | Self::AwaitingApproval { .. }
            | Self::Queued
            | Self::Shifting { .. }
            | Self::Applying { .. }
            | Self::RollingOut { .. }
            | Self::Verifying { .. }
            | Self::RollingBack { .. } => false,
        }
    }

    /// Whether its write may stand in the cluster.
    pub fn may_have_written(&self) -> bool {
        match self {
            Self::Shifting { .. }
            | Self::Applying { .. }
            | Self::RollingOut { .. }
            | Self::Verifying { .. }
            | Self::Succeeded
            | Self::Superseded { .. }
            | Self::Failed { .. }
            | Self::RollingBack { .. }
            | Self::RolledBack { .. }
            | Self::RollbackFailed { .. } => true,
            Self::Requested
            | Self::AwaitingApproval { .. }
            | Self::Queued
            | Self::Rejected { .. }
            | Self::Cancelled { .. }
            | Self::Expired => false,
        }
    }

    /// Nothing was written yet, so nothing has to be undone.
    pub fn can_be_cancelled(&self) -> bool {
        matches!(self, Self::Requested | Self::AwaitingApproval { .. } | Self::Queued)
    }

    /// The cluster changes because of it right now.
    pub fn is_active(&self) -> bool {
        matches!(
            self,
            Self::Shifting { .. }
                | Self::Applying { .. }
                | Self::RollingOut { .. }
                | Self::Verifying { .. }
                | Self::RollingBack { .. }
        )
    }

    /// The legal transitions, as data; a test walks them.
    pub fn may_become(&self, next: &Self) -> bool {
        const LEGAL: &[(&str, &[&str])] = &[
            ("requested", &["awaiting_approval", "queued"]),
            ("awaiting_approval", &["queued", "rejected", "cancelled", "expired", "superseded"]),
            ("queued", &["shifting", "applying", "cancelled", "superseded", "failed"]),
            ("shifting", &["shifting", "applying", "failed", "superseded"]),
            ("applying", &["rolling_out", "failed", "superseded"]),
            (
                "rolling_out",
                &["rolling_out", "verifying", "succeeded", "failed", "superseded", "rolling_back"],
            ),
            ("verifying", &["succeeded", "failed", "superseded", "rolling_back"]),
            ("rolling_back", &["rolling_back", "rolled_back", "rollback_failed"]),
        ];
        let to = |(from, to): &(&str, &[&str])| *from == self.name() && to.contains(&next.name());
        LEGAL.iter().any(to)
    }
}

/// What happened to a deploy. Written down in the transaction that makes it true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Requested {
        reason: String,
    },
    /// Who asked goes ahead without the approval that the environment asks for; the reason is that of the request.
    GlassBroken,
    /// Somebody else looked into the broken glass. Whether the deploy has ended by then does not matter.
    SignedOff {
        note: String,
    },
    ApprovalAsked {
        needed: u32,
        expires: Timestamp,
    },
    Approved {
        note: String,
        have: u32,
        needed: u32,
    },
    Queued {
        behind: Option<DeployId>,
    },
    Rejected {
        note: String,
    },
    Cancelled,
    Expired,
    Superseded {
        why: String,
    },
    Started,
    Written {
        generation: i64,
        marked: bool,
        took_over: Option<String>,
    },
    /// Blue-green and canary: the second Deployment comes first.
    ShiftBegan,
    /// It has its size for this step.
    BesideWritten {
        generation: i64,
        pods: i32,
    },
    /// Its pods are ready. `until` None: a person has to say to go on.
    BesideReady {
        until: Option<Timestamp>,
    },
    /// The pause is over, and nobody can say whether requests fail: a person has to look.
    Unmeasured {
        why: String,
    },
    /// A person says to go on.
    WentOn,
    /// On to this step of a canary, or the same step once more because the workload grew.
    StepTaken {
        step: usize,
    },
    /// Blue-green: all the traffic goes to the new version.
    Switched {
        until: Timestamp,
    },
    /// It proved itself: the workload gets it now.
    Promoted,
    /// A milestone on the way ("first new pod ready"); leaves the state as it is.
    Noted {
        text: String,
    },
    RolledOut {
        soak_until: Timestamp,
    },
    /// A person ends a migration that runs, or what stands beside the workload.
    Stopped,
    Succeeded,
    Failed {
        why: String,
        reason: Option<Value>,
    },
    /// It failed, and what ran well before is put back.
    RollbackBegan {
        why: String,
        reason: Option<Value>,
        to: Box<ImageChange>,
    },
    WrittenBack {
        generation: i64,
    },
    RolledBack,
    RollbackFailed {
        why: String,
    },
}

/// The state after an event. None: this event can't happen in that state.
pub fn apply(state: &State, event: &Event, actor: &str, at: Timestamp) -> Option<State> {
    let next = match event {
        Event::Requested { .. } | Event::GlassBroken => {
            return matches!(state, State::Requested).then_some(State::Requested);
        }
        Event::SignedOff { .. } => return Some(state.clone()),
        Event::Approved { .. } => {
            return matches!(state, State::AwaitingApproval { .. }).then(|| state.clone());
        }
        Event::Noted { .. } => return (!state.is_end()).then(|| state.clone()),
        Event::ApprovalAsked { expires, .. } => State::AwaitingApproval { expires: *expires },
        Event::Queued { .. } => State::Queued,
        Event::Rejected { note } => State::Rejected { by: actor.into(), note: note.clone() },
        Event::Cancelled => State::Cancelled { by: actor.into() },
        Event::Expired => State::Expired,
        Event::Superseded { why } => State::Superseded { why: why.clone() },
        Event::Started | Event::Promoted => State::Applying { since: at },
        Event::ShiftBegan => State::Shifting { since: at, step: 0, stage: Stage::Sizing, stopped_by: None },
        Event::StepTaken { step } => {
            let State::Shifting { stage: Stage::Holding { .. }, .. } = state else { return None };
            State::Shifting { since: at, step: *step, stage: Stage::Sizing, stopped_by: None }
        }
        Event::BesideWritten { generation, .. } => {
            let written = Written { generation: *generation, marked: true };
            let to = |stage: &Stage| matches!(stage, Stage::Sizing).then_some(Stage::Starting { written });
            return staged(state, at, to);
        }
        Event::BesideReady { until } => {
            let to = |stage: &Stage| match stage {
                Stage::Starting { written } => {
                    Some(Stage::Holding { written: written.clone(), until: *until, by_hand: false })
                }
                _ => None,
            };
            return staged(state, at, to);
        }
        Event::Unmeasured { .. } => {
            let to = |stage: &Stage| match stage {
                Stage::Holding { written, until: Some(_), by_hand: false } => {
                    Some(Stage::Holding { written: written.clone(), until: None, by_hand: false })
                }
                _ => None,
            };
            return staged(state, at, to);
        }
        Event::WentOn => {
            let to = |stage: &Stage| match stage {
                Stage::Holding { written, until: None, .. } => {
                    Some(Stage::Holding { written: written.clone(), until: Some(at), by_hand: true })
                }
                _ => None,
            };
            return staged(state, at, to);
        }
        Event::Switched { until } => {
            let to = |stage: &Stage| match stage {
                Stage::Holding { written, .. } => {
                    Some(Stage::Switched { written: written.clone(), until: *until })
                }
                _ => None,
            };
            return staged(state, at, to);
        }
        Event::Written { generation, marked, .. } => {
            let State::Applying { .. } = state else { return None };
            let written = Written { generation: *generation, marked: *marked };
            State::RollingOut { since: at, written, stopped_by: None }
        }
        Event::Stopped => match state {
            State::RollingOut { since, written, .. } => {
                State::RollingOut { since: *since, written: written.clone(), stopped_by: Some(actor.into()) }
            }
            State::Shifting { since, step, stage, .. } => State::Shifting {
                since: *since,
                step: *step,
                stage: stage.clone(),
                stopped_by: Some(actor.into()),
            },
            _ => return None,
        },
        Event::RolledOut { soak_until } => {
            let State::RollingOut { written, .. } = state else { return None };
            State::Verifying { since: at, until: *soak_until, written: written.clone() }
        }
        Event::Succeeded => State::Succeeded,
        Event::Failed { why, .. } => State::Failed { why: why.clone() },
        Event::RollbackBegan { why, to, .. } => {
            State::RollingBack { since: at, why: why.clone(), to: to.clone(), written: None }
        }
        Event::WrittenBack { generation } => {
            let State::RollingBack { why, to, written: None, .. } = state else { return None };
            let written = Some(Written { generation: *generation, marked: true });
            State::RollingBack { since: at, why: why.clone(), to: to.clone(), written }
        }
        Event::RolledBack => {
            let State::RollingBack { why, to, written: Some(_), .. } = state else { return None };
            State::RolledBack { why: why.clone(), to: to.clone() }
        }
        Event::RollbackFailed { why: failure } => {
            let State::RollingBack { why, to, .. } = state else { return None };
            State::RollbackFailed { why: why.clone(), failure: failure.clone(), to: to.clone() }
        }
    };
    state.may_become(&next).then_some(next)
}

/// The next stage of the same step, where it follows on the present one.
fn staged(state: &State, at: Timestamp, to: impl FnOnce(&Stage) -> Option<Stage>) -> Option<State> {
    let State::Shifting { step, stage, stopped_by, .. } = state else { return None };
    Some(State::Shifting { since: at, step: *step, stage: to(stage)?, stopped_by: stopped_by.clone() })
}

/// What the engine last saw of a deploy under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub note: Note,
    /// Of the workload, and of what stands beside it.
    pub pods: Vec<PodState>,
    /// Per cent of the traffic that goes to what stands beside it. None: nothing does, or nothing is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u8>,
}

/// A deploy as it is stored.
#[derive(Clone, Debug)]
pub struct Deploy {
    pub id: DeployId,
    pub place: Place,
    pub action: Action,
    pub requester: Person,
    pub reason: String,
    pub policy: Policy,
    pub digest: Digest,
    pub state: State,
    pub requested: Timestamp,
    pub ended: Option<Timestamp>,
    pub fence: i64,
    /// The dry run as the requester saw it.
    pub shown: Vec<ShownDiff>,
    pub checks: Vec<CheckMade>,
    /// What was last seen in the cluster; for pages, never for decisions.
    pub progress: Option<Progress>,
    /// Who asked broke the glass: it goes ahead without approval, and in a freeze.
    pub glass: bool,
}

impl Deploy {
    pub fn url(&self) -> String {
        format!("/deploys/{}", self.id)
    }

    pub fn needs_approval(&self) -> bool {
        !self.glass && self.policy.asks_for(&self.action)
    }

    /// Whether a freeze holds it up: an emergency does not wait for the end of one.
    pub fn can_be_frozen(&self) -> bool {
        !self.glass && self.action.can_be_frozen()
    }

    /// The approval that its writes carry to a cluster that demands one. A broken glass has none, and passes there by
    /// the groups of who asked.
    pub fn approval(&self) -> Option<&str> {
        (self.policy.approvals > 0 && !self.glass).then_some(self.digest.0.as_str())
    }

    /// What stands, or stood, beside its workload.
    pub fn beside(&self) -> Option<&Beside> {
        self.action.change()?.strategy.beside()
    }

    /// All the traffic was on these bytes for a soak already, before the workload got them.
    pub fn soaked_beside(&self) -> bool {
        matches!(self.action.change().map(|change| &change.strategy), Some(Strategy::BlueGreen { .. }))
    }

    /// It waits for somebody to say that it shall go on.
    pub fn waits_for_a_hand(&self) -> bool {
        matches!(
            self.state,
            State::Shifting { stage: Stage::Holding { until: None, .. }, stopped_by: None, .. }
        )
    }

    /// A migration that was written and has not ended.
    pub fn runs_a_job(&self) -> bool {
        self.action.migration().is_some() && matches!(self.state, State::RollingOut { .. })
    }

    /// The name of a migration's Job.
    pub fn job_name(&self) -> Option<String> {
        Some(self.action.migration()?.job_name(self.id))
    }

    /// What it put back, or is putting back, because it failed.
    pub fn put_back(&self) -> Option<&ImageChange> {
        match &self.state {
            State::RollingBack { to, .. }
            | State::RolledBack { to, .. }
            | State::RollbackFailed { to, .. } => Some(to),
            _ => None,
        }
    }

    /// The value of the marker annotation on what this deploy writes.
    pub fn marker(&self) -> String {
        self.id.to_string()
    }

    /// The same on what stands beside its workload.
    pub fn beside_marker(&self) -> String {
        format!("{}-beside", self.id)
    }

    /// The same on what it puts back.
    pub fn back_marker(&self) -> String {
        format!("{}-back", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::samples;

    fn at() -> Timestamp {
        "2026-11-23T14:00:00Z".parse().unwrap()
    }

    fn every_state() -> Vec<State> {
        let written = Written { generation: 2, marked: true };
        vec![
            State::Requested,
            State::AwaitingApproval { expires: at() },
            State::Queued,
            State::Shifting { since: at(), step: 0, stage: Stage::Sizing, stopped_by: None },
            State::Applying { since: at() },
            State::RollingOut { since: at(), written: written.clone(), stopped_by: None },
            State::Verifying { since: at(), until: at(), written },
            State::Succeeded,
            State::Rejected { by: String::new(), note: String::new() },
            State::Cancelled { by: String::new() },
            State::Expired,
            State::Superseded { why: String::new() },
            State::Failed { why: String::new() },
            State::RollingBack {
                since: at(),
                why: String::new(),
                to: Box::new(samples::change()),
                written: None,
            },
            State::RolledBack { why: String::new(), to: Box::new(samples::change()) },
            State::RollbackFailed {
                why: String::new(),
                failure: String::new(),
                to: Box::new(samples::change()),
            },
        ]
    }

    /// What was approved before there were other kinds is approved under the same digest now.
    #[test]
    fn a_change_of_a_deployment_is_stored_as_ever() {
        let stored = serde_json::json!({"kind": "restart", "workload": "shop"});
        let action: Action = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(action.workload_kind(), WorkloadKind::Deployment);
        assert_eq!(serde_json::to_value(action).unwrap(), stored);
        let change = serde_json::to_value(Action::Deploy(samples::change())).unwrap();
        assert_eq!(change.get("workload_kind"), None);
    }

    #[test]
    fn an_end_is_an_end() {
        for state in every_state().iter().filter(|state| state.is_end()) {
            for next in every_state() {
                assert!(!state.may_become(&next), "{} → {}", state.name(), next.name());
            }
        }
    }

    #[test]
    fn every_state_but_the_ends_leads_on() {
        for state in every_state().iter().filter(|state| !state.is_end()) {
            assert!(every_state().iter().any(|next| state.may_become(next)), "{} is a trap", state.name());
        }
    }

    #[test]
    fn nothing_that_was_written_can_be_cancelled() {
        for state in every_state() {
            let cancelled = State::Cancelled { by: String::new() };
            assert_eq!(state.may_become(&cancelled), state.can_be_cancelled() && state != State::Requested);
            assert!(!(state.is_active() && state.can_be_cancelled()));
        }
    }

    #[test]
    fn a_production_deploy_is_the_fold_of_its_events() {
        let events = [
            Event::Requested { reason: "retry captures".into() },
            Event::ApprovalAsked { needed: 1, expires: at() },
            Event::Approved { note: String::new(), have: 1, needed: 1 },
            Event::Queued { behind: None },
            Event::Started,
            Event::Written { generation: 3, marked: true, took_over: None },
            Event::Noted { text: "first new pod ready".into() },
            Event::RolledOut { soak_until: at() },
            Event::Succeeded,
        ];
        let end = events.iter().try_fold(State::Requested, |state, event| apply(&state, event, "maya", at()));
        assert_eq!(end, Some(State::Succeeded));
    }

    #[test]
    fn a_canary_is_the_fold_of_its_events() {
        let beside = |generation| Event::BesideWritten { generation, pods: 1 };
        let events = [
            Event::ShiftBegan,
            beside(1),
            Event::BesideReady { until: Some(at()) },
            Event::StepTaken { step: 1 },
            beside(2),
            Event::BesideReady { until: None },
            Event::WentOn,
            Event::Promoted,
            Event::Written { generation: 3, marked: true, took_over: None },
        ];
        let end = events.iter().try_fold(State::Queued, |state, event| apply(&state, event, "maya", at()));
        assert!(matches!(end, Some(State::RollingOut { .. })), "{end:?}");
        let began = apply(&State::Queued, &Event::ShiftBegan, "", at()).unwrap();
        for early in [Event::WentOn, Event::StepTaken { step: 1 }, Event::Switched { until: at() }] {
            assert_eq!(apply(&began, &early, "maya", at()), None, "{early:?}");
        }
    }

    #[test]
    fn a_broken_glass_skips_the_wait_and_is_signed_off_whenever_somebody_gets_to_it() {
        let events = [
            Event::Requested { reason: "customers can’t pay".into() },
            Event::GlassBroken,
            Event::Queued { behind: None },
            Event::Started,
            Event::SignedOff { note: "Seen.".into() },
        ];
        let end = events.iter().try_fold(State::Requested, |state, event| apply(&state, event, "maya", at()));
        assert_eq!(end, Some(State::Applying { since: at() }));
        let waiting = State::AwaitingApproval { expires: at() };
        assert_eq!(apply(&waiting, &Event::GlassBroken, "maya", at()), None);
        for state in every_state() {
            let signed = apply(&state, &Event::SignedOff { note: String::new() }, "omar", at());
            assert_eq!(signed, Some(state));
        }
    }

    #[test]
    fn a_cancelled_deploy_is_never_written() {
        let state = State::Cancelled { by: "maya".into() };
        assert_eq!(apply(&state, &Event::Started, "engine", at()), None);
        assert_eq!(apply(&state, &Event::Noted { text: String::new() }, "engine", at()), None);
    }

    #[test]
    fn state_names_are_those_of_the_stored_form() {
        for state in every_state() {
            assert_eq!(serde_json::to_value(&state).unwrap()["state"], state.name());
        }
    }
}

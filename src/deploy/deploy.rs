//! A deploy: one change to one target, what is asked for, and under which rules. How far it is: state.rs.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Digest as _;

use super::migration::Migration;
use super::state::{Stage, State};
use super::step::Note;
use super::strategy::{Beside, Strategy};
use crate::auth::Person;
use crate::config::Environment;
use crate::kube::{PodState, Target, WorkloadKind, WorkloadRef};
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

impl From<&Target> for Place {
    fn from(target: &Target) -> Self {
        Self {
            service: target.service.clone(),
            team: target.team.clone(),
            environment: target.environment.clone(),
            cluster: target.cluster.clone(),
            namespace: target.namespace.clone(),
        }
    }
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
}

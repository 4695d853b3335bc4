//! What is known of a service in an environment, in the words of the pages.

use jiff::Timestamp;

use super::wording;
use super::workload::WorkloadKind;

/// Worst first, so that `min` is the health of a group.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Degraded,
    Missing,
    Progressing,
    Suspended,
    Healthy,
    Unknown,
}

impl Health {
    /// The status class of the design kit, without `is-`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Degraded => "bad",
            Self::Missing | Self::Unknown => "idle",
            Self::Progressing => "prog",
            Self::Suspended => "warn",
            Self::Healthy => "ok",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Degraded => "Degraded",
            Self::Missing => "Not deployed",
            Self::Progressing => "Rolling out",
            Self::Suspended => "Paused",
            Self::Healthy => "Healthy",
            Self::Unknown => "Not reporting",
        }
    }
}

/// Which workload a service has in a namespace. More than one match is said, not guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    None,
    One(Named),
    Many(Vec<Named>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Named {
    pub kind: WorkloadKind,
    pub name: String,
}

impl Named {
    /// "2 Deployments", and which: "shop and shop-batch". Of several kinds, each is named with its own.
    pub fn told(many: &[Self]) -> (String, String) {
        let kind = many.first().map(|first| first.kind).filter(|kind| many.iter().all(|it| it.kind == *kind));
        let noun = kind.map_or("workload", WorkloadKind::word);
        let name = |it: &Self| match kind {
            Some(_) => it.name.clone(),
            None => format!("the {} {}", it.kind, it.name),
        };
        let names: Vec<String> = many.iter().map(name).collect();
        (wording::count(many.len(), noun), wording::list(&names))
    }
}

/// One pod, as the rollout page shows it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PodState {
    pub uid: String,
    pub name: String,
    pub node: String,
    /// Belongs to the newest ReplicaSet.
    pub new: bool,
    /// Image of the first main container, as the pod spec has it.
    pub image: String,
    /// `ok`, `prog`, `bad`, `warn` or `idle` of the design kit.
    pub class: String,
    /// "ready for 3 min", "pulling the image", "crashes: exit 1".
    pub words: String,
    pub ready: bool,
    pub restarts: i32,
    pub started: Option<Timestamp>,
}

/// A service in an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvironmentStatus {
    pub workload: Workload,
    pub health: Health,
    /// One sentence, numbers first: "1 of 2 pods restarts: out of memory at 64 MiB".
    pub reason: String,
    /// Tag, else the `app.kubernetes.io/version` label, else a short digest; empty where nothing runs.
    pub version: String,
    /// Full image reference of the first main container.
    pub image: String,
    pub ready: i32,
    pub wanted: i32,
    pub pods: Vec<PodState>,
    /// When the cluster was last heard from; pages say so when it is long ago.
    pub seen: Option<Timestamp>,
    /// The cluster does not answer: everything above is from `seen`.
    pub stale: bool,
}

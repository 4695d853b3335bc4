//! What the API says and what the `platform` command reads: one set of shapes for both, so that they can't drift.
//! Times are RFC 3339 in UTC; sizes and counts are whole numbers; durations are seconds and say so in their name.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config;

pub use crate::auth::{AccessToken, DeviceCode, OauthError, Scope};
pub use crate::kube::Health;

/// One page of a list. `next` is given back as `cursor` for the page after it; absent on the last one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What went wrong (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`, or a path of the reference page that explains this kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// A few words that are the same for every problem of this kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The sentence that the page shows: what, why, and how to mend it.
    pub detail: String,
    /// Quoted to the platform team; stands in the log, too.
    pub request_id: String,
    /// Fields that have to be mended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Checks that refuse the change, where one was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Names that are near the unknown one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    pub field: String,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The user name that Kubernetes sees.
    pub username: String,
    pub name: String,
    pub groups: Vec<String>,
    pub issuer: String,
    pub subject: String,
    /// A machine may request, never approve.
    pub machine: bool,
    /// Of a machine: whose services it may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Of a machine: where it may change them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    /// The token that this was asked with. Absent for a browser's session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
}

/// Where services run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Environment {
    pub name: String,
    pub production: bool,
    /// How many people other than the requester have to approve a change of what runs.
    pub approvals: u32,
    pub cluster: String,
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    pub id: i64,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub created: Timestamp,
    pub expires: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    pub name: String,
    pub scopes: Vec<Scope>,
    /// 1 to 365.
    pub expires_days: u32,
}

/// A new token, the only time its secret is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MintedToken {
    #[serde(flatten)]
    pub token: Token,
    pub secret: String,
}

/// The identity of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Machine {
    pub name: String,
    /// Whose services it may change.
    pub team: String,
    /// Where it may change them.
    pub environments: Vec<String>,
    pub scopes: Vec<Scope>,
    /// The CI tokens that are exchanged for one of its tokens.
    pub trusts: Vec<Trust>,
}

/// CI tokens that are taken as a machine's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trust {
    pub issuer: String,
    pub audience: String,
    /// `*` stands for one or more characters other than `:` and `/`.
    pub subject: String,
}

/// A row of the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    pub name: String,
    pub title: String,
    pub description: String,
    pub team: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
    pub lifecycle: String,
    /// The type of the component: service, website, library.
    pub kind: String,
    pub tags: Vec<String>,
    /// The address of its page.
    pub url: String,
    /// What runs, in the order of the configuration. Only environments that the caller may look into.
    pub environments: Vec<Status>,
}

/// A service with everything around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceDetail {
    #[serde(flatten)]
    pub service: Service,
    pub depends_on: Vec<String>,
    pub used_by: Vec<String>,
    pub links: Vec<Link>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    pub title: String,
    pub url: String,
}

/// A service in an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub environment: String,
    pub production: bool,
    pub cluster: String,
    pub namespace: String,
    pub health: Health,
    /// One sentence, where it is not healthy; else empty.
    pub reason: String,
    /// Empty where nothing runs.
    pub version: String,
    pub ready: i32,
    pub wanted: i32,
    /// The cluster fell silent: what stands here was seen last at `seen`.
    pub stale: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_deploy: Option<LastDeploy>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LastDeploy {
    pub id: i64,
    pub state: String,
    pub by: String,
    pub at: Timestamp,
}

/// A version that can be deployed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    pub runs_in: Vec<String>,
    /// Why it can't be picked here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Warning,
    Failed,
    NotAsked,
}

/// One thing that was checked beforehand, as the caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    pub verdict: Verdict,
    pub title: String,
    pub detail: String,
    /// Who can help, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// How a new version takes over from the one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Pod by pod.
    Rolling,
    /// All of it beside what runs, then all traffic at once.
    BlueGreen,
    /// A growing share beside what runs.
    Canary,
}

impl Strategy {
    pub fn way(self) -> config::Strategy {
        match self {
            Self::Rolling => config::Strategy::Rolling,
            Self::BlueGreen => config::Strategy::BlueGreen,
            Self::Canary => config::Strategy::Canary,
        }
    }
}

impl From<config::Strategy> for Strategy {
    fn from(way: config::Strategy) -> Self {
        match way {
            config::Strategy::Rolling => Self::Rolling,
            config::Strategy::BlueGreen => Self::BlueGreen,
            config::Strategy::Canary => Self::Canary,
        }
    }
}

/// What a deploy would do, before anybody asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    pub service: String,
    pub environment: String,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    pub replaces: String,
    /// Absent where there is one way only: nothing runs yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// How many other people have to approve.
    pub approvals: u32,
    pub approvers: Vec<String>,
    pub checks: Vec<Check>,
    pub diffs: Vec<ObjectDiff>,
    /// Who holds the image field; a deploy has to agree with `take_over: true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub take_over_from: Option<String>,
    /// What an approval would be bound to. Absent while a check fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The dry run of one object, as a unified diff of its YAML.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObjectDiff {
    pub kind: String,
    pub name: String,
    pub unified: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewDeploy {
    /// A tag, a digest, or a whole image reference.
    pub version: String,
    #[serde(default)]
    pub reason: String,
    /// Agree to take the image field over from its owner, once.
    #[serde(default)]
    pub take_over: bool,
    /// How it takes over. Absent: as the environment has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// The digest of the plan that was looked at. Absent: whatever the checks find now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Go ahead without approval, and in a freeze; takes a reason. For people in a group that the environment names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewScale {
    /// Where no autoscaler sets the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Where one does: its bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i32>,
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewRestart {
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewRollback {
    /// The version of the release to go back to; absent: the last good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub take_over: bool,
    /// As of a deploy, where the release was never approved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewMigration {
    /// Whose image runs the command: a tag, a digest, or a whole image reference; absent: the one that runs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default)]
    pub reason: String,
    /// As of a deploy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

/// What a migration runs: the command that the service declares, once, in a Kubernetes Job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Migration {
    /// Command and arguments, as one would type them.
    pub command: String,
    pub image: String,
    /// Of the workload; its settings are taken.
    pub container: String,
    /// The Job's name.
    pub job: String,
    pub deadline_seconds: i64,
}

/// A change on its way, or at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Deploy {
    pub id: i64,
    /// `deploy`, `rollback`, `restart`, `scale` or `migrate`.
    pub action: String,
    /// "Deploy checkout-api v1.1.0"
    pub title: String,
    pub service: String,
    pub team: String,
    pub environment: String,
    pub namespace: String,
    /// requested, awaiting_approval, queued, applying, rolling_out, verifying, succeeded, rejected, cancelled, expired,
    /// superseded, failed; shifting before applying for blue-green and canary; after a failure also rolling_back, rolled_back, rollback_failed.
    pub state: String,
    /// Whether anything can still happen to it.
    pub ended: bool,
    /// Of a migration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// Of a deploy: how the new version takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Per cent of the traffic that the new version really gets, while it stands beside the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u8>,
    /// Somebody has to say that it goes on: POST its `promotion`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_promotion: bool,
    pub requester: String,
    pub reason: String,
    /// What an approval is bound to; given back as `seen`.
    pub digest: String,
    pub approvals_needed: u32,
    pub approvers: Vec<String>,
    /// It went ahead without the approval that its environment asks for.
    #[serde(default)]
    pub broken_glass: bool,
    pub decisions: Vec<Decision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    pub requested_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    pub steps: Vec<DeployStep>,
    pub pods: Vec<Pod>,
    /// Why it failed or does not go on, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_action: Option<String>,
    pub evidence: Vec<Evidence>,
    /// The address of its page.
    pub url: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    pub by: String,
    pub approved: bool,
    pub note: String,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployStep {
    pub title: String,
    pub detail: String,
    /// `done`, `now`, `todo`, or how it stopped: `failed`.
    pub state: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pod {
    pub name: String,
    /// Runs what this deploy brings.
    pub new: bool,
    pub ready: bool,
    pub phase: String,
    pub restarts: i32,
    pub node: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    pub title: String,
    pub lines: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewDecision {
    pub approve: bool,
    /// Required to reject.
    #[serde(default)]
    pub note: String,
    /// The `digest` of the deploy that was looked at: an approval counts for exactly that.
    pub seen: String,
}

/// What waits for approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Inbox {
    /// What the caller may decide on, soonest to expire first.
    pub yours: Vec<Deploy>,
    /// What waits for somebody else.
    pub others: Vec<Deploy>,
    /// Access requests that the caller may decide on, soonest to expire first.
    #[serde(default)]
    pub access: Vec<AccessRequest>,
    /// Broken glass that the caller may sign off, longest first.
    #[serde(default)]
    pub glass: Vec<GlassReview>,
}

/// Something that went ahead without approval, and waits for somebody to look into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GlassReview {
    pub id: i64,
    /// Absent: it was found in the cluster, and no deploy explains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<i64>,
    pub title: String,
    pub environment: String,
    /// Who broke the glass; of what was found, the program that wrote it.
    pub by: String,
    pub reason: String,
    pub at: Timestamp,
    /// Groups whose members may sign it off.
    pub reviewers: Vec<String>,
    /// Whether the caller may.
    pub yours: bool,
    /// Who has signed it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_off_by: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewSignOff {
    /// What was found; kept in the audit trail.
    #[serde(default)]
    pub note: String,
}

/// A role that can be asked for, for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AccessRole {
    pub name: String,
    pub description: String,
    pub cluster_role: String,
    /// Where it can be asked for.
    pub environments: Vec<String>,
    pub longest_seconds: i64,
    /// Groups whose members may approve; `{team}` stands for the team whose namespace it is.
    pub approvers: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewAccessRequest {
    /// The name of the role.
    pub role: String,
    pub environment: String,
    /// The service whose namespace it is; or a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Absent: eight hours, or the longest that the role allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// Whoever decides reads it.
    #[serde(default)]
    pub reason: String,
    /// How whoever decides can reach you, such as `@yourname`. Shown; nothing is sent.
    #[serde(default)]
    pub contact: String,
}

/// A role in a namespace for a while: asked for, given or over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AccessRequest {
    pub id: i64,
    pub title: String,
    pub role: String,
    pub cluster_role: String,
    pub team: String,
    pub environment: String,
    pub production: bool,
    pub cluster: String,
    pub namespace: String,
    /// requested, granting, active, ending, ended, refused, withdrawn, expired, failed.
    pub state: String,
    /// Whether it is over.
    pub ended: bool,
    pub requester: String,
    /// The user name that is bound in the cluster.
    pub username: String,
    pub reason: String,
    pub contact: String,
    /// How long it lasts once it is approved.
    pub seconds: i64,
    /// What an approval is bound to; given back as `seen`.
    pub digest: String,
    pub approvers: Vec<String>,
    /// When it lapses if nobody decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    pub requested_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it ended, failed, or could not be taken back so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The address of its page.
    pub url: String,
}

/// A line of a log, or a mark between lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LogItem {
    Line {
        at: Timestamp,
        pod: String,
        container: String,
        level: String,
        text: String,
    },
    /// A pod that came or went, a restart, lines that were skipped.
    Mark {
        text: String,
    },
}

//! Kubernetes. Two ways to a cluster (`client.rs`), which workload is a service's (`target.rs`), of which kind
//! (`workload.rs`), and what is known of it (`status.rs`), from a watch that keeps it in memory (`watch.rs`) or read as a person (`observe.rs`).
//! Judging it, from objects alone: what a pod does (`pod.rs`), how a rollout goes (`rollout.rs`), how healthy it is
//! (`health.rs`), and the one reason it is not (`diagnosis.rs`).
//! A second Deployment beside a workload, and leading traffic to it (`beside.rs`); asking a pod whether it works
//! (`smoke.rs`); what a Secret holds, but not its values (`secrets.rs`). A Job that runs once (`job.rs`): made, watched, judged.
//! An administrator's own client, which only tries things out: `trial.rs`.
//! Changing it: who owns a field (`ownership.rs`), what would happen (`dry_run.rs`), the write (`apply.rs`), and
//! why it was refused (`refusal.rs`); what would keep it from rolling out (`stuck.rs`). What the portal may do at all, as itself and as people: `rights.rs`.
//! Giving somebody a role in a namespace, and taking it back: `bindings.rs`. Everything that says what pods run, watched
//! for the guard: `sources.rs`.

pub mod apply;
pub mod beside;
pub mod bindings;
mod call;
mod client;
pub mod diagnosis;
pub mod dry_run;
pub mod health;
pub mod job;
pub mod logs;
mod message;
pub mod observe;
pub mod ownership;
pub mod pod;
mod pod_rows;
pub mod quantity;
mod refusal;
mod refused_pod;
pub mod rights;
pub mod rollout;
pub mod secrets;
pub mod smoke;
pub mod sources;
mod status;
pub mod stuck;
mod target;
pub mod trial;
pub mod watch;
mod wording;
pub mod workload;

pub use client::{Allowed, CALL_TIMEOUT, Clusters, PortalClient, UserClient, Wanted};
pub use observe::observe;
pub use refusal::{Exceeded, Holder, InvalidField, Refusal};
pub use status::{EnvironmentStatus, Health, Named, PodState, Workload};
pub use target::{Selector, Target};
pub use watch::Watch;
pub use workload::{LiveWorkload, MakesPods, WorkloadKind, WorkloadRef};

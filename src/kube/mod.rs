//! Kubernetes. Two ways to a cluster (`client.rs`), what a service's workload is (`target.rs`), and what is
//! known of it (`status.rs`). How a rollout is doing (`rollout.rs`), read off objects alone: no clock, no cluster.

mod client;
pub mod pod;
pub mod rollout;
mod status;
mod target;
mod wording;

pub use client::{Allowed, CALL_TIMEOUT, Clusters, PortalClient, UserClient, Wanted};
pub use status::{EnvironmentStatus, Health, PodState, Workload};
pub use target::{Selector, Target};

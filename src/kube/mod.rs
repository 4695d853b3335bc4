//! Kubernetes. Two ways to a cluster (`client.rs`), what a service's workload is (`target.rs`), and what is
//! known of it (`status.rs`).

mod client;
mod status;
mod target;

pub use client::{Allowed, CALL_TIMEOUT, Clusters, PortalClient, UserClient, Wanted};
pub use status::{EnvironmentStatus, Health, PodState, Workload};
pub use target::{Selector, Target};

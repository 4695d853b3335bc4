//! The guard: an environment whose cluster refuses what nobody approved, whoever sends it. The portal is one lock, the
//! API server the other.
//!
//! `manifests.rs` makes the admission policy from the configuration, `check.rs` proves on the live cluster that it refuses
//! and passes what it should, and `watch.rs` finds what came past it (people who may break the glass, a guard that was
//! taken away) and writes it into the audit trail. `command.rs` is `platform guard`. The portal's own changes carry their
//! approval as a user extra, see [`crate::kube::PortalClient::as_user_with_approval`].

mod check;
mod command;
mod manifests;
mod store;
mod watch;
mod wording;

pub use command::{Verb, run};
pub use watch::run as run_watch;
